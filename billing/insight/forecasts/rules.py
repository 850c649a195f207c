"""The forecast of a cycle's usage: a trailing daily mean with weekday weights. Pure.

Usage so far is certain; each remaining day adds what such days used recently.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final, Literal

from billing.catalog.rating.rules import EXACT
from billing.core import periods
from billing.core.money import CREDIT_LIMIT, CREDIT_STEP, ZERO
from billing.insight.forecasts.schemas import Ahead, Day, Forecast

METHOD: Final[Literal["weekday_mean"]] = "weekday_mean"
HISTORY_DAYS: Final = 28
"""Four of each weekday."""
CONFIDENCE_PERCENT: Final = 80
_Z: Final = Decimal("1.2816")
"""80 % of a normal distribution lies within this many standard deviations of its mean."""
_FEW_DAYS: Final = 7
MOST: Final = CREDIT_LIMIT - CREDIT_STEP


def forecast(used: Decimal, history: Sequence[Day], ahead: Sequence[Ahead]) -> Forecast:
    """Forecast the usage from what is `used` so far, past whole days, and the days ahead.

    A weekday's expected usage is the mean of its own days and one average day, so that one odd
    Monday does not make all Mondays odd. The interval assumes a normal distribution whose variance
    grows with each day ahead. It never falls below `used`. Without a whole day of history the
    usage of the days ahead is unknown.
    """
    with localcontext(EXACT):
        if not history:
            return Forecast(used, used, used, used, is_known=not ahead)
        expected_of = _by_weekday(history)
        to_come = sum((day.part * expected_of[day.on.weekday()] for day in ahead), ZERO)
        length = sum((day.part for day in ahead), ZERO)
        reach = _Z * _deviation(history, expected_of) * length.sqrt()
        return Forecast(
            used=used,
            expected=_after(used, to_come),
            low=_after(used, max(ZERO, to_come - reach)),
            high=_after(used, to_come + reach),
        )


def level(used: Decimal) -> Forecast:
    """Forecast a level, which is charged by its maximum: it is expected to stay as it is."""
    return Forecast(used, used, used, used)


def beyond(now: Decimal, units: Forecast, price: Callable[[Decimal], Decimal] | None) -> Forecast:
    """Forecast the cost of units beyond the plan: `now` so far, plus the `price` of more units.

    Without a `price` more units are free, so the forecast needs no history.
    """
    if price is None:
        return Forecast(now, now, now, now)
    totals = (units.expected, units.low, units.high)
    with localcontext(EXACT):
        expected, low, high = (_after(now, price(total - units.used)) for total in totals)
    return Forecast(now, expected, low, high, units.is_known)


def together(parts: Sequence[Forecast]) -> Forecast:
    """Add up forecasts, as if all of them erred in the same direction."""
    used = sum((part.used for part in parts), ZERO)
    more = [
        sum((getattr(part, name) - part.used for part in parts), ZERO)
        for name in ("expected", "low", "high")
    ]
    expected, low, high = (_after(used, extra) for extra in more)
    return Forecast(used, expected, low, high, all(part.is_known for part in parts))


def mean(history: Sequence[Day]) -> Decimal:
    """Return the mean usage of a day; 0 without history."""
    return sum((day.amount for day in history), ZERO) / max(1, len(history))


def days_ahead(at: datetime, end: datetime, zone: str) -> list[Ahead]:
    """Return the rest of today and the days up to `end`, in the zone; the last may be partial.

    Days on which the clocks change are whole days too.
    """
    found = []
    day = periods.to_wall(at, zone).date()
    while (start := midnight(day, zone)) < end:
        stop = midnight(day + timedelta(days=1), zone)
        part = _share(min(stop, end) - max(start, at), stop - start)
        if part > 0:
            found.append(Ahead(day, part))
        day += timedelta(days=1)
    return found


def whole_days(first: date, today: date, amounts: dict[date, Decimal]) -> list[Day]:
    """Return the days before today and after `first`, at most four weeks; unused ones are 0.

    On the first day of use the use may have begun at any hour, so it is not a whole day.
    """
    begin = max(first + timedelta(days=1), today - timedelta(days=HISTORY_DAYS))
    return [
        Day(on, amounts.get(on, ZERO))
        for on in (begin + timedelta(days=n) for n in range(max(0, (today - begin).days)))
    ]


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a day begins in a zone."""
    return periods.from_wall(datetime.combine(day, time()), zone)


def _by_weekday(history: Sequence[Day]) -> dict[int, Decimal]:
    any_day = mean(history)
    of: defaultdict[int, list[Decimal]] = defaultdict(list)
    for day in history:
        of[day.on.weekday()].append(day.amount)
    return {n: (sum(of[n], ZERO) + any_day) / (len(of[n]) + 1) for n in range(7)}


def _deviation(history: Sequence[Day], expected_of: dict[int, Decimal]) -> Decimal:
    """Return the standard deviation of a day; with under a week of history, at least the mean."""
    missed = sum(((d.amount - expected_of[d.on.weekday()]) ** 2 for d in history), ZERO)
    deviation = (missed / max(1, len(history) - 1)).sqrt()
    if len(history) >= _FEW_DAYS:
        return deviation
    return max(deviation, mean(history))


def _share(part: timedelta, whole: timedelta) -> Decimal:
    return Decimal(part // periods.MICROSECOND) / Decimal(whole // periods.MICROSECOND)


def _after(now: Decimal, more: Decimal) -> Decimal:
    """Return `now` plus `more` rounded, within the bound of all amounts."""
    return min(now + more.quantize(CREDIT_STEP, rounding=ROUND_HALF_UP), max(now, MOST))
