"""The overall billing status of an account: all that matters at a glance [C15]."""

from datetime import datetime
from typing import Self

from api.dependencies import MemberRead
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Credits
from billing.core import ids
from billing.core.clock import real_now
from billing.overview import store
from billing.overview.schemas import (
    AccountPart,
    DunningPart,
    OpenInvoice,
    Overview,
    PendingPurchase,
    SubscriptionPart,
    TrialPart,
)

router = new_router("overview")


class AccountStatus(Answer):
    """Who it is; `clock_at` is the frozen instant of a test account."""

    account_id: str
    external_id: str
    status: str
    zone: str
    is_test: bool
    clock_at: datetime | None

    @classmethod
    def of(cls, one: AccountPart) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"account_id"})
        return cls(**known, account_id=ids.encode(ids.ACCOUNT, one.account_id))


class TrialStatus(Answer):
    """The trial of credits."""

    status: str
    started_at: datetime
    expires_at: datetime
    credits_granted: Credits
    credits_remaining: Credits

    @classmethod
    def of(cls, trial: TrialPart) -> Self:
        """As callers see it."""
        return cls(**trial.model_dump())


class SubscriptionStatus(Answer):
    """The open subscription, else the newest that ended."""

    subscription_id: str
    status: str
    plan: str
    plan_name: str
    amount_cents: int
    currency: str
    current_period_start: datetime
    current_period_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    next_step: str | None
    next_due_at: datetime | None

    @classmethod
    def of(cls, one: SubscriptionPart) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"subscription_id", "amount_minor"})
        return cls(
            **known,
            subscription_id=ids.encode(ids.SUBSCRIPTION, one.subscription_id),
            amount_cents=one.amount_minor,
        )


class CreditStatus(Answer):
    """The balance of credits; `available` is what may still be spent."""

    balance: Credits
    held: Credits
    available: Credits
    debt: Credits


class InvoiceStatus(Answer):
    """An invoice that waits for money."""

    invoice_id: str
    number: str | None
    remaining_cents: int
    currency: str
    due_at: datetime | None

    @classmethod
    def of(cls, one: OpenInvoice) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"invoice_id", "remaining_minor"})
        return cls(
            **known,
            invoice_id=ids.encode(ids.INVOICE, one.invoice_id),
            remaining_cents=one.remaining_minor,
        )


class InvoiceStatuses(Answer):
    """All open invoices, and the newest five of them."""

    open: int
    remaining_cents: int
    newest: list[InvoiceStatus]


class PurchaseStatus(Answer):
    """A purchase that waits for money."""

    purchase_id: str
    pack: str
    credits: Credits
    amount_cents: int
    currency: str
    expires_at: datetime

    @classmethod
    def of(cls, one: PendingPurchase) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"purchase_id", "amount_minor"})
        return cls(
            **known,
            purchase_id=ids.encode(ids.PURCHASE, one.purchase_id),
            amount_cents=one.amount_minor,
        )


class PurchaseStatuses(Answer):
    """All pending purchases, and the newest five of them."""

    pending: int
    newest: list[PurchaseStatus]


class DunningStatus(Answer):
    """The oldest open recovery: tries made and planned, and when it goes on."""

    dunning_case_id: str
    invoice_id: str
    status: str
    attempts_made: int
    attempts_planned: int
    next_step: str | None
    next_due_at: datetime | None
    opened_at: datetime
    open_cases: int

    @classmethod
    def of(cls, one: DunningPart) -> Self:
        """As callers see it."""
        known = one.model_dump(exclude={"dunning_case_id", "invoice_id"})
        return cls(
            **known,
            dunning_case_id=ids.encode(ids.DUNNING_CASE, one.dunning_case_id),
            invoice_id=ids.encode(ids.INVOICE, one.invoice_id),
        )


class OverviewAnswer(Answer):
    """Account, trial, subscription, credits, open invoices, pending purchases, dunning.

    What is not there is null or zero; `currency` is fixed by the first payment.
    """

    now: datetime
    currency: str | None
    account: AccountStatus | None
    trial: TrialStatus | None
    subscription: SubscriptionStatus | None
    credits: CreditStatus
    invoices: InvoiceStatuses
    purchases: PurchaseStatuses
    dunning: DunningStatus | None

    @classmethod
    def of(cls, seen: Overview) -> Self:
        """As callers see it."""
        purse, invoices, purchases = seen.credits, seen.invoices, seen.purchases
        return cls(
            now=seen.now,
            currency=purse.currency,
            account=AccountStatus.of(seen.account) if seen.account else None,
            trial=TrialStatus.of(seen.trial) if seen.trial else None,
            subscription=SubscriptionStatus.of(seen.subscription) if seen.subscription else None,
            credits=CreditStatus(
                balance=purse.balance,
                held=purse.held,
                available=purse.balance - purse.held,
                debt=purse.debt,
            ),
            invoices=InvoiceStatuses(
                open=invoices.open,
                remaining_cents=invoices.remaining_minor,
                newest=[InvoiceStatus.of(one) for one in invoices.newest],
            ),
            purchases=PurchaseStatuses(
                pending=purchases.pending,
                newest=[PurchaseStatus.of(one) for one in purchases.newest],
            ),
            dunning=DunningStatus.of(seen.dunning) if seen.dunning else None,
        )


@router.get("/billing", responses=responses())
async def read_overview(call: MemberRead) -> OverviewAnswer:
    """Where the account stands; zeros and nulls for what is not known [A13]."""
    now = real_now()
    if call.account is None:
        return OverviewAnswer.of(Overview(now=now))
    async with call.transaction() as connection:
        return OverviewAnswer.of(await store.overview(connection, call.account.id, now))
