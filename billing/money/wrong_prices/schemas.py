"""Models of a price published by mistake, and of the overcharge credited on a line."""

from typing import Final, Literal
from uuid import UUID

from billing.catalog.plans.schemas import Price
from billing.core.frozen import Frozen
from billing.core.periods import Interval
from billing.matters.schemas import Matter
from billing.money.invoices import price_corrections
from billing.money.invoices.schemas import Invoice

GivenTo = Literal["balance", "payer"]
_RANDOM: Final = (1 << 62) - 1
"""The last bits of a UUIDv7."""


class Named(Frozen):
    """Two versions of one price of a plan: the wrong one, and the right one."""

    plan: str
    interval: Interval
    currency: str
    wrong_version: int
    right_version: int


class Mistake(Frozen):
    """The two prices, and the reason shown to those who paid the wrong one."""

    wrong: Price
    right: Price
    reason: str
    to: GivenTo
    """Receiver of paid money: the money balance, or the payer. An owed amount falls in any case."""

    def suffix(self, position: int) -> str:
        """Return the key suffix of a line's correction, equal for every try."""
        return price_corrections.suffix(self.wrong.id, position)

    def refund_id(self, line_id: UUID) -> UUID:
        """Return the id of the refund, equal for every try: it has the line's age and is this
        price's alone.
        """
        return UUID(int=line_id.int ^ (self.wrong.id.int & _RANDOM))

    def rest_id(self, line_id: UUID) -> UUID:
        """Return the id of what is put on the money balance beside the refund, as lasting."""
        return UUID(int=self.refund_id(line_id).int ^ 1)


class Given(Frozen):
    """An invoice with a line at the wrong price."""

    invoice: Invoice
    charged_minor: int
    """The line's total, with discount and tax."""
    given_minor: int = 0
    """The part of it that is credited or refunded."""
    refund_id: UUID | None = None
    """The refund; None: a credit note alone."""
    is_repeated: bool = False
    """True if it was credited or refunded before."""
    matter: Matter | None = None
    """The matter to notify after the commit."""
