"""The building blocks of request and answer bodies: strict amounts, refused unknown fields."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

import fastapi
from fastapi import Path
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from billing.core.money import show_decimal
from billing.core.periods import BEYOND_CALENDAR, within_calendar

MAX_MINOR: Final = 10**15
MAX_CREDITS: Final = Decimal(10) ** 15
CREDIT_DECIMALS: Final = 12
_ZONES: Final = frozenset(available_timezones())
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


class Body(BaseModel):
    """A request body: frozen, and a field it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=10_000)


def left_out(model: type[Body]) -> Any:
    """Marks a parameter of this body, whose fields all have defaults, as one to be left out."""
    return fastapi.Body(default_factory=model)


class Answer(BaseModel):
    """An answer body."""

    model_config = ConfigDict(frozen=True)


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        return Decimal(value) if _is_plain(value) else _refuse('must be a decimal such as "1.50"')
    if isinstance(value, Decimal):
        return value
    return _refuse('must be a decimal in a string, such as "1.50": floats lose digits')


def _is_plain(text: str) -> bool:
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole.isascii() and whole.isdigit() and len(whole) <= 15
    return digits and (not point or (fraction.isascii() and fraction.isdigit()))


def _refuse(sentence: str) -> Any:
    raise ValueError(sentence)


def _fits(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if abs(value) >= MAX_CREDITS or (isinstance(exponent, int) and -exponent > CREDIT_DECIMALS):
        _refuse("must be below 10^15 with at most 12 decimals")
    return value


def _zone(value: str) -> str:
    return value if value in _ZONES else _refuse("must be an IANA zone such as Europe/Berlin")


def _iso(value: Any) -> Any:
    # Else pydantic takes numbers, and texts that look like them, for seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO.match(value)):
        return value
    return _refuse("must be an instant such as 2026-12-01T09:00:00Z")


def _utc(value: datetime) -> datetime:
    if not within_calendar(value):
        _refuse(BEYOND_CALENDAR)
    return value.astimezone(UTC)


Credits = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    AfterValidator(_fits),
    PlainSerializer(show_decimal, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d{1,15}(\.\d{1,12})?$", "example": "2.00"}),
]
"""Credits or a unit price: a decimal in a JSON string, both ways."""

Minor = Annotated[int, Field(strict=True, ge=0, lt=MAX_MINOR)]
"""Money in minor units: a whole number, never a float, never a string."""

KeyPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A key of the catalog, in a path."""
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, upper case."""

Zone = Annotated[str, AfterValidator(_zone)]
"""An IANA time zone."""

Instant = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_utc)]
"""ISO 8601 with an offset; kept and answered in UTC."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
"""A short text that is not empty."""

Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=2048)]
"""Where a payer is sent back to."""
