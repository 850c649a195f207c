"""The spool keeps only events the API will take: amounts exact, fields known, each with its id."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_billing import events
from durable_billing.errors import InvalidEvent

AT = datetime(2027, 1, 1, tzinfo=UTC)


def nested(levels: int) -> dict[str, Any]:
    return {} if levels == 1 else {"x": nested(levels - 1)}


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal(10**15) - 1, places=12))
def test_an_amount_keeps_every_digit(amount: Decimal) -> None:
    assert Decimal(events.amount_text(amount)) == amount


@pytest.mark.parametrize(
    "amount",
    ["0", "-1", "1e3", "", "NaN", "0.0000000000001", 10**15, Decimal("NaN"), 0, True, 1.5, None],
)
def test_an_amount_that_can_never_be_billed_is_refused_at_once(amount: object) -> None:
    with pytest.raises(InvalidEvent, match="usage_amount"):
        events.amount_text(amount)  # type: ignore[arg-type]


def test_an_event_without_an_id_gets_one_and_the_time_of_now() -> None:
    event_id, body = events.build(1, {"product_id": "gpt-4"}, account="shop-1")
    read = json.loads(body)
    assert read["event_id"] == event_id
    assert read["account_id"] == "shop-1"
    assert datetime.fromisoformat(read["occurred_at"]).tzinfo is not None


def test_an_event_of_the_callers_own_id_is_the_same_each_time() -> None:
    first = events.build("2.50", {"product_id": "gpt-4", "event_id": "job-1"})
    assert first == events.build("2.50", {"product_id": "gpt-4", "event_id": "job-1"})
    assert "occurred_at" not in json.loads(first[1])


def test_words_are_kept_as_the_api_takes_them() -> None:
    event_id, body = events.build(1, {"product_id": "p", "event_id": "e1 ", "user_id": "\tann"})
    assert (event_id, json.loads(body)["user_id"]) == ("e1", "ann")


@pytest.mark.parametrize(
    ("use", "field"),
    [
        ({}, "product_id"),
        ({"product_id": "p", "prodct": "x"}, "prodct"),
        ({"product_id": ""}, "product_id"),
        ({"product_id": "p", "event_id": " \n"}, "event_id"),
        ({"product_id": "p", "user_id": "u" * 256}, "user_id"),
        ({"product_id": "p", "occurred_at": AT.replace(tzinfo=None)}, "occurred_at"),
        ({"product_id": "p", "usage_details": {"x": float("nan")}}, "not JSON"),
        ({"product_id": "p", "usage_details": {"x": "y" * 300_000}}, "larger than"),
        ({"product_id": "p", "usage_details": {"x": "y" * 16_384}}, "more than 16384 bytes"),
        ({"product_id": "p", "usage_details": {"x": [1, {"y": "\0"}]}}, "NUL"),
        ({"product_id": "p", "usage_details": {"x": 10**64}}, "64 digits"),
        ({"product_id": "p", "usage_details": {"x": [1e-100]}}, "exponent"),
        ({"product_id": "p", "usage_details": nested(33)}, "deeper than 32"),
        ({"product_id": "p", "user_id": "a\0"}, "user_id: contains a NUL"),
        ({"service_type": "llm"}, "service_type: must be one of"),
        ({"product_id": "p", "hold_id": "h", "billing_method": "wallet_deduction"}, "hold_id"),
        ({"product_id": "p", "hold_id": "h", "on_insufficient": "defer"}, "hold_id"),
        ({"product_id": "p", "occurred_at": AT.replace(year=1)}, "years 2 to 9000"),
        ({"product_id": "p", "usage_details": {"x": "\ud800"}}, "not JSON"),
    ],
)
def test_a_field_that_is_wrong_is_named(use: Any, field: str) -> None:
    with pytest.raises(InvalidEvent, match=field):
        events.build(1, use)
