"""Usage read back: against the plan and quotas from counters, and use by use [G8-G10, H5]."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from fastapi import Query

from api.dependencies import Fresh, MemberCall, MemberRead
from api.members import only_user, visible
from api.pagination import Page, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.routes.billing_records import KEYS, RecordAnswer, show
from api.schemas import Answer, Credits, Instant
from billing.catalog import store as catalog
from billing.core import clock
from billing.core.money import ZERO
from billing.quotas import service as quotas
from billing.quotas.schemas import Bound
from billing.usage import rules, store
from billing.usage.schemas import Counter, Period

router = new_router("usage")

# The console's figures are there even before anything was used [G9].
ALWAYS: Final = ("impressions", "api_calls", "data_transfer_gb")
OneWord = Annotated[str | None, Query(max_length=255)]


class MeterAnswer(Answer):
    """What was used of one meter in the open cycle, against the plan."""

    quantity: Credits
    events: int
    maximum: Credits
    last_value: Credits
    included: Credits | None
    remaining: Credits | None
    then: str | None
    overage: Credits
    overage_cost: Credits
    credits: Credits


class OveragesAnswer(Answer):
    """What is used beyond the plan and charged with the next invoice, so far."""

    total_overage_cost: Credits
    currency: str | None
    by_meter: dict[str, Credits]


class UsageAnswer(Answer):
    """The open allowance cycle: sums by meter, and each meter against the plan [G8, G9]."""

    current_period: dict[str, Credits]
    meters: dict[str, MeterAnswer]
    overages: OveragesAnswer
    plan: str | None
    period_start: datetime | None
    period_end: datetime | None
    as_of: datetime


class LimitAnswer(Answer):
    """One limit with what counts against it [H5]."""

    source: Literal["plan", "quota"]
    meter: str
    owner: Literal["account", "user", "organization"]
    owner_id: str | None
    window: str
    limit: Credits
    used: Credits
    remaining: Credits
    hard: bool
    resets_at: datetime | None


@router.get("/usage/current", responses=responses())
async def read_current_usage(call: MemberRead, fresh: Fresh = False) -> UsageAnswer:
    """Usage of the open cycle against the plan's limits; zeros for an unknown account [A13].

    Counters are kept with each record, so the answer is complete up to `as_of`.
    """
    if call.account is None:
        return _usage(None, {}, None, clock.real_now())
    async with call.reading(fresh=fresh) as connection:
        at = await clock.now(connection, call.account.id)
        behind = await call.database.lag(connection)
        period = await store.open_period(connection, call.account.id, at)
        counters: dict[str, Counter] = {}
        plan = None
        if period is not None:
            counters = await store.cycle_counters(connection, call.account.id, "", period.start_at)
            plan = (await catalog.entitlements(connection, call.account.id)).plan
    return _usage(period, counters, plan, at - behind)


@router.get("/usage/limits", responses=responses("MERCHANT_NOT_FOUND"))
async def list_usage_limits(call: MemberCall, fresh: Fresh = False) -> list[LimitAnswer]:
    """The plan's limits and the account's quotas, each with what counts against it [H5, B16].

    A member sees no quotas of other users.
    """
    async with call.reading(fresh=fresh) as connection:
        period, known, at = await quotas.standing(connection, call.account.id)
        found = (
            await store.cycle_counters(connection, call.account.id, "", period.start_at)
            if period
            else {}
        )
    answers = []
    for meter, limit in sorted(period.limits.items()) if period else ():
        used = found[meter].quantity if meter in found else ZERO
        bound = Bound(
            source="plan", limit=Decimal(limit["included"]), used=used,
            is_hard=limit["then"] == "block", resets_at=period.end_at if period else None,
        )  # fmt: skip
        answers.append(_limit(bound, meter, "", "cycle"))
    only = only_user(call)
    for quota in known:
        if only is not None and quota.owner.startswith("u:") and quota.owner != rules.user(only):
            continue
        zone = period.zone if period else "UTC"
        bound = quotas.bound_of(quota, zone, period.end_at if period else at)
        answers.append(_limit(bound, quota.meter, quota.owner, quota.window_kind))
    return answers


@router.get("/usage/logs", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR", "NOT_FOUND"))
async def list_usage_logs(
    call: MemberCall,
    paging: Paging,
    operation: OneWord = None,
    model: OneWord = None,
    service_type: OneWord = None,
    user_id: OneWord = None,
    start: Annotated[Instant | None, Query()] = None,
    end: Annotated[Instant | None, Query()] = None,
    fresh: Fresh = False,
) -> Page[RecordAnswer]:
    """Single uses, newest first [G10]; a member sees its own, and others are missing [A14]."""
    query = store.records(
        call.account.id, operation=operation, model=model, service_type=service_type,
        user_id=visible(user_id, call), kind="usage",
    )  # fmt: skip
    async with call.reading(fresh=fresh) as connection:
        return await paginate(connection, store.between(query, start, end), KEYS, paging, show)


def _usage(
    period: Period | None, counters: dict[str, Counter], plan: str | None, at: datetime
) -> UsageAnswer:
    limits = period.limits if period else {}
    meters = {
        meter: _meter(counters.get(meter), limits.get(meter))
        for meter in sorted({*counters, *limits})
    }
    over = {meter: one.overage_cost for meter, one in meters.items() if one.overage_cost}
    return UsageAnswer(
        current_period=dict.fromkeys(ALWAYS, ZERO)
        | {meter: one.quantity for meter, one in meters.items()},
        meters=meters,
        overages=OveragesAnswer(
            total_overage_cost=sum(over.values(), ZERO),
            currency=period.currency if period else None,
            by_meter=over,
        ),
        plan=plan,
        period_start=period.start_at if period else None,
        period_end=period.end_at if period else None,
        as_of=at.astimezone(UTC),
    )


def _meter(counter: Counter | None, limit: dict[str, str] | None) -> MeterAnswer:
    used = counter.quantity if counter else ZERO
    included = Decimal(limit["included"]) if limit else None
    return MeterAnswer(
        quantity=used,
        events=counter.events if counter else 0,
        maximum=counter.maximum if counter else ZERO,
        last_value=counter.last_value if counter else ZERO,
        included=included,
        remaining=max(ZERO, included - used) if included is not None else None,
        then=limit["then"] if limit else None,
        overage=counter.overage if counter else ZERO,
        overage_cost=counter.overage_total if counter else ZERO,
        credits=counter.credits if counter else ZERO,
    )


def _limit(bound: Bound, meter: str, owner: str, window: str) -> LimitAnswer:
    kind, _, name = owner.partition(":")
    return LimitAnswer(
        source="plan" if bound.source == "plan" else "quota",
        meter=meter,
        owner="user" if kind == "u" else "organization" if kind == "o" else "account",
        owner_id=name or None,
        window=window,
        limit=bound.limit,
        used=bound.used,
        remaining=bound.remaining,
        hard=bound.is_hard,
        resets_at=bound.resets_at,
    )
