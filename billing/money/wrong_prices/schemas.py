"""A price that was published by mistake, and what is given back of a line that it charged."""

from typing import Final, Literal
from uuid import UUID

from billing.catalog.plans.schemas import Price
from billing.core.frozen import Frozen
from billing.core.periods import Interval
from billing.matters.schemas import Matter
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
    """The two prices, and the words for those who paid the wrong one."""

    wrong: Price
    right: Price
    reason: str
    to: GivenTo
    """For what is paid: the money balance, or the payer. What is owed falls in any case."""

    def suffix(self, position: int) -> str:
        """The same for every try to give back what was too much on a line: it is once."""
        return f"price-{self.wrong.id.hex}-{position}"

    def refund_id(self, line_id: UUID) -> UUID:
        """And so is the refund of it: an id of the line's age, which is this price's alone."""
        return UUID(int=line_id.int ^ (self.wrong.id.int & _RANDOM))


class Given(Frozen):
    """An invoice with a line at the wrong price."""

    invoice: Invoice
    line_id: UUID
    charged_minor: int
    """The line, with its discount and tax."""
    given_minor: int = 0
    """The part of it that is given back."""
    refund_id: UUID | None = None
    """The refund by which it goes; None: a credit note alone."""
    is_repeated: bool = False
    """True if it was given back before."""
    matter: Matter | None = None
    """To be told after the commit."""
