"""The kinds of objects that the search finds, with their names and descriptions.

Each name has an index, as `tests/integration/api/test_search.py` checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, Text, literal_column

from billing.core import ids
from billing.core.money import show_decimal, show_money
from billing.ledger.credits.tables import credit_holds, credit_lots, credit_transactions
from billing.matters.tables import matters
from billing.metering.usage.tables import billing_records
from billing.money.addresses.tables import billing_addresses
from billing.money.billing_details.tables import billing_details
from billing.money.disputes.tables import disputes
from billing.money.dunning.tables import dunning_cases
from billing.money.invoices.tables import credit_notes, invoices
from billing.money.payment_methods.tables import payment_methods, portal_sessions, setup_intents
from billing.money.payments.tables import payment_attempts, payments
from billing.money.purchases.tables import purchases
from billing.money.refunds.tables import refunds
from billing.money.subscriptions.tables import subscription_changes, subscriptions
from billing.money.top_ups.tables import top_ups
from billing.money.trials.tables import trials
from billing.platform.accounts.tables import accounts, issuers
from billing.platform.audit.tables import billing_audit
from billing.platform.outbox.tables import events
from billing.platform.provider_inbox.tables import stripe_webhook_events

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object. `prefix` is its ids' prefix; without one its key is a text."""

    name: str
    table: Table
    words: Callable[[Row], str]
    prefix: str | None = None
    names: Mapping[str, ColumnElement[str]] = field(default_factory=dict)
    # Names compared without regard to case.
    any_case: Mapping[str, ColumnElement[str]] = field(default_factory=dict)
    # Columns of the row; without `at` the id tells when the object was created.
    at: str | None = "created_at"
    status: str | None = "status"
    key: str = "id"
    account: str | None = "account_id"
    is_found_by_id: bool = True
    only: ColumnElement[bool] | None = None


def _money(row: Row, minor: str = "amount_minor") -> str:
    return show_money(row[minor], row["currency"])


def _credits(row: Row) -> str:
    return f"{show_decimal(abs(row['amount']))} credits"


def _columns(table: Table, *names: str) -> dict[str, ColumnElement[str]]:
    return {name: table.c[name] for name in names}


def _account(row: Row) -> str:
    named = ", ".join(filter(None, (row["external_id"], row["name"])))
    return f"account {named}, {row['status']}"


def _attempt(row: Row) -> str:
    return f"try of a card, {row['decline_code'] or row['status']}"


def _invoice(row: Row) -> str:
    total = _money(row, "total_minor")
    return f"invoice {row['number'] or 'without a number'}, {row['status']}, {total}"


def _payment(row: Row) -> str:
    way = row["manual_method"] or row["flow"]
    return f"payment of {_money(row)} by {way} for {row['workflow_id']}, {row['status']}"


def _method(row: Row) -> str:
    named = " ".join(filter(None, (row["brand"], row["last4"])))
    return f"{row['provider_kind']} {named}, {row['status']}".replace(" ,", ",")


def _record(row: Row) -> str:
    used = f"{show_decimal(row['usage_amount'])} of {row['meter']}"
    return f"use of {used}, {row['billing_status']}"


# The charge of a declined try: the payment stores only its last try's charge.
_CHARGE: Final[ColumnElement[str]] = literal_column(
    "payment_attempts.detail ->> 'charge_id'", Text()
)

KINDS: Final = (
    Kind(
        "account", accounts, _account, ids.ACCOUNT,
        _columns(accounts, "external_id", "stripe_customer_id", "gone_customer_id"),
        _columns(accounts, "email", "name"),
        account="id",
    ),
    Kind("address", billing_addresses,
         lambda row: f"billing address in {row['city']}, {row['country']}",
         ids.ADDRESS, status=None),
    Kind("adjustment", billing_audit, lambda row: f"adjustment by {row['actor']}",
         names={"id": billing_audit.c.subject}, at="at", status=None, key="subject",
         only=billing_audit.c.action.in_(("balance.adjusted", "credits.adjusted"))),
    Kind("attempt", payment_attempts, _attempt, ids.ATTEMPT, {"charge_id": _CHARGE},
         at="started_at"),
    Kind(
        "billing_details", billing_details, lambda _: "billing details of the account",
        ids.ACCOUNT, any_case=_columns(billing_details, "billing_email"),
        at="updated_at", status=None, key="account_id", is_found_by_id=False,
    ),
    Kind("billing_record", billing_records, _record, ids.BILLING_RECORD, at="occurred_at",
         status="billing_status"),
    Kind("change", subscription_changes,
         lambda row: f"change of a subscription ({row['kind']}), {row['status']}", ids.CHANGE),
    Kind("credit_note", credit_notes,
         lambda row: f"credit note {row['number']}, {_money(row)}: {row['reason']}",
         ids.CREDIT_NOTE, _columns(credit_notes, "number"), status=None),
    Kind("dispute", disputes, lambda row: f"dispute of {_money(row)}, {row['state']}",
         ids.DISPUTE, _columns(disputes, "stripe_dispute_id"), status="state"),
    Kind("dunning_case", dunning_cases, lambda row: f"dunning case, {row['status']}",
         ids.DUNNING_CASE, at="opened_at"),
    Kind("event", events, lambda row: f"event {row['type']}", ids.EVENT, at="occurred_at",
         status=None),
    Kind("hold", credit_holds, lambda row: f"hold of {_credits(row)}, {row['status']}", ids.HOLD),
    Kind("invoice", invoices, _invoice, ids.INVOICE,
         _columns(invoices, "number", "payment_reference")),
    Kind("issuer", issuers, lambda row: f"seller {row['name']}", ids.ISSUER, at=None, status=None,
         account=None),
    Kind("lot", credit_lots,
         lambda row: f"{_credits(row)} ({row['kind']}), {show_decimal(row['remaining'])} left",
         ids.LOT, status=None),
    Kind("matter", matters, lambda row: f"{row['kind']}, {row['status']}: {row['words']}",
         names=_columns(matters, "workflow_id"), key="workflow_id"),
    Kind(
        "payment", payments, _payment, ids.PAYMENT,
        _columns(payments, "stripe_payment_intent_id", "stripe_checkout_session_id",
                 "stripe_charge_id", "transaction_reference"),
    ),
    Kind("payment_method", payment_methods, _method, ids.PAYMENT_METHOD,
         _columns(payment_methods, "stripe_payment_method_id")),
    Kind("portal_session", portal_sessions, lambda row: f"session of the portal, {row['status']}",
         ids.PORTAL_SESSION),
    Kind("purchase", purchases,
         lambda row: f"purchase of {row['pack']}, {_money(row)}, {row['status']}", ids.PURCHASE),
    Kind("refund", refunds, lambda row: f"refund of {_money(row)}, {row['status']}", ids.REFUND,
         _columns(refunds, "stripe_refund_id", "reference")),
    Kind("setup_intent", setup_intents, lambda row: f"card that is saved, {row['status']}",
         ids.SETUP_INTENT, _columns(setup_intents, "stripe_setup_intent_id")),
    Kind("subscription", subscriptions,
         lambda row: f"subscription to {row['plan_key']}, {_money(row)}, {row['status']}",
         ids.SUBSCRIPTION),
    Kind("top_up", top_ups, lambda row: f"top-up by {row['pack']}, {row['status']}", ids.TOP_UP,
         at="wanted_at"),
    Kind("transaction", credit_transactions, lambda row: f"{row['kind']} of {_credits(row)}",
         ids.TRANSACTION, at="at", status=None),
    Kind("trial", trials, lambda row: f"{row['kind'].replace('_', ' ')}, {row['status']}",
         ids.TRIAL, at="started_at"),
    Kind(
        "webhook", stripe_webhook_events,
        lambda row: f"event {row['type']} ({row['source']}), {row['status']}",
        names={"event_id": stripe_webhook_events.c.stripe_event_id,
               "object_id": stripe_webhook_events.c.object_id},
        at="received_at", key="stripe_event_id",
    ),
)  # fmt: skip
