"""A body costs little before it is known who sent it."""

import json
import sys
from itertools import product
from types import FrameType
from typing import Any

import httpx2
import msgspec
import pytest

from api.edge.request_limits import (
    BATCH_COMMAS,
    BODY_BYTES,
    JSON_COMMAS,
    NUMBER_DIGITS,
    json_fault,
)
from api.usage.body import DETAIL_BYTES, UseRow
from billing.metering.usage.rules import MAX_ROWS


def filled(head: str, unit: str, tail: str) -> bytes:
    """A body of a megabyte, less than one unit short."""
    return (head + unit * ((BODY_BYTES - len(head) - len(tail)) // len(unit)) + tail).encode()


@pytest.mark.parametrize("path", ["/api/v1/admin/accounts", "/api/v1/usage/batch", "/nowhere"])
async def test_a_stranger_cannot_keep_the_service_busy_with_a_heap_of_brackets(
    client: httpx2.AsyncClient, path: str
) -> None:
    heap = filled(r'{"events":["\ud83d\ude00"', ",{}", "]}")
    headers = {"Content-Type": "application/json"}
    answer = await client.post(path, content=heap, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_JSON")
    assert "brackets" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "more"),
    [("/api/v1/admin/accounts", JSON_COMMAS), ("/api/v1/usage/batch", BATCH_COMMAS)],
)
async def test_a_stranger_cannot_keep_the_service_busy_with_a_heap_of_members(
    client: httpx2.AsyncClient, path: str, more: int
) -> None:
    headers = {"Content-Type": "application/json"}
    for extra, status, code in ((2, 400, "INVALID_JSON"), (1, 401, "UNAUTHENTICATED")):
        heap = json.dumps({f"m{n}": 1 for n in range(more + extra)})
        answer = await client.post(path, content=heap, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ("commas" in answer.json()["detail"]) == (status == 400)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("1" * (NUMBER_DIGITS + 1), 400), ("0." + "1" * (NUMBER_DIGITS + 1), 400),
        ("1e308", 400), ("1E+100 ", 400), ("-2.5e-300", 400),
        ("1" * NUMBER_DIGITS, 401), ("1e99", 401), ('"1e308"', 401), ('", 1e308 ,"', 401),
        (f'"{"1" * 200}"', 401), (r'"\", 1e308"', 401),
    ],
)  # fmt: skip
async def test_a_stranger_cannot_keep_the_service_busy_with_large_numbers(
    client: httpx2.AsyncClient, number: str, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    # A body that is nothing but a number is refused in any case.
    bodies = (f'{{"x": [{number}]}}', number) if status == 400 else (f'{{"x": [{number}]}}',)
    for path, body in product(("/api/v1/admin/accounts", "/api/v1/usage/batch"), bodies):
        answer = await client.post(path, content=body, headers=headers)
        assert answer.status_code == status
        assert ("a number of the body" in answer.json()["detail"]) == (status == 400)


def test_a_full_batch_and_the_largest_details_have_room() -> None:
    members = len(msgspec.structs.fields(UseRow)) + 10
    assert BATCH_COMMAS >= MAX_ROWS * members > BATCH_COMMAS // 2
    assert DETAIL_BYTES // len("1,") < JSON_COMMAS


@pytest.mark.parametrize(
    "body",
    [
        filled(r'["\ud83d\ude00"' + ",{}" * 19_000, ',""', "]"),
        filled(r'["\ud83d\ude00"' + ",[]" * 19_000, ",1", "]"),
        filled(r'["\ud83d\ude00', "x", '"]'),
        filled(r'["\ud83d"' + ',{"a":1}' * 19_000, ',""', "]"),
        filled("[]," * 33, "]", ""),
    ],
    ids=["texts", "numbers", "one text", "half a character", "brackets that close"],
)
def test_what_is_checked_before_it_is_known_who_calls_is_cheap(body: bytes) -> None:
    lines = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal lines
        lines += 1
        return count

    known = sys.gettrace()
    sys.settrace(count)
    try:
        json_fault(body)
    finally:
        sys.settrace(known)
    assert lines < 250_000
