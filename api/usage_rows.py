"""Rows of a usage batch, parsed at speed: a bad row fails alone, with the field that is wrong."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from pydantic import TypeAdapter

from api.limits import JSON_DEPTH, NOT_TEXT, storable
from api.schemas import Text
from billing.core.errors import Invalid
from billing.core.periods import BEYOND_CALENDAR, within_calendar
from billing.usage.rules import AMOUNT, MAX_ROWS

Word = Annotated[str, Meta(min_length=1, max_length=255)]
Service = Literal[
    "model_inference", "mcp_service", "agent_execution", "storage_minio", "api_gateway",
    "notification",
]  # fmt: skip
Way = Literal["wallet_deduction", "payment_charge", "credit_consumption", "subscription_included"]
HOLD_PAYS: Final = "a hold pays by itself: leave out billing_method and on_insufficient"


def alone(method: str | None, on_insufficient: str) -> bool:
    """Whether nothing beside a hold says how a use is to be paid."""
    return method is None and on_insufficient == "reject"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One use of a batch; `account_id` or `external_id` name another account than the caller's."""

    usage_amount: Annotated[str, Meta(pattern=AMOUNT)]
    account_id: Word | None = None
    external_id: Word | None = None
    event_id: Word | None = None
    user_id: Word | None = None
    organization_id: Word | None = None
    session_id: Word | None = None
    request_id: Word | None = None
    product_id: Word | None = None
    service_type: Service | None = None
    feature_type: Word | None = None
    operation: Word | None = None
    model: Word | None = None
    billing_method: Way | None = None
    on_insufficient: Literal["reject", "defer"] = "reject"
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    usage_details: dict[str, Any] | None = None
    hold_id: Word | None = None

    def __post_init__(self) -> None:
        if self.product_id is None and self.service_type is None and self.feature_type is None:
            raise ValueError("name a product_id, a service_type or a feature_type")
        if self.hold_id is not None and not alone(self.billing_method, self.on_insufficient):
            raise ValueError(HOLD_PAYS)
        if self.occurred_at is not None and not within_calendar(self.occurred_at):
            raise ValueError(f"occurred_at: {BEYOND_CALENDAR}")
        if self.usage_details is not None and _deeper(self.usage_details, JSON_DEPTH):
            raise ValueError(f"usage_details: nested deeper than {JSON_DEPTH} levels")


class Fault(msgspec.Struct, frozen=True):
    """A row that is none: the field that is wrong and why, and the event it wanted to be."""

    words: str
    event_id: str | None


_WORDS: Final = (
    "account_id", "external_id", "event_id", "user_id", "organization_id", "session_id",
    "request_id", "product_id", "feature_type", "operation", "model", "hold_id",
)  # fmt: skip
_words_of: Final = attrgetter(*_WORDS)
_text: Final = TypeAdapter(Text)


class Rows(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    events: Annotated[list[Row], Meta(min_length=1, max_length=MAX_ROWS)]


class _Named(msgspec.Struct):
    event_id: Word | None = None


class _RawRows(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_ROWS)]


_NUL: Final = b"\\u0000"
# Two halves are a character, one is none; behind an odd backslash such letters are just letters.
_HALVES: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*+)"
    rb"(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_whole: Final = msgspec.json.Decoder(Rows)
_raw: Final = msgspec.json.Decoder(_RawRows)
_row: Final = msgspec.json.Decoder(Row)
_named: Final = msgspec.json.Decoder(_Named)


def parse(body: bytes) -> list[Row | Fault]:
    """The rows of a body; in place of a bad one, its fault.

    Errors: INVALID_JSON; VALIDATION_FAILED for a body that is no batch.
    """
    try:
        if b"\\" not in body or _NUL not in body:
            rows = _whole.decode(body).events
            return [*rows] if _are_tidy(rows) else [_trimmed(row) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _one_by_one(_legible(body))


def named(rows: list[Row | Fault], key: str | None) -> list[Row | Fault]:
    """With a key, rows without an event are named after it and their place: so is a repeat."""
    if key is not None:
        for place, row in enumerate(rows):
            if isinstance(row, Row) and row.event_id is None:
                row.event_id = f"{key}/{place}"
    return rows


def _are_tidy(rows: Sequence[Row]) -> bool:
    """Whether no word has space around it: asked of all at once, for there are thousands."""
    words = list(filter(None, chain.from_iterable(map(_words_of, rows))))
    return list(map(str.strip, words)) == words


def _trimmed(row: Row) -> Row | Fault:
    """A row without the space around its words, as single uses are; a Fault for a blank one."""
    if not _are_tidy((row,)):
        for name in _WORDS:
            if (word := getattr(row, name)) is not None:
                try:
                    setattr(row, name, _text.validate_python(word))
                except ValueError:
                    return Fault(f"{name}: must not be blank", row.event_id)
    return row


def _legible(body: bytes) -> bytes:
    """A body with NULs in place of halves of characters, so that each row can be read."""
    if b"\\u" not in body:
        return body
    return _HALVES.sub(lambda match: match[0] if match[2] else match[1] + _NUL, body)


def _one_by_one(body: bytes) -> list[Row | Fault]:
    try:
        return [_parse(row) for row in _raw.decode(body).events]
    except msgspec.ValidationError as error:
        raise Invalid("VALIDATION_FAILED", _place(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("INVALID_JSON", "the body is not JSON", status=400) from error
    except RecursionError as error:
        deep = f"the body is nested deeper than {JSON_DEPTH} levels"
        raise Invalid("INVALID_JSON", deep, status=400) from error


def _parse(row: msgspec.Raw) -> Row | Fault:
    try:
        read = _row.decode(row)
    except msgspec.ValidationError as error:
        return Fault(_place(error), _event_id(row))
    except RecursionError:
        return Fault(f"usage_details: nested deeper than {JSON_DEPTH} levels", _event_id(row))
    for name in read.__struct_fields__:
        if not storable(getattr(read, name)):
            return Fault(f"{name}: has {NOT_TEXT}", _event_id(row))
    return _trimmed(read)


def _event_id(row: msgspec.Raw) -> str | None:
    try:
        event = _named.decode(row).event_id
    except (msgspec.DecodeError, RecursionError):
        return None
    return event if storable(event) else None


def _place(error: msgspec.ValidationError) -> str:
    """`usage_amount: Expected …`, out of msgspec's `Expected … - at `$.usage_amount``."""
    reason, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    if "matching regex" in reason:
        reason = 'must be a decimal in a string, such as "1.50": above 0, at most 12 decimals'
    return f"{field}: {reason}" if field else reason


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper(item, levels - 1) for item in value)


def details(value: dict[str, Any] | None) -> str | None:
    """Free details as one text, whoever sent them."""
    return None if value is None else msgspec.json.encode(value).decode()
