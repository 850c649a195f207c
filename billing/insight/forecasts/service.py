"""Forecast of an account's open cycle, from its counters and its captures of holds.

The forecast writes nothing, so it can run on a replica.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products import store as products
from billing.catalog.products.schemas import LEVELS
from billing.catalog.rating.schemas import FREE
from billing.core import periods
from billing.core.clock import now_by
from billing.core.money import ZERO
from billing.insight.forecasts import rules
from billing.insight.forecasts.schemas import Ahead, CycleForecast, Day, Forecast
from billing.metering.usage import logs, store, sums
from billing.metering.usage import rules as usage_rules
from billing.metering.usage.schemas import Counter, Period
from billing.money.invoices import usage_lines
from billing.platform.accounts import store as accounts

_NOTHING: Final = Forecast(ZERO, ZERO, ZERO, ZERO)
Series = dict[date, Decimal]


@dataclass(frozen=True, slots=True)
class _Lately:
    """Recent usage of each meter by day, and the credits spent on each day, by captures too."""

    meters: dict[str, Series]
    credits: Series
    first: date | None
    today: date
    ahead: list[Ahead]

    def expect(self, used: Decimal, series: Series) -> Forecast:
        return rules.forecast(used, self.days(series), self.ahead)

    def days(self, series: Series) -> list[Day]:
        return rules.whole_days(self.first or self.today, self.today, series)

    def daily_credits(self) -> Decimal | None:
        days = self.days(self.credits)
        return rules.mean(days) if days or self.first is None else None


async def outlook(connection: AsyncConnection, account_id: UUID) -> CycleForecast:
    """Forecast to the end of the open cycle, or of the month without a subscription [Q6].

    Money is the cost of usage beyond the plan on the next invoice.
    """
    account = await accounts.find_by_id(connection, account_id)
    at = now_by(account.clock_at if account else None)
    period = await store.open_period(connection, account_id, at)
    zone = period.zone if period else account.zone if account else "UTC"
    start, end = (period.start_at, period.end_at) if period else periods.month_of(at, zone)
    counters = await store.cycle_counters(connection, account_id, start)
    lately = await _lately(connection, account_id, at, end, zone)
    kinds = {meter.key: meter.kind for meter in await products.all_meters(connection)}
    limits = period.limits if period else {}
    meters = {}
    for key in sorted({*counters, *lately.meters, *limits}):
        used = counters[key].quantity if key in counters else ZERO
        series = lately.meters.get(key, {})
        level = kinds.get(key) in LEVELS
        meters[key] = rules.level(used) if level else lately.expect(used, series)
    billed = await usage_lines.billed_of_cycle(connection, account_id, start)
    _, captured = await logs.captured(connection, account_id, start, end)
    spent = sum((counter.credits for counter in counters.values()), captured)
    return CycleForecast(
        start_at=start,
        end_at=end,
        at=at,
        history_days=len(lately.days({})),
        meters=meters,
        included={key: (limit.whole, limit.carried) for key, limit in limits.items()},
        credits=lately.expect(spent, lately.credits),
        daily_credits=lately.daily_credits(),
        money=_money(period, counters, meters, billed),
        currency=period.currency if period else None,
    )


def _money(
    period: Period | None,
    counters: dict[str, Counter],
    meters: dict[str, Forecast],
    billed: dict[str, Decimal],
) -> Forecast:
    parts = []
    limits, currency = (period.limits, period.currency or "") if period else ({}, "")
    # Also of a meter whose limit has ended within the cycle.
    for key in {*limits, *counters}:
        limit, counter, price = limits.get(key), counters.get(key), None
        if limit is not None and limit.overage not in (None, FREE):
            price = partial(usage_rules.beyond, limit, counter, currency=currency)
        accrued = counter.overage_total if counter else ZERO
        # A volume price may have fallen below what was billed early: that is not given back.
        now = max(ZERO, accrued - billed.get(key, ZERO))
        parts.append(rules.beyond(now, meters.get(key, _NOTHING), price))
    return rules.together(parts)


async def _lately(
    connection: AsyncConnection, account_id: UUID, at: datetime, end: datetime, zone: str
) -> _Lately:
    today = periods.to_wall(at, zone).date()
    begin = rules.midnight(today - timedelta(days=rules.HISTORY_DAYS), zone)
    end_of_days = rules.midnight(today, zone)
    rows = await connection.execute(sums.buckets(account_id, "", "day", begin, end_of_days))
    meters: defaultdict[str, Series] = defaultdict(dict)
    spent: defaultdict[date, Decimal] = defaultdict(Decimal)
    for row in rows:
        on = usage_rules.day_of(row.bucket, zone)
        meters[row.meter][on] = meters[row.meter].get(on, ZERO) + row.quantity
        spent[on] += row.credits
    captured = await connection.execute(logs.captured_by_day(account_id, zone, begin, end_of_days))
    for on, amount in captured:
        spent[on] += amount
    used = await sums.first_day(connection, account_id)
    captured_at = await logs.first_capture(connection, account_id)
    begun = [
        used and usage_rules.day_of(used, zone),
        captured_at and periods.to_wall(captured_at, zone).date(),
    ]
    return _Lately(
        meters=dict(meters),
        credits=dict(spent),
        first=min(filter(None, begun), default=None),
        today=today,
        ahead=rules.days_ahead(at, end, zone),
    )
