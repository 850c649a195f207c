"""The input and the result of a forecast: quantities or amounts as exact decimals."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """The usage of one whole day."""

    on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Ahead:
    """A day ahead, or a part of one; `part` is between 0 and 1."""

    on: date
    part: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast usage at the end of the cycle, with interval; `low` is never below `used`."""

    used: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    is_known: bool = True
    """False: there is no history for a forecast; only `used` is certain."""


@dataclass(frozen=True, slots=True)
class CycleForecast:
    """Forecast of an account's open cycle, by meter and in cost."""

    start_at: datetime
    end_at: datetime
    at: datetime
    history_days: int
    meters: dict[str, Forecast]
    included: dict[str, tuple[Decimal, Decimal]]
    """Units of a meter that the plan includes, and how many of them were used before the cycle."""
    credits: Forecast
    daily_credits: Decimal | None
    """The mean of the days that the forecast is based on; None: use began, and no whole day is
    over since.
    """
    money: Forecast
    currency: str | None
