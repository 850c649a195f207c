"""The life of a discount: reserved, in force, used up, ended or released. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime
from fractions import Fraction
from typing import Final, TypedDict
from uuid import UUID

from billing.core.money import round_exact
from billing.matters.agenda import CLOCK_SKEW
from billing.matters.effects import Do, Facts, Operation, Rows, Work
from billing.money.discounts.schemas import IN_FORCE, Discount


class CountedRedemption(TypedDict):
    """A coupon whose redemptions change by a number."""

    coupon_id: UUID
    by: int


COUNT: Final = Operation[CountedRedemption]("count_redemption")
"""The verb that corrects a coupon's number of redemptions."""


def of_period(rows: Rows, part: Fraction) -> tuple[Discount, ...]:
    """Return the discounts of a period's invoice, which uses them up: first those that are limited
    to plans or packs, then the oldest. The invoice bills a `part` of a whole period.
    """
    known = (one for one in rows.of(Discount) if one.status in IN_FORCE)
    return _in_turn(_for_part(one, part) for one in known)


def _for_part(one: Discount, part: Fraction) -> Discount:
    """Return the discount for a part of a period: an amount that applies forever has its share,
    because otherwise each piece of a cut period would have all of it. An amount for a number of
    periods is taken in full.
    """
    if one.amount_minor is None or one.periods_left is not None:
        return one
    return one.model_copy(update={"amount_minor": round_exact(one.amount_minor * part)})


def beside_period(
    rows: Rows, *, begun: datetime, of_change: bool, until: datetime | None = None
) -> tuple[Discount, ...]:
    """Return the discounts of an invoice beside that of the period that has `begun`: percentages
    that applied as it began, also if the period's invoice has used them up, or if they ended with
    the subscription (`until`).

    A coupon redeemed since then applies from the next period on. One redeemed with a change also
    reduces the invoice `of_change`; until the change is paid it is only reserved, so it reduces no
    other.
    """
    known = (
        one
        for one in rows.of(Discount)
        if (one.status == "reserved" and of_change)
        or (one.created_at <= begun and _applies(one, begun, until))
    )
    return _in_turn(one for one in known if one.percent is not None)


def _applies(one: Discount, begun: datetime, until: datetime | None) -> bool:
    lasted = one.status == "active" or (one.status == "ended" and one.ended_at == until)
    return lasted or _is_used_up_since(one, begun)


def _is_used_up_since(one: Discount, begun: datetime) -> bool:
    """True if its last period is this one; 0.1.0 may have ended it a moment before."""
    ended = one.ended_at
    return one.periods_left == 0 and ended is not None and ended >= begun - CLOCK_SKEW


def _in_turn(found: Iterable[Discount]) -> tuple[Discount, ...]:
    return tuple(sorted(found, key=lambda one: (not one.sold, one.created_at, one.id)))


def use(
    w: Work[Facts],
    codes: Collection[str],
    begun: datetime | None = None,
    of_use: Collection[str] = (),
) -> None:
    """Use up the discounts of an issued invoice: each has one invoice less left.

    Their start is moved back to the billed period's beginning (`begun`) if they were redeemed after
    it: with a change whose preview was older, or before a late renewal. Those `of_use` are off the
    use of the period before, which also uses up what was off use on invoices beside that period,
    unless the invoice of that period did: what only use has used up is off no use of the period
    that has begun.
    """
    for one in w.rows.of(Discount):
        if one.status == "ended":
            continue
        is_of_use = one.code in of_use or one.is_used
        if one.code not in codes and (one.is_counted or not is_of_use):
            if one.is_counted:
                w.change(one, is_counted=False, is_used=False)
            continue
        if one.status == "released":
            # Its payment arrived after the release.
            w.do(Do(COUNT, CountedRedemption(coupon_id=one.coupon_id, by=1)))
        left = None if one.periods_left is None else max(0, one.periods_left - 1)
        over = left == 0
        w.change(
            one,
            created_at=min(one.created_at, begun or one.created_at),
            use_since=one.use_since if one.status == "active" else begun,
            use_until=begun if over and one.code not in codes else None,
            is_counted=one.code in codes,
            is_used=False,
            periods_left=left,
            status="ended" if over else "active",
            ended_at=w.facts.at if over else None,
        )


def give_back_use(w: Work[Facts], codes: Collection[str]) -> None:
    """Give back the period of an invoice that has used up these discounts: it was not served."""
    for one in w.rows.of(Discount):
        if one.code in codes and one.periods_left is not None:
            w.change(
                one,
                is_counted=False,
                use_until=None,
                periods_left=one.periods_left + 1,
                status="active",
                ended_at=None,
            )


def note_use(w: Work[Facts], codes: Collection[str]) -> None:
    """Note the discounts of use on an invoice beside a period: the next period's invoice uses them
    up, also if nothing is left for it to bill.
    """
    for one in w.rows.of(Discount):
        if one.code in codes and one.status == "active" and one.periods_left and not one.is_used:
            w.change(one, is_used=True)


def confirm(w: Work[Facts], use_since: datetime | None = None) -> None:
    """Activate a reserved discount: the payment it waited for came, or none is needed. A coupon of
    a change discounts use only in cycles that begin at `use_since` or later.
    """
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            w.change(one, status="active", use_since=use_since)


def move_start(w: Work[Facts], since: datetime, until: datetime) -> None:
    """Move the start of discounts that wait for a period's end together with that end."""
    for one in w.rows.of(Discount):
        if one.use_since == since:
            w.change(one, use_since=until)


def release(w: Work[Facts]) -> None:
    """Release a reserved discount whose payment never came: somebody else may redeem it."""
    for one in w.rows.of(Discount):
        if one.status == "reserved":
            w.change(one, status="released", ended_at=w.facts.at)
            w.do(Do(COUNT, CountedRedemption(coupon_id=one.coupon_id, by=-1)))


def end(w: Work[Facts]) -> None:
    """End the discounts of a subscription that is over."""
    for one in w.rows.of(Discount):
        if one.status == "active":
            w.change(one, status="ended", ended_at=w.facts.at)
