"""What a forecast is made from, and what it says: quantities or amounts as exact decimals."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """What one whole day used."""

    on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Ahead:
    """A day, or the part of one, that is still to come; `part` is between 0 and 1."""

    on: date
    part: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the cycle will have used at its end, with its interval; `low` is never below `used`."""

    used: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where an account's open cycle is heading, by meter and in cost."""

    start_at: datetime
    end_at: datetime
    at: datetime
    history_days: int
    meters: dict[str, Forecast]
    included: dict[str, Decimal]
    """What the plan gives of a meter, where it limits one."""
    credits: Forecast
    daily_credits: Decimal
    """The mean of the days that the forecast rests on."""
    money: Forecast
    currency: str | None
