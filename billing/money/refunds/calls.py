"""The calls that give money back or look what was given back, and their answers. Pure."""

from dataclasses import dataclass
from datetime import datetime

from billing.money.payments.schemas import Payment
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.refunds.schemas import Refund


@dataclass(frozen=True, slots=True)
class RefundCall:
    """Make this refund; its row is committed before."""

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


@dataclass(frozen=True, slots=True)
class SurveyCall:
    """Look at all that was taken back of this payment."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class SurveyAnswer:
    """All that was taken back of a payment, by us or anybody, as the provider says."""

    call: SurveyCall
    taken: Taken
    asked_at: datetime
