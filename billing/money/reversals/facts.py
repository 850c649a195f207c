"""The facts of a reversal beside its rows."""

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from billing.core.frozen import Frozen
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.refunds.calls import RefundAnswer, SurveyAnswer


class Granted(Frozen):
    """Credits granted for the payment's invoice."""

    grant_key: str
    credits: Decimal
    elsewhere: Decimal
    """The part that was clawed back, or counted as lost, for anything but the reversals in the
    rows: what these take and return moves with them within a decision.
    """


@dataclass(slots=True)
class ReversalFacts(InvoiceFacts):
    """The facts of a reversal beside its rows."""

    answer: RefundAnswer | SurveyAnswer | None = None
    payment_id: UUID = field(kw_only=True)
    granted: tuple[Granted, ...] = ()
