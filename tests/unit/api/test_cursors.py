"""A list's cursor: opaque to callers, checked when it comes back."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy import BigInteger, Column, DateTime, MetaData, Numeric, Table, Text, Uuid

from api.answers.pagination import decode_cursor, encode_cursor, page_request
from billing.core.errors import Invalid

ROWS = Table(
    "rows",
    MetaData(),
    Column("at", DateTime(timezone=True)),
    Column("id", Uuid),
    Column("seq", BigInteger),
    Column("amount", Numeric),
    Column("name", Text),
)
KEYS = tuple(ROWS.c)
UTC_TIMES = some.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001


@given(
    at=UTC_TIMES,
    id=some.uuids(),
    seq=some.integers(-(2**63) + 1, 2**63 - 1),
    amount=some.decimals(allow_nan=False, allow_infinity=False, places=6),
    name=some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_a_cursor_brings_back_the_place_it_was_made_at(
    at: datetime, id: UUID, seq: int, amount: Decimal, name: str
) -> None:
    values = [at.replace(tzinfo=UTC), id, seq, amount, name]
    row: Any = dict(zip(KEYS, values, strict=True))
    assert decode_cursor(encode_cursor(row, KEYS), KEYS) == values


def _cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


GOOD = ["2026-01-01T00:00:00+00:00", "0" * 32, "1", "1.5", "x"]


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "!!!", "é", "bnVsbA", _cursor(None), _cursor({}), _cursor([]), _cursor(GOOD[:4]),
        _cursor([*GOOD, "more"]), _cursor(["yesterday", *GOOD[1:]]),
        _cursor(["2026-01-01T00:00:00", *GOOD[1:]]), _cursor([GOOD[0], "not-a-uuid", *GOOD[2:]]),
        _cursor([*GOOD[:2], "1e3", *GOOD[3:]]), _cursor([*GOOD[:2], str(2**70), *GOOD[3:]]),
        _cursor([*GOOD[:3], "abc", "x"]), _cursor([*GOOD[:4], "a\0b"]), _cursor([*GOOD[:4], 7]),
        _cursor([*GOOD[:4], "\ud800"]),
        _cursor([*GOOD[:3], "NaN", "x"]),
    ],
)  # fmt: skip
def test_a_cursor_nobody_gave_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="INVALID_CURSOR"):
        decode_cursor(cursor, KEYS)


async def test_an_offset_wins_over_a_page_and_a_cursor_over_both() -> None:
    assert (await page_request(limit=10, page=3)).skip == 20
    assert (await page_request(limit=10, page=3, offset=7)).skip == 7
    assert (await page_request(limit=10, page=3, offset=7, cursor="c")).skip == 0


async def test_pages_end_where_only_cursors_stay_cheap() -> None:
    with pytest.raises(Invalid, match="cursor"):
        await page_request(limit=100, page=1000)
