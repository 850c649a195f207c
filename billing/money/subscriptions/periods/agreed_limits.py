"""Limits of contracts, which begin and end with the subscription's periods. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypedDict
from uuid import UUID

from billing.catalog.plans.rules import SERVED
from billing.core import periods
from billing.matters.effects import Do, Operation, Watch, Work
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import Subscription


class AlignedLimits(TypedDict):
    """Instants of an account's contracts, each with the start of its period."""

    account_id: UUID
    starts: Sequence[tuple[datetime, datetime]]


ALIGN_LIMITS: Final = Operation[AlignedLimits]("align_limits")
"""The verb that moves limits to the periods in which they begin and end now."""
_BEGUN: Final = (*SERVED, "unpaid", "paused")
"""It has had periods. One that stayed incomplete has moved no limits, and its end may come when
another has.
"""


def align(w: Work[SubscriptionFacts], before: Subscription | None, now: Subscription) -> None:
    """Move the limits of contracts that begin or end later to the ends of periods, if these are now
    counted otherwise than `before`: from another anchor, or for the first time.

    Without periods, after the end, the limits follow the contracts themselves.
    """
    if now.status in SERVED:
        moved = _to_periods(w, before, now)
    elif now.status in ENDED and before is not None and before.status in _BEGUN:
        moved = [(at, max(at, w.facts.at)) for at in _instants(w)]
    else:
        return
    if moved:
        w.do(Do(ALIGN_LIMITS, AlignedLimits(account_id=now.account_id, starts=moved)))
        w.do(Watch(now.account_id, due=w.facts.at))


def _to_periods(
    w: Work[SubscriptionFacts], before: Subscription | None, now: Subscription
) -> list[tuple[datetime, datetime]]:
    """Return instants of contracts whose period begins at another time than `before`, with it."""
    begun = before is None or before.current_period_start != now.current_period_start
    known = before if before is not None and before.status in SERVED else None
    since = (before or now).current_period_start
    return [
        (at, starts)
        for at in _instants(w)
        if at >= since
        and (starts := _period_from(now, at, begun=begun))
        != (known and _period_from(known, at, begun=False))
    ]


def _instants(w: Work[SubscriptionFacts]) -> list[datetime]:
    """Return when contracts with limits begin and end."""
    known = [one for one in w.facts.contracts if one.terms.limits]
    ends = (one.effective_to for one in known if one.effective_to is not None)
    return sorted({*(one.effective_from for one in known), *ends})


def _period_from(s: Subscription, at: datetime, *, begun: bool) -> datetime:
    """Return the start of the first period at or after an instant, but not before the current one.

    Only a period that has just `begun` is known to be sold after what was agreed at its start.
    """
    start, end = s.current_period_start, s.current_period_end
    if at < start or (at == start and begun):
        return start
    return end if at <= end else periods.first_from(s.anchor_wall, s.zone, s.interval, at)
