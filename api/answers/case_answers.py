"""Dunning cases of invoices and their card attempts, as customers and operators see them."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.public_ids import (
    AccountId,
    DunningCaseId,
    InvoiceId,
    PaymentMethodId,
    SubscriptionId,
)
from api.answers.schemas import Answer
from billing.money.dunning.schemas import DunningCase
from billing.money.invoice_requests import recovery

CaseStatus = Literal["open", "paused", "recovered", "exhausted", "forgiven", "canceled"]


class AttemptAnswer(Answer):
    """One attempt; `slot` is null for the extra attempt of a new card or of retry-now."""

    status: str
    slot: int | None
    payment_method_id: PaymentMethodId | None
    decline_code: str | None
    decline_class: str | None
    message: str | None
    started_at: datetime
    finished_at: datetime | None


class CaseAnswer(Answer):
    """The dunning case of one invoice; `next_step` and `next_at` say what happens next
    automatically.
    """

    dunning_case_id: DunningCaseId = Field(validation_alias="id")
    account_id: AccountId
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    status: CaseStatus
    slot_days: list[int]
    slots_used: int
    final_action: str
    extended_days: int
    next_step: str | None
    next_at: datetime | None
    opened_at: datetime
    paused_at: datetime | None
    closed_at: datetime | None
    close_reason: str | None

    @classmethod
    async def read(cls, connection: AsyncConnection, case: DunningCase) -> Self:
        """Return the case with its invoice's next step, read in the caller's transaction."""
        plan = await recovery.next_step(connection, case)
        return cls.of(
            case,
            slot_days=case.terms.days,
            slots_used=case.last_slot + 1,
            final_action=case.terms.final_action,
            next_step=plan.words if plan else None,
            next_at=plan.due if plan else None,
        )
