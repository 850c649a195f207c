"""The overall billing status of an account [C15]."""

from datetime import datetime

from pydantic import AliasPath, Field

from api.answers.problems import responses
from api.answers.public_ids import AccountId, DunningCaseId, InvoiceId, PurchaseId, SubscriptionId
from api.answers.schemas import Answer, Credits
from api.dependencies import MemberRead
from api.routes.base import new_router
from billing.core.clock import real_now
from billing.insight.overview import store
from billing.insight.overview.schemas import Overview

router = new_router("overview")


class AccountStatus(Answer):
    """The account; `clock_at` is the frozen instant of a test account."""

    account_id: AccountId
    external_id: str
    status: str
    zone: str
    is_test: bool
    clock_at: datetime | None


class TrialStatus(Answer):
    """The trial of credits."""

    status: str
    started_at: datetime
    expires_at: datetime
    credits_granted: Credits
    credits_remaining: Credits


class SubscriptionStatus(Answer):
    """The open subscription, else the newest that ended."""

    subscription_id: SubscriptionId
    status: str
    plan: str
    plan_name: str
    amount_cents: int = Field(validation_alias="amount_minor")
    currency: str
    current_period_start: datetime
    current_period_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    cancel_at: datetime | None
    next_step: str | None
    next_due_at: datetime | None


class CreditStatus(Answer):
    """The balance of credits; `available` can still be spent."""

    balance: Credits
    held: Credits
    available: Credits
    debt: Credits


class InvoiceStatus(Answer):
    """An open invoice."""

    invoice_id: InvoiceId
    number: str | None
    remaining_cents: int = Field(validation_alias="remaining_minor")
    currency: str
    due_at: datetime | None


class InvoiceStatuses(Answer):
    """All open invoices, and the newest five of them."""

    open: int
    remaining_cents: int = Field(validation_alias="remaining_minor")
    newest: list[InvoiceStatus]


class PurchaseStatus(Answer):
    """A purchase that is not paid yet."""

    purchase_id: PurchaseId
    pack: str
    credits: Credits
    amount_cents: int = Field(validation_alias="amount_minor")
    currency: str
    expires_at: datetime


class PurchaseStatuses(Answer):
    """All pending purchases, and the newest five of them."""

    pending: int
    newest: list[PurchaseStatus]


class DunningStatus(Answer):
    """The oldest open dunning case, else the oldest `exhausted` one whose invoice is still open:
    attempts made and planned, and when the next step is due. `all_paused_at` is when an operator
    paused all of the account's recovery, that to come included; null: not.
    """

    dunning_case_id: DunningCaseId
    invoice_id: InvoiceId
    status: str
    attempts_made: int
    attempts_planned: int
    next_step: str | None
    next_due_at: datetime | None
    opened_at: datetime
    open_cases: int
    all_paused_at: datetime | None


class OverviewAnswer(Answer):
    """Account, trial, subscription, credits, open invoices, pending purchases, dunning.

    What does not exist is null or zero; `currency` is fixed by the first payment.
    """

    now: datetime
    currency: str | None = Field(validation_alias=AliasPath("credits", "currency"))
    account: AccountStatus | None
    trial: TrialStatus | None
    subscription: SubscriptionStatus | None
    credits: CreditStatus
    invoices: InvoiceStatuses
    purchases: PurchaseStatuses
    dunning: DunningStatus | None


@router.get("/billing", responses=responses())
async def read_overview(call: MemberRead) -> OverviewAnswer:
    """The account's status in one answer; zeros and nulls for an unknown account [A13]."""
    now = real_now()
    if call.account is None:
        return OverviewAnswer.of(Overview(now=now))
    async with call.transaction() as connection:
        return OverviewAnswer.of(await store.overview(connection, call.account.id, now))
