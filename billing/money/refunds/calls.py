"""Provider calls that refund money or list refunds and disputes, and their answers. Pure."""

from dataclasses import dataclass
from datetime import datetime

from billing.money.payments.schemas import Payment
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.refunds.schemas import Refund


@dataclass(frozen=True, slots=True)
class RefundCall:
    """Make this refund; its row is committed first."""

    payment: Payment
    refund: Refund
    again: bool = False
    """It was requested before: the provider may have it."""


@dataclass(frozen=True, slots=True)
class RefundAnswer:
    """The provider's answer to a refund."""

    call: RefundCall
    outcome: RefundOutcome | None
    asked_at: datetime
    refusal: str | None = None
    """The provider's reason not to make it."""


@dataclass(frozen=True, slots=True)
class SurveyCall:
    """List all refunds and disputes of this payment."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class SurveyAnswer:
    """All refunds and disputes of a payment, whoever made them, as the provider reports."""

    call: SurveyCall
    taken: Taken
    asked_at: datetime
