"""Models of redeemed coupons."""

from decimal import Decimal
from typing import ClassVar, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.matters.effects import Row

DiscountStatus = Literal["reserved", "active", "ended", "released"]
IN_FORCE: Final = ("reserved", "active")
"""States of a discount that reduces the next invoice."""


class DiscountTerms(Frozen):
    """A percentage or an amount in minor units, off the `kinds` of lines, or off every line.

    `sold` limits the plans or packs. One redeemed on a running subscription discounts no use of
    cycles that began before `use_since`: the period or the change that it came for does not charge
    them. One that use has used up discounts none of cycles that begin at `use_until` or later.
    """

    code: str
    percent: Decimal | None = None
    amount_minor: int | None = None
    kinds: tuple[str, ...] = ()
    sold: tuple[str, ...] = ()
    use_since: AwareDatetime | None = None
    use_until: AwareDatetime | None = None


class Discount(Row, DiscountTerms):
    """A row of `discounts`. `periods_left` None: for ever.

    `is_counted`: the last period's invoice used it up for that period. `is_used`: invoices since
    then have discounted use by it.
    """

    TABLE: ClassVar[str] = "discounts"

    account_id: UUID
    coupon_id: UUID
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None
    periods_left: int | None = None
    is_counted: bool = False
    is_used: bool = False
    status: DiscountStatus
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
