"""Check a use against every limit, with or without counting it at once."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Self
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.schemas import BY_CARD, BY_PLAN, CREDIT
from billing.core import clock, ids, periods
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import NotFound
from billing.core.money import ZERO
from billing.ledger.credits import service as credits
from billing.metering.budgets import rules as budget_rules
from billing.metering.budgets import service as budgets
from billing.metering.quotas import bounds, claim_repeats, rules, store
from billing.metering.quotas.schemas import (
    Asked,
    Bound,
    Decision,
    Moment,
    NewQuota,
    Quota,
    QuotaClaim,
)
from billing.metering.usage import access, quoting
from billing.metering.usage import rules as usage_rules
from billing.metering.usage import store as usage_store
from billing.metering.usage.schemas import Counter, Period
from billing.platform.accounts import store as accounts
from billing.platform.audit import service as audit


class _Place(NamedTuple):
    """A use's instant, and the open or past period that counts it."""

    account_id: UUID
    now: datetime
    at: datetime
    period: Period | None
    start: datetime
    """That of the period, else of the month; of a past month without a period, `at`."""
    end: datetime
    zone: str
    is_late: bool = False
    """True before the open period: access, claims and budgets concern later uses."""

    @classmethod
    def later(cls, account_id: UUID, at: datetime, period: Period) -> Self:
        """Return the place of a use that is not now, but at a coming instant."""
        return cls(account_id, at, at, period, period.start_at, period.end_at, period.zone)

    def is_blocked(self, meter: str) -> bool:
        """True if the plan blocks a use now beyond what it includes of this meter."""
        limit = self.period.limits.get(meter) if self.period else None
        return limit is not None and limit.is_hard and not self.is_late


class _Decided(NamedTuple):
    """The decision on a use in one place, the limits there, and what is counted there."""

    decision: Decision
    limits: list[Bound]
    counter: Counter | None


async def check(
    connection: AsyncConnection, account_id: UUID, asked: Asked, used_at: datetime | None = None,
    *, is_claimed: bool = False,
) -> Decision:  # fmt: skip
    """Compare a use with the limits at `used_at` (None: now); reserves nothing [H1].

    One that `is_claimed` already needs no price and no access. Errors: METER_NOT_FOUND;
    PRODUCT_PRICING_NOT_FOUND for an unknown product, or if credits are to pay what only plans do;
    USAGE_TOO_LARGE; NO_ENTITLEMENT if only a plan would pay, and none gives access.
    """
    place = await _place(connection, account_id, used_at)
    meter, counts = await usage_store.meter_of(
        connection, asked.product_id, asked.service_type, asked.feature_type, asked.amount,
        asked.operation, None if is_claimed else place.at,
    )  # fmt: skip
    if not place.is_late and not is_claimed:
        await _demand_plan(connection, place, meter, asked)
    ((decision, limits, counter),) = await _decide(connection, [place], meter, counts, asked)
    broken = None
    if not place.is_late:
        if not is_claimed and asked.is_by_credits:
            await _demand_included(connection, place, decision, asked)
        anew = usage_rules.rise(asked.amount, counts, None)
        broken = await _broken_budget(connection, place, asked, decision, counter, anew)
    # A use at a fixed time stays in its window: waiting frees nothing for it.
    if not decision.allowed and not used_at:
        since = broken[1] if broken else None
        at = await _passes_at(connection, place, decision, limits, counts, asked, since)
        decision = decision.model_copy(update={"passes_at": at})
    return rules.over_budget(decision, *broken) if broken else decision


async def _decide(
    connection: AsyncConnection, places: Sequence[_Place], meter: str, counts: str, asked: Asked
) -> list[_Decided]:
    """Compare a use with the limits of each place: the quotas of its owners, then the plan's."""
    account_id, starts = places[0].account_id, [one.start for one in places]
    moments = [Moment(one.zone, one.start, one.at, one.now) for one in places]
    counters = await usage_store.counters_at(connection, account_id, meter, starts)
    standing = await store.standing(connection, account_id, moments, _owners(asked), meter)
    blocked = {one.at for one in places if asked.is_by_plan and one.is_blocked(meter)}
    claimed = await store.reserved(connection, account_id, meter, blocked) if blocked else {}
    found = []
    for place, quotas in zip(places, standing, strict=True):
        counter = counters.get(place.start)
        limits = [bounds.of_quota(one, place.zone, place.end, place.at) for one in quotas]
        if place.period is not None and meter in place.period.limits and asked.is_by_plan:
            aside = claimed.get(place.at, ZERO)
            limits.append(bounds.of_plan(place.period, meter, counter, {meter: aside}))
        amount = usage_rules.rise(asked.amount, counts, counter)
        used = counter.quantity if counter else ZERO
        decision = rules.decide(meter, amount, limits, used)
        found.append(_Decided(decision, limits, counter))
    return found


async def _place(
    connection: AsyncConnection, account_id: UUID, used_at: datetime | None = None
) -> _Place:
    """Find the period that counts a use at an instant (None: now)."""
    account = await accounts.get(connection, account_id)
    now, is_late = clock.now_by(account.clock_at), False
    period = await usage_store.open_period(connection, account_id, now)
    start = period.start_at if period else periods.month_of(now, account.zone)[0]
    if used_at is not None and used_at < start:
        is_late = True
        period = await usage_store.past_period(connection, account_id, used_at)
        start = period.start_at if period else used_at
    at = used_at or now
    zone = period.zone if period else account.zone
    end = period.end_at if period else periods.month_of(at, zone)[1]
    return _Place(account_id, now, at, period, start, end, zone, is_late)


async def _passes_at(
    connection: AsyncConnection,
    place: _Place,
    refused: Decision,
    limits: list[Bound],
    counts: str,
    asked: Asked,
    since: datetime | None,
) -> datetime | None:
    """Return the first known instant at which a use that is refused now would pass; None: never.

    Before `since`, if given, a budget refuses it.
    """
    instants, ends = {since} if since is not None else set(), set[datetime]()
    for bound in limits:
        if bound.is_hard and bound.remaining < refused.requested:
            freed = await store.releases(
                connection, place.account_id, bound.quota_id, refused.meter, place.now
            )
            at = rules.freed_at(bound, refused.requested, freed)
            instants |= {at} if at else set()
            if bound.source == "plan":
                # A claim may outlast the window, and counts on a plan until it ends.
                ends = {rules.next_second(one.at) for one in freed}
    is_by_plan = asked.is_by_plan and refused.meter in (place.period.limits if place.period else ())
    coming = await usage_store.coming(
        connection, place.account_id, refused.meter, place.now, instants, ends
    )
    is_lost = any(one.period.no_entitlement for one in coming)
    demanded = is_lost and await _only_plans_pay(connection, refused.meter, asked, place.at)
    places = [
        _Place.later(place.account_id, one.at, one.period)
        for one in coming
        if (since is None or one.at >= since)
        and (one.is_known or not is_by_plan)
        and not (demanded and one.period.no_entitlement)
    ]
    found = await _decide(connection, places, refused.meter, counts, asked) if places else []
    passing = (later.at for later, one in zip(places, found, strict=True) if one.decision.allowed)
    return next(passing, None)


def _owners(asked: Asked) -> list[str]:
    """Return the owners whose quotas apply to a use."""
    owners = [""]
    owners += [usage_rules.user(asked.user_id)] if asked.user_id else []
    return owners + (
        [usage_rules.organization(asked.organization_id)] if asked.organization_id else []
    )


async def claim(
    database: Database, account_id: UUID, asked: Asked, event_id: str, record_id: UUID
) -> Decision:
    """Count a use beforehand if every limit allows it; recording its event closes the claim.

    For a level only the rise counts, as in recording. Repeatable by its event: a repeat returns the
    first answer, even in a later window. Without a record the claim is released after ten minutes.
    `record_id` is the id that the event's record will have. Errors: those of `check`;
    IDEMPOTENCY_KEY_REUSED for another use.
    """
    async with database.tenant(account_id) as connection:
        known = await store.known_uses(connection, record_id, real_now())
        before = await check(connection, account_id, asked, is_claimed=bool(known))
        wish = QuotaClaim(
            record_id=record_id,
            event_id=event_id,
            user_id=asked.user_id,
            organization_id=asked.organization_id,
            meter=before.meter,
            amount=before.requested,
            at=real_now(),
        )
        await claim_repeats.demand_same(connection, account_id, wish, asked, known)
    if not before.requested or (before.refused_by == "budget" and not known):
        return before  # a level that was reached already has nothing to count
    if before.allowed and not known and await _claimed_fast(database, account_id, wish):
        return before
    async with database.tenant(account_id) as connection:
        allowed = await store.claim(connection, account_id, wish)
        if allowed and not known:  # its own claim is known now, or one that came in between
            known = await store.known_uses(connection, record_id, wish.at)
            await claim_repeats.demand_same(connection, account_id, wish, asked, known)
    if allowed == before.allowed:
        return before
    # Another claim came in between, or this event was already claimed.
    found = {"reason": None, "refused_by": None, "budget_id": None} if allowed else {
        "reason": rules.REFUSED, "refused_by": "quota",
    }  # fmt: skip
    return before.model_copy(update={"allowed": allowed, "access": None, **found})


async def expire(connection: AsyncConnection, account_id: UUID) -> None:
    """Release the expired claims of an account that has used nothing since to release them."""
    await store.expire(connection, account_id, await credits.now_locked(connection, account_id))


async def put(connection: AsyncConnection, account_id: UUID, wanted: NewQuota) -> Quota:
    """Set a quota; it starts with the window's earlier use. Takes the account's lock.

    Updates the one of the same owner, meter and kind of window. Errors: METER_NOT_FOUND,
    INVALID_QUOTA.
    """
    meter, counts = await usage_store.meter_of(
        connection, None, wanted.service_type, wanted.feature_type
    )
    at = await clock.now(connection, account_id)
    quota = await store.put(
        connection,
        account_id,
        owner=wanted.owner,
        meter=meter,
        window=rules.window_for(meter, counts, wanted.owner, wanted.window),
        span_seconds=wanted.span_seconds,
        limit=wanted.limit,
        hard=wanted.hard,
        percents=sorted(set(wanted.alert_percents)),
        at=at,
    )
    await _note(connection, quota, "quota.set", at)
    return quota


async def remove(connection: AsyncConnection, quota_id: UUID) -> Quota:
    """Remove a quota that was set; return it as it was. Takes the account's lock.

    Errors: QUOTA_NOT_FOUND.
    """
    if known := await store.find(connection, quota_id):
        await credits.lock(connection, known.account_id)
        if gone := await store.find(connection, quota_id):
            at = await clock.now(connection, gone.account_id)
            await store.remove(connection, gone, at)
            await _note(connection, gone, "quota.removed", at)
            return gone
    raise NotFound("QUOTA_NOT_FOUND")


async def standing(
    connection: AsyncConnection,
    account_id: UUID,
    owners: Collection[str],
    period: Period | None,
    at: datetime,
) -> list[Quota]:
    """Return these owners' quotas with their use at the account's time, to show limits."""
    zone = period.zone if period else (await accounts.get(connection, account_id)).zone
    start = period.start_at if period else periods.month_of(at, zone)[0]
    (found,) = await store.standing(connection, account_id, [Moment(zone, start, at, at)], owners)
    return found


async def _note(connection: AsyncConnection, quota: Quota, action: str, at: datetime) -> None:
    await audit.record(
        connection,
        account_id=quota.account_id,
        action=action,
        subject=ids.encode(ids.QUOTA, quota.id),
        at=at,
        meter=quota.meter,
        owner=quota.owner,
        window=quota.window_kind,
        span_seconds=quota.span_seconds,
        limit=str(quota.limit_amount),
        hard=quota.is_hard,
    )


async def _claimed_fast(database: Database, account_id: UUID, wish: QuotaClaim) -> bool:
    """Try the fast path; True if the claim was counted and stored."""
    try:
        async with database.tenant(account_id) as connection:
            return await store.claim_fast(connection, account_id, wish)
    except IntegrityError:  # the same event, claimed or recorded at the same time
        return False


async def _demand_plan(
    connection: AsyncConnection, place: _Place, meter: str, asked: Asked
) -> None:
    """Refuse a use that only a plan would pay if none gives access. Errors: NO_ENTITLEMENT."""
    period = place.period
    if period is None or period.no_entitlement is None:
        return
    if await _only_plans_pay(connection, meter, asked, place.at):
        access.demand(period, meter)


async def _demand_included(
    connection: AsyncConnection, place: _Place, decision: Decision, asked: Asked
) -> None:
    """Refuse a use that credits are to pay if only a plan would, and does not include it. Errors:
    PRODUCT_PRICING_NOT_FOUND.
    """
    meter, units = decision.meter, decision.requested
    if await _only_plans_pay(connection, meter, asked, place.at):
        await quoting.demand_included(connection, place.account_id, meter, units, place.at)


async def _only_plans_pay(
    connection: AsyncConnection, meter: str, asked: Asked, at: datetime
) -> bool:
    """True if only a plan would pay the use at an instant."""
    if asked.billing_method == BY_PLAN:
        return True
    if asked.product_id is not None:
        return False
    if await usage_store.operation_cost(connection, asked.operation, at) is not None:
        return False
    return await usage_store.only_plans_pay(connection, meter)


async def _broken_budget(
    connection: AsyncConnection,
    place: _Place,
    asked: Asked,
    decision: Decision,
    counter: Counter | None,
    anew: Decimal,
) -> tuple[Bound, datetime | None] | None:
    """Return the blocking budget that the use would exceed, paid as it is asked for, and
    when the same use passes all budgets (None: never).
    """
    account_id, period, at = place.account_id, place.period, place.at
    known = await budgets.blocking(connection, account_id)
    if not known:
        return None
    total, currency = ZERO, CREDIT
    limit = period.limits.get(decision.meter) if period else None
    if period is not None and limit is not None and asked.is_by_plan:
        currency = period.currency or ""
        total = usage_rules.beyond(limit, counter, decision.requested, currency)
    elif asked.product_id is not None and asked.billing_method != BY_CARD:
        quoted = await quoting.quote(connection, account_id, asked.product_id, asked.amount, at)
        total = quoted.total
    elif asked.billing_method != BY_CARD:
        total = await quoting.operation_total(
            connection, account_id, asked.operation, decision.meter, decision.requested, at
        )
    units = decision.requested, anew
    found = budget_rules.broken(known, decision.meter, units, total, currency)
    if found is None:
        return None
    budget = found.budget
    bound = Bound(
        source="budget",
        limit=budget.limit_amount,
        used=budget.used,
        is_hard=True,
        resets_at=budget.window_end,
        budget_id=budget.id,
    )
    return bound, found.passes_at
