"""The rows that projections start from: a subscription, a purchase, a trial, in any state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

from billing.catalog.plans.schemas import DunningPolicy, Plan, Rollover
from billing.core import ids
from billing.core.periods import MONTH, Interval
from billing.insight.timeline import rules
from billing.insight.timeline.schemas import (
    AccountSnapshot,
    ComingEntry,
    DecidingSnapshot,
    Expiring,
    Outlook,
    PurchaseSnapshot,
    ReversalSnapshot,
    TrialSnapshot,
)
from billing.matters.effects import InboxEvent, Row, Rows
from billing.matters.kinds import SUBSCRIPTION
from billing.money.account_agenda.rules import AccountState
from billing.money.collecting.collection import CollectionFacts
from billing.money.dunning.rules import for_collection
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases.rules import PurchaseState
from billing.money.reversals.rules import Answering, OpenRefund, ReversalState
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Item, Subscription
from billing.money.trials.rules import TrialState

ACCOUNT: Final = UUID(int=1)
INVOICE: Final = UUID(int=2)
PLAN: Final = UUID(int=7)
WHOSE: Final = UUID(int=8)
INV: Final = ids.encode(ids.INVOICE, INVOICE)
START: Final = datetime(2027, 1, 31, 10, tzinfo=UTC)
YEAR: Final = Interval(unit="year")
Seen = list[tuple[str, str, int | None]]


def day(month: int, number: int, year: int = 2027) -> datetime:
    return datetime(year, month, number, 10, tzinfo=UTC)


def subscribed(
    now: datetime = START,
    invoices: tuple[Row, ...] = (),
    *,
    expiring: tuple[Expiring, ...] = (),
    card: bool = True,
    amount_minor: int = 4900,
    money_balance_minor: int = 0,
    interval: Interval = MONTH,
    **more: Any,
) -> Outlook:
    """A subscription to Pro that began on 31 January at 10:00 UTC; `more` are its fields."""
    known: dict[str, Any] = {
        "id": WHOSE, "account_id": ACCOUNT, "plan_id": PLAN, "plan_key": "pro",
        "price_id": UUID(int=9), "currency": "USD", "amount_minor": amount_minor,
        "interval_unit": interval.unit, "interval_count": interval.count, "status": "active",
        "anchor_wall": START.replace(tzinfo=None), "zone": "UTC", "period_number": 0,
        "current_period_start": START, "current_period_end": day(2, 28), "cycle_start": START,
        "cycle_end": day(2, 28), "created_at": START, "updated_at": START,
    }  # fmt: skip
    subscription = Subscription(**known | more)
    item = Item(
        id=UUID(int=10), account_id=ACCOUNT, subscription_id=WHOSE, kind="plan",
        description="Pro", quantity=1, amount_minor=amount_minor,
    )  # fmt: skip
    facts = SubscriptionFacts(
        at=now, real_at=now, new_id=uuid4, terms=DunningPolicy(), subscription_id=WHOSE,
        plans={PLAN: plan()}, balance_minor=money_balance_minor,
    )  # fmt: skip
    rows = Rows([subscription, item, *([method()] if card else []), *invoices])
    snapshot = DecidingSnapshot(SUBSCRIPTION.workflow_id(WHOSE), rows, facts)
    return Outlook(
        account_id=ACCOUNT, now=now, subscriptions=(snapshot,), account=account(),
        expiring=expiring,
    )  # fmt: skip


def plan() -> Plan:
    return Plan(
        id=PLAN, key="pro", version=1, family="app", name="Pro", description="", features={},
        limits=(), trial_days=14, monthly_credits=Decimal(500), past_due_access="full",
        trial_end_behavior="cancel", dunning=DunningPolicy(), rollover=Rollover(),
        stripe_product_id=None, position=1, is_active=True, is_current=True, created_at=START,
    )  # fmt: skip


def account() -> AccountSnapshot:
    return AccountSnapshot(
        workflow_id="account/acc_1", state=AccountState(status="active", account="acc_1")
    )


def project(outlook: Outlook, count: int) -> list[ComingEntry]:
    """The next `count` entries."""
    return rules.project(outlook, count).entries


def seen(coming: list[ComingEntry]) -> Seen:
    return [(f"{one.at:%-d %b %Y}", one.name, one.amount_minor) for one in coming]


def method() -> Method:
    return Method(
        id=UUID(int=4), account_id=ACCOUNT, stripe_payment_method_id="pm_1", brand="visa",
        last4="4242", is_default=True, chosen_at=day(1, 1), created_at=day(1, 1),
    )  # fmt: skip


def open_invoice(*more: Row, **fields: Any) -> tuple[Row, ...]:
    """The invoice of the first period, with what hangs on it."""
    known: dict[str, Any] = {
        "id": INVOICE, "account_id": ACCOUNT, "workflow_id": SUBSCRIPTION.workflow_id(WHOSE),
        "subscription_id": WHOSE, "fact_key": "period-1", "status": "open", "number": "INV-1",
        "currency": "USD", "subtotal_minor": 4900, "total_minor": 4900, "amount_due_minor": 4900,
        "period_start": START, "period_end": day(2, 28), "cycle_start": START,
        "cycle_end": day(2, 28), "created_at": START, "finalized_at": START,
    }  # fmt: skip
    return (Invoice(**known | fields), *more)


def case(status: str = "open", **policy: Any) -> DunningCase:
    """Its first try has failed."""
    return DunningCase(
        id=UUID(int=3), account_id=ACCOUNT, invoice_id=INVOICE, status=status, policy=policy,
        zone="UTC", day_zero_at=START, last_slot=0, last_slot_ran_at=START,
        last_true_attempt_at=START, opened_at=START,
    )  # fmt: skip


def declined() -> Attempt:
    return Attempt(
        id=UUID(int=6), account_id=ACCOUNT, invoice_id=INVOICE, key=f"{INV}/attempt-0", slot=0,
        payment_method_id=UUID(int=4), status="declined", started_at=START, real_started_at=START,
    )  # fmt: skip


def payment(status: str, flow: str = "manual", number: int = 5, **fields: Any) -> Payment:
    """A payment of the invoice."""
    known: dict[str, Any] = {
        "id": UUID(int=number), "account_id": ACCOUNT, "invoice_id": INVOICE, "flow": flow,
        "workflow_id": "", "intent_key": f"pay-{number}", "status": status, "amount_minor": 4900,
        "currency": "USD", "created_at": START,
        "stripe_payment_intent_id": None if flow == "manual" else f"pi_{number}",
    }  # fmt: skip
    return Payment(**known | fields)


def collection(
    *more: Row, final_action: str = "unpaid", card: bool = False, events: int = 0
) -> Outlook:
    """An invoice of 49.00 whose first try failed; 9.00 of it were taken back."""
    invoice = open_invoice(workflow_id="collection/inv_1", amount_credited_minor=900)
    waiting = [InboxEvent(f"evt_{one}", 0, None, START, None) for one in range(events)]
    rows = Rows([*invoice, case(final_action=final_action), *more], waiting)
    if card:
        rows = Rows([*rows.all(), method()], waiting)
    facts = CollectionFacts(
        at=START, real_at=START, new_id=uuid4, terms=for_collection(DunningPolicy()),
        invoice_id=INVOICE,
    )  # fmt: skip
    snapshot = DecidingSnapshot("collection/inv_1", rows, facts)
    return Outlook(account_id=ACCOUNT, now=START, collections=(snapshot,))


def purchase(**more: Any) -> Outlook:
    known: dict[str, Any] = {
        "status": "pending",
        "purchase": "pur_1",
        "flow": "card",
        "payment_status": "pending",
        "opened": True,
        "created_at": START,
        "expires_at": START + timedelta(days=1),
        "checks": 0,
    }
    snapshot = PurchaseSnapshot(
        workflow_id="purchase/pur_1",
        state=PurchaseState(**known | more),
        pack="Small",
        credits=Decimal(100),
        amount_minor=999,
        currency="USD",
    )
    return Outlook(account_id=ACCOUNT, now=START, purchases=(snapshot,))


def trial(paying: Outlook | None = None) -> Outlook:
    """A trial of credits, of an account that pays for a plan or does nothing."""
    lot = Expiring(
        name="trial credits", credits=Decimal(480), expires_at=day(2, 14), grant_key="acc_1/trial"
    )
    snapshot = TrialSnapshot(
        workflow_id="trial/acc_1",
        state=TrialState(status="active", account="acc_1", expires_at=day(2, 14)),
        grant_key="acc_1/trial",
    )
    outlook = paying or Outlook(account_id=ACCOUNT, now=START, account=account())
    return replace(outlook, expiring=(lot,), trials=(snapshot,))


def going_back() -> Outlook:
    """A part of a payment on its way back, and a dispute of it in its payer's currency."""
    state = ReversalState(
        status="disputed", payment="pay_1",
        refund=OpenRefund(key="ref_1", created_at=day(2, 1)),
        dispute=Answering(dispute="dsp_1", due_at=day(2, 10)),
    )  # fmt: skip
    snapshot = ReversalSnapshot(
        workflow_id="reversal/pay_1", state=state, currency="USD", refunds={"ref_1": 333},
        dispute_minor=666, dispute_currency="JPY",
    )  # fmt: skip
    return Outlook(account_id=ACCOUNT, now=START, account=account(), reversals=(snapshot,))
