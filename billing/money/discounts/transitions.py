"""The life of a discount: reserved, in force, used up, ended or given back. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from billing.matters.effects import Do, Rows, Work
from billing.money.discounts.schemas import IN_FORCE, Discount

COUNT: Final = "count_redemption"
"""The verb that counts a redemption that was given back, or came back."""


def of_period(rows: Rows, sold: str) -> tuple[Discount, ...]:
    """The discounts of a period's invoice of what is `sold`, the oldest first; it uses them up."""
    return _in_turn((one for one in rows.of(Discount) if one.status in IN_FORCE), sold)


def beside_period(
    rows: Rows, sold: str, *, begun: datetime, of_change: bool
) -> tuple[Discount, ...]:
    """The discounts of an invoice beside that of a period that has `begun`: its percentages, also
    one that its own invoice has used up.

    One that was redeemed since is good from the next period on, and for the change it came with.
    While that waits for its money the coupon is only reserved, and may yet be given back: it is off
    the invoice `of_change`, and of no other.
    """
    known = (
        one
        for one in rows.of(Discount)
        if (one.status == "reserved" and of_change)
        or (one.status == "active" and one.created_at <= begun)
        or _is_used_up_since(one, begun)
    )
    return _in_turn((one for one in known if one.percent is not None), sold)


def _is_used_up_since(one: Discount, begun: datetime) -> bool:
    return one.periods_left == 0 and one.ended_at is not None and one.ended_at >= begun


def _in_turn(found: Iterable[Discount], sold: str) -> tuple[Discount, ...]:
    mine = (one for one in found if not one.sold or sold in one.sold)
    return tuple(sorted(mine, key=lambda one: (one.created_at, one.id)))


def use(w: Work[Any], codes: Collection[str], begun: datetime | None = None) -> None:
    """An invoice with these discounts is issued: each is good for one invoice less.

    The period that it bills has `begun` with them, also where they were redeemed after that: with
    a change whose preview was older, or before a renewal that was late.
    """
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
            created_at=min(one.created_at, begun or one.created_at),
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
