"""Ids and hashes of uses, rows of batches, and which of several limits decides."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from api.edge.request_limits import JSON_DEPTH
from api.usage import batch_parser
from api.usage.body import DETAIL_BYTES, UseBody, UseRow
from billing.core import ids
from billing.core.errors import Invalid
from billing.metering.quotas import rules as quotas
from billing.metering.quotas.schemas import Bound, Release, Window
from billing.metering.usage import rules
from billing.metering.usage.schemas import Use, UseKind
from billing.metering.usage.sql_batch import Batch, by_account

ANN, BOB = UUID(int=1), UUID(int=2)
KIND = UseKind("gpt-4", None, None, None, None, None, False)


def test_an_event_keeps_its_id_all_month_and_other_accounts_have_another() -> None:
    first, last = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
    assert rules.record_id(ANN, "e-1", first) == rules.record_id(ANN, "e-1", last)
    assert len({rules.record_id(who, what, last) for who in (ANN, BOB) for what in "12"}) == 4
    assert rules.record_id(ANN, None, last) != rules.record_id(ANN, None, last)


def test_someare_in_the_order_of_the_months_in_which_their_records_came() -> None:
    firsts = [datetime(year, month, 1, tzinfo=UTC) for year in (2026, 2027) for month in (1, 7, 12)]
    by_month = [[rules.record_id(ANN, str(n), at) for n in range(200)] for at in firsts]
    assert [one for some in by_month for one in sorted(some)] == sorted(chain(*by_month))
    for at, records in zip(firsts, by_month, strict=True):
        for one in records:
            assert timedelta(0) <= ids.born_at(one) - at < timedelta(seconds=132)
            assert (one.version, one.variant) == (7, RFC_4122)


def test_a_batch_keeps_accounts_together_and_someapart() -> None:
    uses = [
        Use(ANN, KIND, "1", "a"), Use(BOB, KIND, "2", "a"), Use(ANN, KIND, "1", "a"),
        Use(ANN, KIND._replace(model='say "\\'), "3"),
    ]  # fmt: skip
    batch = Batch(uses, [1] * 4, by_account(uses))
    assert batch.places == [0, 3, 1]
    assert batch.repeats == {2: 0}
    assert batch.hashes[0] == batch.hashes[2] != batch.hashes[1]
    rows = batch.values["uses"].split(')","(')
    assert [row.split(",")[1] for row in rows] == ["1", "1", "2"]
    assert [row.split(",")[6] for row in rows] == ['\\"a\\"', "", '\\"a\\"']
    assert '\\"say \\"\\"\\\\\\\\\\"' in batch.values["kinds"]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"usage_amount": -1}, "usage_amount"),
        ({"usage_amount": 1e-13}, "usage_amount"),
        ({"usage_amount": "1\n"}, "usage_amount"),
        ({"usage_amount": "1", "event_id": ""}, "event_id"),
        ({"usage_amount": "1", "occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
        ({"usage_amount": "1", "occurred_at": "0001-01-01T00:00:00+05:00"}, "occurred_at"),
        ({"usage_amount": "1", "occurred_at": "9999-12-31T23:59:59-05:00"}, "occurred_at"),
        ({"usage_amount": "1", "what": 1}, "what"),
        ({"usage_amount": "1", "product_id": None}, "product_id"),
        ([], "array"),
    ],
)
def test_a_bad_row_names_its_field_and_spares_the_others(row: Any, field: str) -> None:
    good = {"product_id": "gpt-4", "usage_amount": "1"}
    bad = {"product_id": "gpt-4"} | row if isinstance(row, dict) else row
    rows = batch_parser.parse(json.dumps({"events": [good, bad, good]}).encode())
    assert field in str(rows[1])
    assert isinstance(rows[1], batch_parser.Fault)
    assert not isinstance(rows[0], str)
    assert not isinstance(rows[2], str)


def test_details_are_bounded_in_depth() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = {"in": deep}
    row = {"product_id": "gpt-4", "usage_amount": "1", "usage_details": deep}
    assert "nested deeper" in str(batch_parser.parse(json.dumps({"events": [row]}).encode())[0])
    levels = JSON_DEPTH - 1
    fits = b'{"events":[{"product_id":"p","usage_amount":"1","usage_details":{"a":%s}}]}'
    (fitting,) = batch_parser.parse(fits % (b"[" * levels + b"]" * levels))
    assert isinstance(fitting, UseRow)
    (beyond,) = batch_parser.parse(fits % (b"[" * (levels + 1) + b"]" * (levels + 1)))
    assert "nested deeper" in str(beyond)
    bottomless = b'{"events":[{"usage_details":{"a":' + b"[" * 400_000 + b"]}}]}"
    with pytest.raises(Invalid):
        batch_parser.parse(bottomless)


@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (1, False)])
def test_details_are_bounded_in_bytes(more: int, is_taken: bool) -> None:
    text = "中" + "x" * (DETAIL_BYTES - len('{"note":"中"}'.encode()) + more)
    use = {"product_id": "gpt-4", "usage_amount": "1", "usage_details": {"note": text}}
    (row,) = batch_parser.parse(json.dumps({"events": [use]}).encode())
    if is_taken:
        assert isinstance(row, UseRow)
        TypeAdapter(UseBody).validate_python(use)
    else:
        assert "usage_details: more than 16384 bytes" in str(row)
        with pytest.raises(ValidationError, match="usage_details: more than 16384 bytes"):
            TypeAdapter(UseBody).validate_python(use)


def bound(limit: int, used: int, *, hard: bool = True) -> Bound:
    return Bound(
        source="quota", limit=Decimal(limit), used=Decimal(used), is_hard=hard, resets_at=None
    )


def test_the_tightest_hard_limit_decides_and_soft_ones_only_warn() -> None:
    one = quotas.decide("m", Decimal(2), [bound(10, 1), bound(5, 2), bound(1, 1, hard=False)])
    assert (one.allowed, one.limit, one.soft_limit_reached) == (True, Decimal(5), True)
    assert not quotas.decide("m", Decimal(4), [bound(10, 1), bound(5, 2)]).allowed
    assert quotas.decide("m", Decimal(4), []).allowed


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("day", datetime(2027, 3, 28, tzinfo=UTC), datetime(2027, 3, 29, tzinfo=UTC)),
        ("month", datetime(2027, 12, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)),
        ("month", datetime(2027, 2, 1, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)),
        ("cycle", datetime(2027, 2, 5, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)),
        ("rolling", datetime(2027, 2, 5, tzinfo=UTC), datetime(2027, 2, 5, 1, 31, tzinfo=UTC)),
    ],
)
def test_windows_end_where_the_next_one_begins(
    window: Window, start: datetime, end: datetime
) -> None:
    span = 3600 if window == "rolling" else None
    at = start + timedelta(minutes=30)
    period_end = datetime(2030, 1, 1, tzinfo=UTC)
    assert quotas.window_end(window, start, span, "UTC", period_end, at) == end


def test_a_refused_use_passes_when_enough_was_given_back() -> None:
    noon = datetime(2027, 2, 5, 12, tzinfo=UTC)
    full = bound(10, 9).model_copy(update={"resets_at": noon + timedelta(days=1)})
    gives = [Release(noon + timedelta(minutes=n), Decimal(3)) for n in (1, 2, 3)]
    freed = {n: quotas.freed_at(full, Decimal(n), gives) for n in (2, 4, 5, 10)}
    minutes = {n: at and (at - noon) / timedelta(minutes=1) for n, at in freed.items()}
    assert minutes == {2: 1, 4: 1, 5: 2, 10: 3}
    assert quotas.freed_at(full, Decimal(11), gives) == full.resets_at
    assert quotas.freed_at(full, Decimal(10), gives[:1]) == full.resets_at
