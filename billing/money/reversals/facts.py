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
    left: Decimal
    """The part that nothing has clawed back or counted as lost yet."""


@dataclass(slots=True)
class ReversalFacts(InvoiceFacts):
    """The facts of a reversal beside its rows."""

    answer: RefundAnswer | SurveyAnswer | None = None
    payment_id: UUID = field(kw_only=True)
    granted: tuple[Granted, ...] = ()
