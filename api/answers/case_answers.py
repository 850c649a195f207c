"""Dunning cases of invoices and their card attempts, as customers and operators see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers import statuses
from api.answers.public_ids import (
    AccountId,
    DunningCaseId,
    InvoiceId,
    PaymentMethodId,
    SubscriptionId,
)
from api.answers.schemas import Answer
from billing.matters.agenda import Step
from billing.money.dunning.schemas import DunningCase
from billing.money.invoice_requests import recovery
from billing.money.payments.rules import CHARGE_REFUSED, PAID_OTHERWISE, PROVIDER_REFUSED
from billing.money.payments.schemas import Attempt

CaseStatus = Literal["open", "paused", "recovered", "exhausted", "forgiven", "canceled"]


class AttemptAnswer(Answer):
    """One attempt; `slot` is null for the extra attempt of a new card or of retry-now."""

    status: str = Field(description=statuses.ATTEMPT)
    slot: int | None = Field(
        description="The number of the planned try, from 0; null: an extra one"
    )
    payment_method_id: PaymentMethodId | None
    decline_code: str | None
    decline_class: str | None
    message: str | None = Field(description="The decline in words; null: none")
    started_at: datetime = Field(description="When the try began")
    finished_at: datetime | None

    @classmethod
    def for_customer(cls, attempt: Attempt) -> Self:
        """Return the attempt without what the provider said of our own account or request, and
        without a class where no bank was asked.
        """
        shown = cls.of(attempt)
        if attempt.decline_code not in (PROVIDER_REFUSED, CHARGE_REFUSED, PAID_OTHERWISE):
            return shown
        return shown.model_copy(update={"decline_class": None, "message": None})


class CaseAnswer(Answer):
    """The dunning case of one invoice; `next_step` and `next_at` say what happens next
    automatically.
    """

    dunning_case_id: DunningCaseId = Field(validation_alias="id")
    account_id: AccountId
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    status: CaseStatus = Field(description=statuses.CASE)
    slot_days: list[int]
    slots_used: int
    final_action: str
    extended_days: int
    next_step: str | None = Field(
        description="What happens next by itself, in words; null: nothing is planned"
    )
    next_at: datetime | None
    opened_at: datetime
    paused_at: datetime | None
    closed_at: datetime | None
    close_reason: str | None = Field(description="Why it was closed; null: nothing was said")

    @classmethod
    async def read(cls, connection: AsyncConnection, case: DunningCase) -> Self:
        """Return the case with its invoice's next step, read in the caller's transaction."""
        (shown,) = await cls.read_all(connection, [case])
        return shown

    @classmethod
    async def read_all(
        cls, connection: AsyncConnection, cases: Sequence[DunningCase]
    ) -> list[Self]:
        """Return each case with its invoice's next step, read in the caller's transaction."""
        steps = await recovery.next_steps(connection, cases)
        return [cls._of(case, steps.get(case.invoice_id)) for case in cases]

    @classmethod
    def _of(cls, case: DunningCase, step: Step | None) -> Self:
        return cls.of(
            case,
            slot_days=case.terms.days,
            slots_used=case.last_slot + 1,
            final_action=case.terms.final_action,
            next_step=step.words if step else None,
            next_at=step.due if step else None,
        )
