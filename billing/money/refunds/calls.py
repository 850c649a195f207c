"""The call that gives money back, and its answer. Pure."""

from dataclasses import dataclass
from datetime import datetime

from billing.money.payments.schemas import Payment
from billing.money.refunds.rules import RefundOutcome
from billing.money.refunds.schemas import Refund


@dataclass(frozen=True, slots=True)
class RefundCall:
    """Make this refund, or say where it stands; its row is committed before."""

    payment: Payment
    refund: Refund
    again: bool = False
    """It was asked for before: the provider may have it."""


@dataclass(frozen=True, slots=True)
class RefundAnswer:
    """The provider's word on a refund."""

    call: RefundCall
    outcome: RefundOutcome | None
    asked_at: datetime
    refusal: str | None = None
    """The provider's reason not to make it."""
