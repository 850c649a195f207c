"""What projections start from: a subscription, a purchase, a trial, in any state."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.accounts.rules import AccountState
from billing.core.periods import MONTH, Interval
from billing.dunning.rules import Case, Collecting, Policy
from billing.purchases.rules import PurchaseState
from billing.subscriptions.rules import SubscriptionState
from billing.timeline.schemas import (
    AccountPicture,
    Coming,
    Lapsing,
    Outlook,
    Owed,
    PurchasePicture,
    SubscriptionPicture,
    Terms,
    TrialPicture,
)
from billing.trials.rules import TrialState

ACCOUNT = UUID(int=1)
START = datetime(2027, 1, 31, 10, tzinfo=UTC)
YEAR = Interval(unit="year")
Seen = list[tuple[str, str, int | None]]


def day(month: int, number: int, year: int = 2027) -> datetime:
    return datetime(year, month, number, 10, tzinfo=UTC)


def terms(**more: Any) -> Terms:
    known: dict[str, Any] = {
        "plan": "Pro",
        "amount_minor": 4900,
        "currency": "USD",
        "zone": "UTC",
        "anchor_wall": START.replace(tzinfo=None),
        "interval": MONTH,
        "period_number": 0,
        "allowance": MONTH,
        "monthly_credits": Decimal(500),
        "policy": Policy(),
        "trial_end_behavior": "cancel",
        "card": "visa 4242",
        "money_balance_minor": 0,
        "credits_at_start": False,
    }
    return Terms(**known | more)


def state(**more: Any) -> SubscriptionState:
    known: dict[str, Any] = {
        "status": "active",
        "subscription": "sub_1",
        "current_period_end": day(2, 28),
        "cycle_end": day(2, 28),
    }
    return SubscriptionState(**known | more)


def subscribed(
    now: datetime = START,
    owed: dict[str, Owed] | None = None,
    *,
    lapsing: tuple[Lapsing, ...] = (),
    of: Terms | None = None,
    **more: Any,
) -> Outlook:
    picture = SubscriptionPicture(
        workflow_id="subscription/sub_1", state=state(**more), terms=of or terms(), owed=owed or {}
    )
    account = AccountPicture(
        workflow_id="account/acc_1", state=AccountState(status="active", account="acc_1")
    )
    return Outlook(
        account_id=ACCOUNT, now=now, subscriptions=(picture,), account=account, lapsing=lapsing
    )


def seen(coming: list[Coming]) -> Seen:
    return [(f"{one.at:%-d %b %Y}", one.name, one.amount_minor) for one in coming]


def open_invoice(**more: Any) -> Collecting:
    return Collecting(invoice="inv_1", day_zero_at=START, method="mth_1", **more)


OWED = {
    "inv_1": Owed(label="INV-1", remaining_minor=4900, cycle=(START, day(2, 28)))
}  # fmt: skip
CASE = Case(
    status="open",
    policy=Policy(),
    zone="UTC",
    day_zero_at=START,
    last_slot=0,
    last_slot_ran_at=START,
    last_true_attempt_at=START,
)


def purchase(**more: Any) -> Outlook:
    known: dict[str, Any] = {
        "status": "pending",
        "purchase": "pur_1",
        "road": "card",
        "payment_status": "pending",
        "opened": True,
        "created_at": START,
        "expires_at": START + timedelta(days=1),
        "checks": 0,
    }
    picture = PurchasePicture(
        workflow_id="purchase/pur_1",
        state=PurchaseState(**known | more),
        pack="Small",
        credits=Decimal(100),
        amount_minor=999,
        currency="USD",
    )
    return Outlook(account_id=ACCOUNT, now=START, purchases=(picture,))


def trial(*, converted: bool = False) -> Outlook:
    lot = Lapsing(
        name="trial credits", credits=Decimal(480), expires_at=day(2, 14), grant_key="acc_1/trial"
    )
    outlook = subscribed(lapsing=(lot,)) if converted else Outlook(
        account_id=ACCOUNT, now=START, lapsing=(lot,),
        account=AccountPicture(workflow_id="account/acc_1",
                               state=AccountState(status="active", account="acc_1")),
    )  # fmt: skip
    picture = TrialPicture(
        workflow_id="trial/acc_1",
        state=TrialState(status="active", account="acc_1", expires_at=day(2, 14)),
        grant_key="acc_1/trial",
    )
    return outlook.model_copy(update={"trials": (picture,)})
