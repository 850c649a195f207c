"""Types of request and answer bodies: strict amounts; unknown fields are refused."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import fastapi
from fastapi import Path, Query
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

from billing.catalog.plans.schemas import Minor
from billing.core import countries
from billing.core.money import CREDIT_DECIMALS, CREDIT_LIMIT, show_decimal
from billing.core.periods import BEYOND_CALENDAR, within_calendar

_Amount = TypeVar("_Amount", int, Decimal)
WHOLE_DIGITS: Final = 15
NOT_DECIMAL: Final = 'must be a number, or a decimal in a string such as "1.50"'
_ZONES: Final = frozenset(available_timezones())
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)


class Body(BaseModel):
    """A request body: frozen; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=10_000)


def optional_body(model: type[Body]) -> Any:
    """Make a body parameter optional; all fields of the body need defaults."""
    return fastapi.Body(default_factory=model)


class Answer(BaseModel):
    """An answer body.

    `of` copies the fields of one object. A field that has another name there says so where it is
    declared (`validation_alias`); ids are shown in their public form, by their type.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True, populate_by_name=True)

    @classmethod
    def of(cls, found: Any, **more: object) -> Self:
        """Return the object as callers see it; `more` are fields that it lacks or that differ."""
        return cls.model_validate({**dict(found), **more} if more else found)


def _decimal(value: Any) -> Any:
    """Return the decimal of a request's number or string; its body is decoded without floats."""
    if isinstance(value, str):
        return Decimal(value) if _is_plain(value) else _refuse(NOT_DECIMAL)
    if isinstance(value, Decimal):
        return value if value.is_finite() else _refuse(NOT_DECIMAL)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return _refuse(NOT_DECIMAL)


def _is_plain(text: str) -> bool:
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole.isascii() and whole.isdigit() and len(whole) <= WHOLE_DIGITS
    return digits and (not point or (fraction.isascii() and fraction.isdigit()))


def _refuse(sentence: str) -> Any:
    raise ValueError(sentence)


def _fits(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if abs(value) >= CREDIT_LIMIT or (isinstance(exponent, int) and -exponent > CREDIT_DECIMALS):
        _refuse("must be below 10^15 with at most 12 decimals")
    return value


def _page(value: str) -> str:
    # Browsers read a backslash as a slash, and do not treat text before an @ as the host.
    parts = urlsplit(value)
    if "\\" in value or "@" in parts.netloc or not parts.hostname:
        _refuse("must be the URL of a page, without a user and without backslashes")
    return value


def _country(code: str) -> str:
    if code not in countries.CODES:
        _refuse("must be an ISO 3166-1 country code in two capital letters, such as DE")
    return code


def _zone(value: str) -> str:
    return value if value in _ZONES else _refuse("must be an IANA time zone such as Europe/Berlin")


def _iso(value: Any) -> Any:
    # pydantic would read a number, or a text that looks like one, as seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO.match(value)):
        return value
    return _refuse("must be a time such as 2026-12-01T09:00:00Z")


def _day(value: Any) -> Any:
    # As for times.
    if isinstance(value, date) or (isinstance(value, str) and DAY.fullmatch(value)):
        return value
    return _refuse("must be a day such as 2026-12-01")


def _known(day: date) -> date:
    return day if within_calendar(day) else _refuse(BEYOND_CALENDAR)


def _utc(value: datetime) -> datetime:
    if not within_calendar(value):
        _refuse(BEYOND_CALENDAR)
    return value.astimezone(UTC)


def _owner(owner: str) -> str:
    return _OWNERS.get(owner.partition(":")[0], "account")


def _owner_id(owner: str) -> str | None:
    return owner.partition(":")[2] or None


_OWNERS: Final = {"u": "user", "o": "organization", "u*": "each_user"}
Owner = Annotated[Literal["account", "user", "organization", "each_user"], BeforeValidator(_owner)]
OwnerId = Annotated[str | None, BeforeValidator(_owner_id)]
"""The two parts of the owner of counted uses: `u:` and a user, `o:` and an organization, `u*` for
each user by default, or ''.
"""

_TEXT: Final = {"type": "string", "pattern": r"^-?\d{1,15}(\.\d{1,12})?$", "example": "2.00"}


def _not_zero(amount: _Amount) -> _Amount:
    if not amount:
        raise ValueError("must not be 0")
    return amount


NOT_ZERO: Final = AfterValidator(_not_zero)
"""An amount to give or to take is something."""

Credits = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    AfterValidator(_fits),
    PlainSerializer(show_decimal, return_type=str),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "number"}], "example": "2.00"}, mode="validation"),
    WithJsonSchema(_TEXT, mode="serialization"),
]
"""Credits or a unit price: a number or a decimal in a string in requests, a string in answers."""
UnitPrice = Annotated[
    Credits,
    Field(
        description="The price of one unit; where units differ in price, the average of those that"
        " were not included"
    ),
]
Quantity = Annotated[Credits, Field(gt=0)]
"""Units of a use: more than none."""
Total = Annotated[
    Decimal,
    PlainSerializer(show_decimal, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d{1,26}(\.\d{1,12})?$", "example": "2.00"}),
]
"""A sum in an answer: like `Credits`, but without its upper bound."""

CatalogName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""The key of a plan, pack or add-on in a body."""

OneWord = Annotated[str | None, Query(min_length=1, max_length=255)]
"""A filter of a list: a name or an id. An empty one is refused, because it would mean all: a script
whose variable is not set would read the rows of every account.
"""

ExpectedAmount = Annotated[
    Minor | None,
    Field(
        description="The price you saw, in minor units, of all seats: any other is refused with"
        " PRICE_CHANGED"
    ),
]
"""The amount that a buyer expects to be charged."""

UseBalance = Annotated[
    bool, Field(strict=True, description="Pay from the money balance first, as far as it goes")
]
"""True if the customer's money with us pays first."""

KeyPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A key of the catalog, in a path."""

CountryCode = Annotated[
    str, AfterValidator(_country), Field(description="ISO 3166-1, two letters", examples=["DE"])
]

Zone = Annotated[str, AfterValidator(_zone)]
"""An IANA time zone."""

Instant = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_utc)]
"""ISO 8601 with an offset; stored and answered in UTC."""

Day = Annotated[date, BeforeValidator(_day), AfterValidator(_known)]
"""A day, ISO 8601."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
"""A short text that is not empty."""

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=2048), AfterValidator(_page)
]
"""The page that the payer returns to."""
