"""The books check themselves: honest ones break no rule, and each rule finds what it is for."""

import operator
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import product
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import open_database
from billing.core.settings import Settings
from billing.insight.integrity import numbers, rules, service, store
from billing.insight.integrity.narrowed import tables
from billing.insight.integrity.rules import CHECKS, LEDGER
from billing.ledger.credits import invariants
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.credits import holding
from tests.integration.credits.test_checks import DAMAGE as LEDGER_DAMAGE
from tests.integration.faults.rows import open_operator
from tests.integration.insight.test_recounting import A_QUOTA
from tests.integration.one_connection import seen_by

MINE: Final = "account_id = :account"
NAMED: Final = re.compile(r"\b[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}\b|^coupon \w+|evt_")
"""The id of something, a coupon's code, or an event of the provider."""
PLAIN: Final = f"FROM invoices WHERE {MINE} AND purchase_id IS NULL AND status = 'paid'"
SHORT: Final = f"UPDATE credit_lots SET remaining = remaining - 1 WHERE {MINE} AND remaining > 9"
LATEST: Final = f"(SELECT id {PLAIN} ORDER BY created_at DESC, id DESC LIMIT 1)"

A_USE: Final = """
        INSERT INTO billing_records (id, account_id, request_hash, meter, usage_amount,
               included_units, charged_units, unit_price, total_amount, currency,
               billing_method, billing_status, is_free_tier, is_late, transaction_id,
               period_start, day_at, occurred_at, created_at, updated_at)
        SELECT uuidv7(), account_id, 1, 'api_calls', 1, 0, 1, 1, 1, 'CREDIT',
               'credit_consumption', 'completed', false, false, {paid}, at, at, at, at, at
        FROM credit_transactions WHERE {MINE} AND seq = 1"""

# Its day agrees with the record; its cycle is another.
WRONG_CYCLE: Final = f""";
        INSERT INTO usage_counters
        SELECT account_id, '', 'day', period_start - interval '1 month', day_at, meter,
               '|credit_consumption|completed|CREDIT', 1, 1, 1, 1, occurred_at, 1, 0, 0
        FROM billing_records WHERE {MINE} AND meter = 'api_calls'"""

BEYOND: Final = """
        INSERT INTO billing_records (
               id, account_id, request_hash, meter, usage_amount, included_units, charged_units,
               unit_price, total_amount, currency, billing_method, billing_status, is_free_tier,
               is_late, period_start, day_at, occurred_at, created_at, updated_at)
        SELECT uuidv7(), account_id, 1, 'api_calls', 1, 0, 1, 1, 1, 'USD',
               'subscription_included', '{status}', false, false, at, at, at, at, at
        FROM (SELECT account_id, {at} AS at FROM subscriptions WHERE {MINE}) AS s"""
A_MONTH_BEFORE: Final = "cycle_start - interval '1 month'"

# What breaks each rule, on the account that pays or (late) on the one that is overdue.
DAMAGE: Final[dict[str, str]] = {
    **{name: LEDGER_DAMAGE[sentence] for name, (_, sentence) in LEDGER.items()},
    **dict.fromkeys(("lots_balance", "lots_remaining"), SHORT),
    "credits_never_negative": f"""
        ALTER TABLE credit_balances DROP CONSTRAINT ck_credit_balances_amounts;
        UPDATE credit_balances SET held = balance + 1 WHERE {MINE}""",
    "holds_of_lots": f"UPDATE credit_lots SET held = held + 1 WHERE {MINE} AND remaining > held",
    "lots_of_their_kind": f"UPDATE credit_lots SET is_paid = true WHERE {MINE} AND kind = 'plan'",
    "ends_awaited": f"UPDATE credit_balances SET next_expiry = NULL WHERE {MINE}",
    "usage_counted": A_USE.format(paid="NULL", MINE=MINE),
    "usage_cycles": A_USE.format(paid="NULL", MINE=MINE) + WRONG_CYCLE,
    "cycles_dated": f"""
        UPDATE usage_periods SET end_at = end_at + interval '1 hour'
        WHERE {MINE} AND closed_at IS NULL""",
    "unpaid_uses_known": f"""
        INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at)
        SELECT uuidv7(), account_id, created_at, created_at
        FROM credit_balances b JOIN accounts a ON a.id = b.account_id WHERE b.{MINE}""",
    "quotas_counted": A_QUOTA.format(MINE=MINE),
    "budgets_known": f"UPDATE credit_balances SET budget_mode = 'block' WHERE {MINE}",
    "usage_paid": f"DELETE FROM capture_logs WHERE {MINE}",
    "usage_counted_beyond": BEYOND.format(status="pending", at=A_MONTH_BEFORE, MINE=MINE),
    "usage_billed": BEYOND.format(status="completed", at=A_MONTH_BEFORE, MINE=MINE),
    "usage_priced": f"""
        UPDATE invoice_lines SET kind = 'usage', amount_minor = 301, quantity = 12, detail =
            '{{"meter": "api_calls", "early": false, "late": false, "billed_minor": 300,
               "billed_units": "3", "tiers": [{{"amount": "6"}}],
               "price": {{"model": "package", "unit_price": "3", "package_size": "10"}}}}'
        WHERE invoice_id = {LATEST}""",
    "usage_invoiced": BEYOND.format(status="pending", at=A_MONTH_BEFORE, MINE=MINE),
    "thresholds_billed": f"""
        UPDATE usage_periods SET threshold_at = start_at - interval '1 day'
        WHERE {MINE} AND closed_at IS NULL""",
    "purchases_granted_once": f"""
        UPDATE purchases SET status = 'failed' WHERE {MINE} AND status = 'completed'""",
    "grants_paid_once": f"UPDATE purchases SET amount_minor = amount_minor + 1 WHERE {MINE}",
    "trials_granted_once": f"UPDATE trials SET credits = credits + 1 WHERE {MINE}",
    "purchases_end_in_time": f"""
        UPDATE purchases SET expires_at = created_at - interval '1 day'
        WHERE {MINE} AND status = 'pending'""",
    "top_ups_undecided": f"UPDATE credit_balances SET top_up_open = true WHERE {MINE}",
    "top_ups_bought": f"UPDATE top_ups SET status = 'failed' WHERE {MINE}",
    "payments_booked": f"""
        UPDATE payments SET received_minor = received_minor + 1
        WHERE {MINE} AND status = 'succeeded'""",
    "payments_settled": f"""
        UPDATE payments SET settled_at = NULL, paid_at = paid_at - interval '1 day'
        WHERE {MINE} AND status = 'succeeded'""",
    "refunds_match_payments": f"""
        UPDATE payments SET status = 'refunded' WHERE {MINE} AND status = 'succeeded'""",
    "disputes_booked": f"""
        INSERT INTO disputes (id, account_id, payment_id, invoice_id, stripe_dispute_id, status,
                              state, amount_minor, currency, reason, created_at, closed_at)
        SELECT uuidv7(), account_id, id, invoice_id, 'dp_damage', 'lost', 'lost', 1, currency,
               'general', created_at, created_at
        FROM payments WHERE {MINE} AND status = 'succeeded' ORDER BY created_at LIMIT 1""",
    "reversals_placed": f"""
        INSERT INTO refunds (id, account_id, payment_id, invoice_id, key, status, amount_minor,
                             balance_minor, wanted_minor, currency, reason, created_at, booked_at,
                             finished_at)
        SELECT uuidv7(), account_id, id, invoice_id, 'damage', 'succeeded', 1, 1, 1, currency,
               'general', created_at, created_at, created_at
        FROM payments WHERE {MINE} AND status = 'succeeded' ORDER BY created_at LIMIT 1""",
    "one_collector": f"""
        DROP INDEX uq_payments_one_collector;
        INSERT INTO payments (id, account_id, invoice_id, workflow_id, flow, intent_key, status,
                              amount_minor, currency, created_at)
        SELECT uuidv7(), account_id, invoice_id, workflow_id, flow, intent_key || '-again', status,
               amount_minor, currency, created_at
        FROM payments WHERE {MINE} AND status = 'pending'""",
    "attempts_decided": f"""
        UPDATE payment_attempts SET status = 'pending',
               real_started_at = real_started_at - interval '2 hours'
        WHERE id = (SELECT id FROM payment_attempts WHERE {MINE} LIMIT 1)""",
    "one_currency": f"UPDATE credit_balances SET currency = 'EUR' WHERE {MINE}",
    "cards_chosen": f"UPDATE payment_methods SET is_default = false WHERE {MINE}",
    "cards_kept": "UPDATE accounts SET stripe_customer_id = NULL WHERE id = :account",
    "tests_apart": f"UPDATE invoices SET series = 'INV' WHERE id = {LATEST}",
    "invoice_numbers": f"UPDATE invoices SET number = series || '-000099' WHERE id = {LATEST}",
    "invoice_sums": f"""
        UPDATE invoice_lines SET amount_minor = amount_minor + 1 WHERE invoice_id = {LATEST}""",
    "coupons_counted": f"""
        UPDATE coupons SET redeemed = 0
        WHERE id IN (SELECT coupon_id FROM discounts WHERE {MINE})""",
    "invoices_settled": f"UPDATE invoices SET status = 'open', paid_at = NULL WHERE id = {LATEST}",
    "invoice_content": f"""
        UPDATE invoice_lines SET description = description || ' and more'
        WHERE invoice_id = {LATEST}""",
    "credit_notes": f"UPDATE invoices SET amount_credited_minor = 1 WHERE id = {LATEST}",
    "money_balance": f"UPDATE invoices SET balance_applied_minor = 1 WHERE id = {LATEST}",
    "adjustments_told": f"""
        INSERT INTO balance_entries (id, account_id, key, kind, amount_minor, currency, at)
        SELECT uuidv7(), account_id, public_id('adj', id), 'adjusted', 50, currency, created_at
        FROM subscriptions WHERE {MINE}""",
    "debts_billed": f"""
        UPDATE subscriptions SET status = 'canceled', ended_at = current_period_start WHERE {MINE};
        INSERT INTO balance_entries (id, account_id, key, kind, amount_minor, currency, at)
        SELECT uuidv7(), account_id, 'test', 'carried', -50, currency, created_at
        FROM subscriptions WHERE {MINE}""",
    "inbox_handled": f"""
        UPDATE stripe_webhook_events SET status = 'received',
               received_at = received_at - interval '1 hour' WHERE {MINE}""",
    "outbox_numbers": f"""
        DELETE FROM events
        WHERE {MINE} AND seq = (SELECT min(seq) + 1 FROM events WHERE {MINE})""",
    "matters_started": f"""
        UPDATE matters SET started_at = NULL, woken_at = woken_at - interval '1 hour'
        WHERE {MINE} AND kind = 'subscription'""",
    "matters_exist": f"""
        UPDATE matters SET closed_at = woken_at WHERE {MINE} AND kind = 'subscription'""",
    "matters_have_rows": f"""
        DELETE FROM subscription_items WHERE {MINE};
        DELETE FROM subscriptions WHERE {MINE}""",
    "sales_stand": f"""
        DELETE FROM subscription_items WHERE {MINE};
        DELETE FROM subscriptions WHERE {MINE}""",
    "steps_move_on": f"""
        INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at)
        SELECT next_key, workflow_id, account_id, next_step, next_due, next_due, next_due
        FROM matters WHERE {MINE} AND kind = 'subscription'""",
    "audit_chain": f"UPDATE billing_audit SET actor = 'admin:nobody' WHERE {MINE}",
    "steps_belong": f"UPDATE steps SET workflow_id = 'subscription/nobody' WHERE {MINE}",
    "one_open_subscription": f"""
        DROP INDEX uq_subscriptions_one_open;
        CREATE TEMPORARY TABLE twin ON COMMIT DROP AS SELECT * FROM subscriptions WHERE {MINE};
        UPDATE twin SET id = uuidv7();
        INSERT INTO subscriptions SELECT * FROM twin""",
    "cancels_stand": f"UPDATE subscriptions SET canceled_at = created_at WHERE {MINE}",
    "ends_noted": f"UPDATE subscriptions SET status = 'canceled' WHERE {MINE}",
    "states_dated": f"UPDATE subscriptions SET status = 'trialing' WHERE {MINE}",
    "periods_end_in_time": f"""
        UPDATE matters SET next_due = next_due + interval '1 year'
        WHERE {MINE} AND kind = 'subscription'""",
    "subscriptions_priced": f"UPDATE subscriptions SET amount_minor = 1 WHERE {MINE}",
    "periods_contiguous": f"""
        UPDATE invoices SET period_start = period_start + interval '1 day' WHERE id = {LATEST}""",
    "periods_billed": f"""
        UPDATE subscriptions SET current_period_end = current_period_end + interval '1 day'
        WHERE {MINE}""",
    "cycles_granted_once": f"""
        UPDATE credit_lots SET grant_key = grant_key || '-other' WHERE {MINE} AND kind = 'plan'""",
    "debts_pursued": f"UPDATE subscriptions SET status = 'past_due' WHERE {MINE}",
    "slots_tried": f"UPDATE dunning_cases SET last_slot = last_slot + 2 WHERE {MINE}",
    "cases_match_invoices": f"""
        UPDATE dunning_cases SET status = 'recovered', closed_at = opened_at WHERE {MINE}""",
}
LATE: Final = {"slots_tried", "cases_match_invoices"}
WAITING: Final = (
    "SELECT 1 FROM stripe_webhook_events WHERE account_id = %(me)s AND status = 'received'"
)


@dataclass(frozen=True)
class Books:
    """Two accounts with a bit of everything: one pays, the other is overdue."""

    paying: UUID
    late: UUID

    def of(self, name: str) -> UUID:
        """Whose books the damage is done to."""
        return self.late if name in LATE else self.paying


@pytest.fixture(scope="module")
async def books(actors: Actors) -> Books:
    paying = await actors.customer_on_clock()
    await paying.ask("POST", "/billing/trials", status=201)
    await paying.subscribed("pro")
    await paying.advance(days=32)
    coupon = {"code": "BOOKS", "name": "Books", "percent": "10"}
    await actors.operate("POST", "/admin/coupons", coupon, status=201)
    await paying.bought("small", coupon="BOOKS")
    await paying.buy("medium")
    await spend(actors, paying)
    await paying.top_up()
    late = await actors.customer_on_clock()
    await late.subscribed("pro")
    await late.script("insufficient_funds", then="last")
    await late.advance(days=32)
    for customer in (paying, late):
        await wait_for(partial(customer.rows, WAITING), "each event is looked into", operator.not_)
    return Books(paying.uuid, late.uuid)


async def spend(actors: Actors, customer: Customer) -> None:
    """One use, one open hold, one that was captured."""
    use = {"product_id": "gpt-4", "usage_amount": "500"}
    await customer.ask("POST", "/usage/record", use)
    facts: dict[str, Any] = {"account_id": customer.uuid, "reason": "test"}
    later = real_now() + timedelta(days=900)
    async with (
        open_operator(actors.stack) as database,
        database.tenant(customer.uuid) as connection,
    ):
        await holding.hold(connection, amount=Decimal(2), key="kept", expires_at=later, **facts)
        spent = await holding.hold(
            connection, amount=Decimal(3), key="spent", expires_at=later, **facts
        )
        await holding.capture(connection, account_id=customer.uuid, hold_id=spent.hold_id)


async def test_honest_books_break_no_rule(books: Books, superuser: AsyncConnection) -> None:
    for account_id, later in product((books.paying, books.late), (timedelta(), timedelta(hours=1))):
        report = await service.evaluate(superuser, account_id, now=real_now() + later)
        assert report.ok, report.wrong
        assert [check.name for check in report.checks] == [check.name for check in CHECKS]


def test_every_rule_has_its_damage() -> None:
    assert set(DAMAGE) == {check.name for check in CHECKS}
    assert {sentence for _, sentence in LEDGER.values()} == set(invariants.RULES)


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
async def test_damage_is_found_by_its_rule(
    books: Books, superuser: AsyncConnection, name: str
) -> None:
    account_id = books.of(name)
    for part in DAMAGE[name].split(";\n"):
        statement = text(part)
        values = {"account": account_id, "id": ids.new()}
        wanted = {key: values[key] for key in statement.compile().params}
        done = await superuser.execute(statement, wanted)
        assert done.rowcount != 0, "the damage met nothing"
    report = await service.evaluate(superuser, account_id)
    found = {finding.name: finding for finding in report.wrong}
    assert not report.ok
    assert name in found, f"only {sorted(found)} noticed"
    assert 1 <= len(found[name].examples) <= 5
    assert found[name].violations >= len(found[name].examples)
    named = [one for one in found[name].examples if NAMED.search(one)]
    assert name == "invoice_numbers" or named == [*found[name].examples], "where is one to look?"
    if name in store.LATE:
        late = await store.ask(superuser, store.LATE[name], real_now())
        assert late, "a look at all accounts finds it"
    elsewhere = await service.evaluate(
        superuser, books.late if account_id == books.paying else books.paying
    )
    assert elsewhere.ok, "the other account's books are as they were"


@pytest.mark.parametrize("after", [timedelta(), timedelta(days=9)], ids=["at once", "later"])
async def test_a_refund_that_came_after_the_end_was_not_left_behind(
    books: Books, superuser: AsyncConnection, after: timedelta
) -> None:
    values = {"account": books.paying}
    for part in DAMAGE["debts_billed"].replace("'carried'", "'refunded'").split(";\n"):
        await superuser.execute(text(part), values)
    moved = text(
        "UPDATE balance_entries SET at = s.ended_at + :after FROM subscriptions AS s"
        " WHERE key = 'test' AND s.account_id = balance_entries.account_id"
    )
    await superuser.execute(moved, {"after": after})
    report = await service.evaluate(superuser, books.paying)
    assert "debts_billed" not in {finding.name for finding in report.wrong}


async def test_an_open_invoice_of_a_use_that_nobody_asks_for_is_found(
    books: Books, superuser: AsyncConnection
) -> None:
    damage = text(
        f"UPDATE invoices SET status = 'open', workflow_id = 'charge/bill_1' WHERE id = {LATEST}"
    )
    await superuser.execute(damage, {"account": books.paying})
    report = await service.evaluate(superuser, books.paying)
    [found] = [one for one in report.wrong if one.name == "matters_exist"]
    assert found.examples == ("charge/bill_1",)


# What no account shows alone.
OF_ALL: Final = {
    "invoice_numbers": "INSERT INTO invoice_series VALUES ('LOST', 7, '2027-01-01')",
    "coupons_counted": """
        UPDATE coupons SET redeemed = 99
        WHERE id IN (SELECT coupon_id FROM discounts WHERE account_id = :account)""",
    "audit_chain": "UPDATE billing_audit SET actor = 'nobody' WHERE account_id IS NULL",
}


@pytest.mark.parametrize("name", sorted({*store.OF_ALL, numbers.NAME}))
async def test_damage_that_no_account_shows_alone_is_found(
    books: Books, superuser: AsyncConnection, name: str
) -> None:
    here, damage = seen_by(superuser), text(OF_ALL[name])
    assert await service.of_all(here) == []
    values = dict.fromkeys(damage.compile().params, books.paying)
    assert (await superuser.execute(damage, values)).rowcount != 0
    assert (await service.evaluate(superuser, books.paying, books.late)).ok
    assert [one.name for one in await service.of_all(here)] == [name]


# What leads to each, however many rows there are.
INDEXES: Final = {
    "payments_settled": {"ix_payments_unsettled"},
    "disputes_booked": {"ix_disputes_unbooked"},
    "attempts_decided": {"uq_payment_attempts_undecided"},
    "purchases_end_in_time": {"ix_purchases_pending"},
    "inbox_handled": {"ix_stripe_webhook_events_waiting"},
    "matters_started": {"ix_matters_left_behind", "ix_matters_resting"},
    "thresholds_billed": {"ix_usage_periods_threshold"},
}


@pytest.mark.parametrize("name", sorted(store.LATE))
async def test_what_is_late_is_found_by_an_index(
    books: Books, superuser: AsyncConnection, name: str
) -> None:
    await superuser.execute(text(DAMAGE[name]), {"account": books.of(name)})
    # Of few rows a look at all of them is cheaper: it is ruled out, and each page has a million.
    await superuser.execute(text("SET LOCAL enable_seqscan = off"))
    many = "UPDATE pg_class SET reltuples = 1000000, relpages = 1 WHERE relname = ANY(:tables)"
    # The few rows of other tests say nothing of real ones.
    known = "DELETE FROM pg_statistic WHERE starelid::regclass::text = ANY(:tables)"
    for change in (many, known):
        await superuser.execute(text(change), {"tables": sorted(tables(store.LATE[name].text))})
    asked = {
        "now": real_now(), "slack": rules.SLACK, "at_rest": rules.SLACK,
        "undecided": rules.UNDECIDED, "parked_after": rules.PARKED_AFTER,
    }  # fmt: skip
    lines = "\n".join(await superuser.scalars(text(f"EXPLAIN {store.LATE[name].text}"), asked))
    assert all(index in lines for index in INDEXES[name]), lines


async def test_one_accounts_books_can_be_checked_with_its_own_rights(
    actors: Actors, books: Books
) -> None:
    settings = Settings.model_validate({"database_url": actors.stack.app_url})
    async with open_database(settings) as database, database.tenant(books.paying) as connection:
        report = await service.evaluate(connection, books.paying)
    assert report.ok, report.wrong
