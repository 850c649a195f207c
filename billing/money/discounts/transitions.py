"""The life of a discount: reserved, in force, used up, ended or given back. Pure."""

from collections.abc import Collection
from typing import Any, Final

from billing.matters.effects import Do, Rows, Work
from billing.money.discounts.schemas import IN_FORCE, Discount, DiscountTerms

COUNT: Final = "count_redemption"
"""The verb that counts a redemption that was given back, or came back."""


def terms(rows: Rows, sold: str, *, of_period: bool) -> tuple[DiscountTerms, ...]:
    """The discounts of an invoice of what is `sold`, the oldest first.

    Only a period's invoice uses a discount up; one beside it has the percentages.
    """
    found = (one for one in rows.of(Discount) if one.status in IN_FORCE)
    mine = (one for one in found if not one.sold or sold in one.sold)
    here = (one for one in mine if of_period or one.percent is not None)
    return tuple(sorted(here, key=lambda one: (one.created_at, one.id)))


def use(w: Work[Any], codes: Collection[str]) -> None:
    """An invoice with these discounts is issued: each is good for one invoice less."""
    for one in w.rows.of(Discount):
        if one.code not in codes or one.status == "ended":
            continue
        if one.status == "released":
            # Its payment came after all.
            w.do(Do(COUNT, {"coupon_id": one.coupon_id, "by": 1}))
        left = None if one.periods_left is None else max(0, one.periods_left - 1)
        over = left == 0
        w.change(
            one,
            periods_left=left,
            status="ended" if over else "active",
            ended_at=w.facts.at if over else None,
        )


def confirm(w: Work[Any]) -> None:
    """The first payment came, on an invoice that it took nothing off."""
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            w.change(one, status="active")


def release(w: Work[Any]) -> None:
    """The payment that it was reserved for never came: somebody else may redeem it."""
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            w.change(one, status="released", ended_at=w.facts.at)
            w.do(Do(COUNT, {"coupon_id": one.coupon_id, "by": -1}))


def end(w: Work[Any]) -> None:
    """The subscription that it was taken off is over."""
    for one in w.rows.of(Discount):
        if one.status == "active":
            w.change(one, status="ended", ended_at=w.facts.at)
