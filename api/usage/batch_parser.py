"""Rows of a usage batch, parsed fast: a bad row fails alone, and its wrong field is named."""

import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from pydantic import TypeAdapter

from api.answers.schemas import NOT_DECIMAL, WHOLE_DIGITS, Instant, Text
from api.edge.request_limits import JSON_DEPTH, NOT_TEXT, REPEATED, repeats, storable
from api.requests.exact_json import decode, encode
from api.usage.body import STRING_FIELDS, UseRow, Word
from billing.core.errors import Invalid
from billing.core.money import CREDIT_DECIMALS
from billing.metering.usage.rules import MAX_ROWS


class Fault(msgspec.Struct, frozen=True):
    """A row that cannot be read: the wrong field and why, and the row's event."""

    detail: str
    event_id: str | None


_strings_of: Final = attrgetter(*STRING_FIELDS)
_text: Final = TypeAdapter(Text)
_instant: Final = TypeAdapter(Instant)
_FULL_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class Rows(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    events: Annotated[list[UseRow], Meta(min_length=1, max_length=MAX_ROWS)]


class _Named(msgspec.Struct):
    event_id: Word | None = None


class _RawRows(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_ROWS)]


_NUL: Final = b"\\u0000"
_ESCAPED_ASCII: Final = re.compile(rb"\\u00[0-7]")
# A surrogate pair is one character, a lone surrogate none; after an odd number of backslashes
# the escape is plain text.
_SURROGATES: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*+)"
    rb"(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_whole: Final = msgspec.json.Decoder(Rows)
_raw: Final = msgspec.json.Decoder(_RawRows)
_row: Final = msgspec.json.Decoder(UseRow)
_named: Final = msgspec.json.Decoder(_Named)


def parse(body: bytes) -> list[UseRow | Fault]:
    """Return the rows of a body, with a `Fault` in place of each bad one.

    Errors: INVALID_JSON; VALIDATION_FAILED when the body is not a batch.
    """
    try:
        if b"\\" not in body or _NUL not in body:
            batch = _whole.decode(body)
            if _has_each_member(batch, body) or not repeats(body):
                rows = batch.events
                return [*rows] if _are_trimmed(rows) else [_trimmed(row) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _one_by_one(_decodable(body))


def _has_each_member(batch: Rows, body: bytes) -> bool:
    """Return True if all members of the body are in the batch, so that none of them is repeated.

    Each has a colon when the batch is written again. Colons are added only to an offset of a time
    that has none, and for the escapes of colons.
    """
    if b"occurred_at" in body or (b"\\u00" in body and _ESCAPED_ASCII.search(body)):
        return False
    return msgspec.json.encode(batch).count(b":") == body.count(b":")


def named(rows: list[UseRow | Fault], key: str | None) -> list[UseRow | Fault]:
    """Give rows without an event id one made of the key and their place, so that repeats match."""
    if key is None:
        return rows
    for place, row in enumerate(rows):
        if isinstance(row, UseRow) and row.event_id is None:
            row.event_id = f"{key}/{place}"
    return rows


def _are_trimmed(rows: Sequence[UseRow]) -> bool:
    """Return True if no text has surrounding space; all rows are checked at once, for speed."""
    strings = list(filter(None, chain.from_iterable(map(_strings_of, rows))))
    return list(map(str.strip, strings)) == strings


def _trimmed(row: UseRow) -> UseRow | Fault:
    """Return a row with its texts trimmed, as single uses are; a Fault for a blank text."""
    if not _are_trimmed((row,)):
        for name in STRING_FIELDS:
            if (word := getattr(row, name)) is not None:
                try:
                    setattr(row, name, _text.validate_python(word))
                except ValueError:
                    return Fault(f"{name}: must not be blank", row.event_id)
    return row


def _decodable(body: bytes) -> bytes:
    """Replace lone surrogates so that the body decodes; the row is rejected later."""
    if b"\\u" not in body:
        return body
    return _SURROGATES.sub(lambda match: match[0] if match[2] else match[1] + _NUL, body)


def _one_by_one(body: bytes) -> list[UseRow | Fault]:
    try:
        rows = [_parse(row) for row in _raw.decode(body).events]
    except msgspec.ValidationError as error:
        raise Invalid("VALIDATION_FAILED", _place(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("INVALID_JSON", "the body is not JSON") from error
    except RecursionError as error:
        deep = f"the body is nested deeper than {JSON_DEPTH} levels"
        raise Invalid("INVALID_JSON", deep) from error
    if repeats(body) and not any(isinstance(row, Fault) for row in rows):
        raise Invalid("INVALID_JSON", REPEATED)
    return rows


def _parse(row: msgspec.Raw) -> UseRow | Fault:
    if repeats(bytes(row)):
        return Fault(REPEATED, _event_id(row))
    try:
        read = _row.decode(_with_text(row))
    except msgspec.ValidationError as error:
        return Fault(_place(error), _event_id(row))
    except RecursionError:
        return Fault(f"usage_details: nested deeper than {JSON_DEPTH} levels", _event_id(row))
    for name in read.__struct_fields__:
        if not storable(getattr(read, name)):
            return Fault(f"{name}: contains {NOT_TEXT}", _event_id(row))
    return _trimmed(read)


def _with_text(row: msgspec.Raw) -> bytes:
    """Return the row as msgspec takes it.

    An amount with a point becomes text, so that no digit is lost, and an instant that only single
    uses accept, such as one without seconds, is completed.
    """
    try:
        value = decode(row)
    except msgspec.DecodeError:
        return bytes(row)
    if not isinstance(value, dict):
        return bytes(row)
    changed: dict[str, Any] = {}
    amount, at = value.get("usage_amount"), value.get("occurred_at")
    if isinstance(amount, Decimal):
        short = -CREDIT_DECIMALS <= amount.adjusted() <= WHOLE_DIGITS
        changed["usage_amount"] = f"{amount:f}" if short else str(amount)
    if isinstance(at, str) and not _FULL_INSTANT.fullmatch(at):
        with suppress(ValueError):
            changed["occurred_at"] = _instant.validate_python(at)
    return encode(value | changed) if changed else bytes(row)


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
    if field == "usage_amount":
        reason = f"{NOT_DECIMAL}: above 0, below 10^15, at most {CREDIT_DECIMALS} decimals"
    return f"{field}: {reason}" if field else reason
