"""The overall billing status of an account [C15]."""

from datetime import datetime

from pydantic import AliasPath, Field

from api.answers import statuses
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
    status: str = Field(description="The state of the account: `active`")
    zone: str
    is_test: bool
    clock_at: datetime | None


class TrialStatus(Answer):
    """The trial of credits."""

    status: str = Field(description=statuses.TRIAL)
    started_at: datetime = Field(description="When the trial began")
    expires_at: datetime = Field(description="When the trial and what is left of its credits end")
    credits_granted: Credits
    credits_remaining: Credits


class SubscriptionStatus(Answer):
    """The open subscription, else the newest that ended."""

    subscription_id: SubscriptionId
    status: str = Field(description=statuses.SUBSCRIPTION)
    plan: str
    plan_name: str
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the plan per period, with its seats, before discounts and tax, in"
        " minor units",
    )
    currency: str
    current_period_start: datetime
    current_period_end: datetime
    trial_end: datetime | None
    cancel_at_period_end: bool
    cancel_at: datetime | None
    next_step: str | None = Field(
        description="What happens to it next by itself, in words; null: nothing is planned"
    )
    next_due_at: datetime | None


class CreditStatus(Answer):
    """The balance of credits; `available` can still be spent."""

    balance: Credits = Field(description="The credits, held ones included")
    held: Credits = Field(description="Credits that are set aside by holds")
    available: Credits = Field(
        description="The credits that can be spent: the balance without what is held"
    )
    debt: Credits = Field(description="Credits that are owed")


class InvoiceStatus(Answer):
    """An open invoice."""

    invoice_id: InvoiceId
    number: str | None = Field(description="The number of the invoice")
    remaining_cents: int = Field(
        validation_alias="remaining_minor",
        description="What is still owed of it, in minor units of `currency`",
    )
    currency: str
    due_at: datetime | None = Field(description="When it is due")


class InvoiceStatuses(Answer):
    """All open invoices, and the newest five of them."""

    open: int = Field(description="How many invoices are open")
    remaining_cents: int = Field(
        validation_alias="remaining_minor",
        description="What is still owed of all of them, in minor units",
    )
    newest: list[InvoiceStatus] = Field(description="The newest five of them")


class PurchaseStatus(Answer):
    """A purchase that is not paid yet."""

    purchase_id: PurchaseId
    pack: str
    credits: Credits = Field(description="The credits that it will bring")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the pack before discounts and tax, in minor units",
    )
    currency: str
    expires_at: datetime = Field(description="Until when it can be paid")


class PurchaseStatuses(Answer):
    """All pending purchases, and the newest five of them."""

    pending: int = Field(description="How many purchases are not paid yet")
    newest: list[PurchaseStatus] = Field(description="The newest five of them")


class DunningStatus(Answer):
    """The oldest open dunning case, else the oldest `exhausted` one whose invoice is still open:
    attempts made and planned, and when the next step is due. `all_paused_at` is when an operator
    paused all of the account's recovery, that to come included; null: not.
    """

    dunning_case_id: DunningCaseId
    invoice_id: InvoiceId
    status: str = Field(description=statuses.CASE)
    attempts_made: int = Field(description="How many of the planned tries have reached a card")
    attempts_planned: int = Field(description="How many tries of a card are planned in all")
    next_step: str | None = Field(
        description="What happens next by itself, in words; null: nothing is planned"
    )
    next_due_at: datetime | None
    opened_at: datetime
    open_cases: int = Field(description="How many cases are open")
    all_paused_at: datetime | None = Field(
        description="When an operator paused all recovery of the account; null: it is not paused"
    )


class OverviewAnswer(Answer):
    """Account, trial, subscription, credits, open invoices, pending purchases, dunning.

    What does not exist is null or zero; `currency` is fixed by the first payment.
    """

    now: datetime = Field(description="The account's present time")
    currency: str | None = Field(
        validation_alias=AliasPath("credits", "currency"),
        description="The currency of the account, ISO 4217; null: no payment has fixed it yet",
    )
    account: AccountStatus | None = Field(
        description="The account; null: there is none of this name"
    )
    trial: TrialStatus | None = Field(description="The trial of credits; null: none was taken")
    subscription: SubscriptionStatus | None = Field(
        description="The open subscription, else the newest that ended; null: there was none"
    )
    credits: CreditStatus = Field(description="The credits")
    invoices: InvoiceStatuses = Field(description="The open invoices")
    purchases: PurchaseStatuses = Field(description="The purchases that are not paid yet")
    dunning: DunningStatus | None = Field(
        description="The recovery of an overdue invoice; null: there is none"
    )


@router.get("/billing", responses=responses())
async def read_overview(call: MemberRead) -> OverviewAnswer:
    """The account's status in one answer; zeros and nulls for an unknown account [A13]."""
    now = real_now()
    if call.account is None:
        return OverviewAnswer.of(Overview(now=now))
    async with call.transaction() as connection:
        return OverviewAnswer.of(await store.overview(connection, call.account.id, now))
