"""The figures of docs/limits.md are those of the code."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

import pytest

from api import account_turns, date_range
from api.answers import pagination
from api.edge import request_limits, slow_clients
from api.identity import auth
from api.routes import holds, usage_sums
from api.routes.admin import accounts, bulk_acts, integrity, issuers, price_moves, wrong_prices
from api.usage import body
from billing.catalog.products.spec import MAX_PER_USE, MeterSpec
from billing.catalog.rating import rules as rating
from billing.core import currencies, keys, open_files
from billing.core.settings import Settings
from billing.insight.search import store as search
from billing.ledger.credits import holds as ledger_holds
from billing.ledger.credits import rules as credits
from billing.metering.budgets.rules import MAX_BUDGETS
from billing.metering.quotas import rules as quotas
from billing.metering.usage import rules as usage
from billing.money.addresses.service import MAX_ADDRESSES
from billing.money.card_usage import rules as card_usage
from billing.money.collecting import rules as collecting
from billing.money.documents import press
from billing.money.dunning import rules as dunning
from billing.money.migration_requests import rules as migration_requests
from billing.money.payment_methods import rules as payment_methods
from billing.money.payments import card_rules
from billing.money.payments.rules import LINK_LIFETIME, PAGE_LIFETIMES
from billing.money.purchases import late_payments
from billing.money.reconciliations import rules as reconciliations
from billing.money.subscriptions import rules as subscriptions
from billing.money.subscriptions.previews import tokens
from billing.platform.idempotency import schemas as kept
from devstack.options import ROOT

_PAGE: Final = (ROOT / "docs" / "limits.md").read_text()
_ROWS: Final = dict(
    line.strip("| ").split(" | ")[:2] for line in _PAGE.splitlines() if line.startswith("| ")
)
_SET: Final = Settings()


def _part_size() -> str:
    """The holds of one part: the one figure of this page that only SQL knows."""
    path = ROOT / "billing" / "ledger" / "credits" / "sql" / "credit_part_size.sql"
    return path.read_text().rpartition("SELECT ")[2].split()[0]


def length(time: timedelta) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(int(time.total_seconds()), size)
        if not rest and (count > 1 or unit == "minute"):
            return f"{count} {unit}s"
    return f"{time.seconds} seconds"


def rate(notation: str) -> str:
    return f"{int(notation.partition('/')[0]):,} a {notation.partition('/')[2]}"


@pytest.mark.parametrize(
    ("limit", "figures"),
    [
        ("body", [request_limits.BODY_BYTES, request_limits.WEBHOOK_BODY_BYTES]),
        ("nesting of JSON", [request_limits.JSON_DEPTH]),
        ("brackets of JSON that open", [request_limits.JSON_BRACKETS]),
        ("commas of JSON", [request_limits.JSON_COMMAS, request_limits.BATCH_COMMAS]),
        ("a number of JSON", [request_limits.NUMBER_DIGITS, request_limits.EXPONENT_DIGITS]),
        ("a header, with its first line", [slow_clients.HEADER_BYTES]),
        ("a whole header, a whole body", [
            f"{slow_clients.HEADER_SECONDS:.0f} s", f"{slow_clients.BODY_SECONDS:.0f} s",
        ]),
        ("an answer that is not read", [
            slow_clients.ANSWER_BYTES, f"{slow_clients.ANSWER_SECONDS:.0f} s",
        ]),
        ("connections and files that a process has open at once", [open_files.WANTED]),
        ("bearer token", [auth.MAX_TOKEN_CHARS]),
        ("`Idempotency-Key`", [keys.MAX_KEY_CHARS]),
        ("money requests *", [rate(_SET.rate_limit_money)]),
        ("metering requests *", [rate(_SET.rate_limit_metering)]),
        ("reads with `fresh=true` of one account, where a replica serves reads *", [
            rate(_SET.rate_limit_reads),
        ]),
        ("all other requests *", [rate(_SET.rate_limit_reads)]),
        ("rows of a list", [pagination.MAX_LIMIT, pagination.MAX_OFFSET]),
        ("rows found by a search", [search.MOST]),
        ("accounts that a page of `GET /admin/accounts?q=` goes through", [
            accounts.GONE_THROUGH,
        ]),
        ("accounts that one `GET /admin/integrity` checks", [integrity.MOST_ACCOUNTS]),
        ("uses of the account that one `GET /admin/integrity` checks", [integrity.MOST_USES]),
        ("accounts that are no tests, for a `GET /stats` of all together", [
            usage_sums.MOST_ACCOUNTS,
        ]),
        ("discrepancies of one `POST /billing/reconcile`", [reconciliations.MOST]),
        ("subscriptions of one `POST /admin/subscriptions/steer`", [bulk_acts.PAGE]),
        ("subscriptions and lines of one `POST /admin/plans/{key}/undo-price`", [
            wrong_prices.PAGE,
        ]),
        ("subscriptions of one `POST /admin/plans/{key}/move-subscribers`", [price_moves.PAGE]),
        ("days of a report", [date_range.MAX_DAYS]),
        ("days of sums by hour of a user or an organisation", [usage_sums.MOST_OF_HOURS.days]),
        ("reports of one account under way, in one API process", [account_turns.OF_ONE]),
        ("exports of postings of all accounts under way, in one API process", [
            account_turns.OF_ONE,
        ]),
        ("reads of single uses by a word, such as `model`, of one account, in one API process", [
            account_turns.OF_ONE,
        ]),
        ("dry runs of uses of one account, in one API process", [account_turns.OF_ONE]),
        ("previews of changes to a subscription, of one account, in one API process", [
            account_turns.OF_ONE,
        ]),
        ("reports of all accounts under way, in one API process", [account_turns.OF_ALL]),
        ("the answer to an `Idempotency-Key`", [length(kept.LIFETIME)]),
        ("a request that died, under its key", [f"{kept.LEASE.seconds} seconds"]),
        ("a hold of credits", [
            length(ledger_holds.LIFETIME), length(timedelta(seconds=holds.MAX_HOLD_SECONDS)),
        ]),
        ("holds of one account that expire together", [int(_part_size())]),
        ("a purchase *", [
            length(timedelta(hours=_SET.purchase_expiry_hours)),
            *(length(one) for one in PAGE_LIFETIMES.values()),
        ]),
        ("a purchase by hand, until its transfer is reported *", [
            length(timedelta(days=_SET.manual_expiry_days)),
        ]),
        ("the report of a transfer for a purchase that has ended unpaid", [
            length(late_payments.ACCEPTED_FOR),
        ]),
        ("a use paid by card", [length(card_usage.LIFETIME)]),
        ("a first payment of a subscription", [
            length(subscriptions.AWAITS_PAYER), length(collecting.FIRST_APPROVAL_WITHIN),
        ]),
        ("a change of plan that waits for the payer", [length(subscriptions.AWAITS_PAYER)]),
        ("a preview's token", [length(tokens.LIFETIME)]),
        ("a card being saved", [length(payment_methods.SETUP_LIFETIME)]),
        ("a link to a payment page", [length(LINK_LIFETIME)]),
        ("a claim of a quota without a record of its use", [length(quotas.CLAIM_LIFETIME)]),
        ("reports of transfers that keep cards of an invoice from being tried", [
            length(collecting.APPROVAL_SUSPENDS),
        ]),
        ("rows of a batch", [usage.MAX_ROWS]),
        ("`usage_details` of one use, as JSON without spaces", [body.DETAIL_BYTES]),
        ("one use, in units of its meter *", [MeterSpec.model_fields["max_per_use"].default]),
        ("`max_per_use` of a meter", [MAX_PER_USE]),
        ("the price of one use", [rating.MOST_CREDITS, rating.MOST_MONEY]),
        ("credits of an account, ever", [credits.MOST_EVER]),
        ("addresses", [MAX_ADDRESSES]),
        ("budgets", [MAX_BUDGETS]),
        ("migration requests that wait for an operator", [migration_requests.MAX_QUEUED]),
        ("the notes of a migration request", [
            migration_requests.MIN_NOTES, migration_requests.MAX_NOTES,
        ]),
        ("documents that are rendered or wait for it, in one API process", [press.OF_ONE]),
        ("days by which a dunning case is extended in all", [dunning.MAX_EXTENSION_DAYS]),
        ("the logo of an issuer", [issuers.MOST_LOGO_BYTES]),
        ("one charge of a card", [currencies.charging("USD").maximum]),
        ("declines of one card", [
            f"{card_rules.MAX_ATTEMPTS_PER_CARD} in {length(card_rules.ATTEMPT_WINDOW)}",
        ]),
    ],
)  # fmt: skip
def test_a_figure_on_the_page_is_the_codes_own(
    limit: str, figures: list[int | Decimal | str]
) -> None:
    for figure in figures:
        shown = figure if isinstance(figure, str) else f"{int(figure):,}"
        assert shown in _ROWS[limit]
