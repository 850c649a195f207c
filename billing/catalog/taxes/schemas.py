"""A tax rate as it stands on an invoice's line."""

from decimal import Decimal
from typing import Literal

from billing.core.frozen import Frozen

WhyNone = Literal["reverse_charge", "exempt"]


class TaxRate(Frozen):
    """A rate in percent that a jurisdiction asks of a category of goods.

    `inclusive`: the price holds it already. `reason` says why a rate is zero.
    """

    jurisdiction: str
    category: str
    name: str
    rate: Decimal
    inclusive: bool = False
    reason: WhyNone | None = None
