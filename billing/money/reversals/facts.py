"""The facts of a reversal beside its rows."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from billing.core.frozen import Frozen
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.refunds.calls import RefundAnswer, SurveyAnswer

WENT_BACK: Final = "its payment went back"
"""The reason of a subscription's end."""


class Granted(Frozen):
    """Credits granted for the payment's invoice."""

    grant_key: str
    credits: Decimal


@dataclass(slots=True)
class ReversalFacts(InvoiceFacts):
    """The facts of a reversal beside its rows."""

    answer: RefundAnswer | SurveyAnswer | None = None
    payment_id: UUID = field(kw_only=True)
    granted: tuple[Granted, ...] = ()
    ended_at: datetime | None = None
    """The instant at which money that went back ended the subscription that the payment's invoice
    charged; None: nothing has.
    """
    clock_at: datetime | None = None
    """The account's frozen test clock."""
