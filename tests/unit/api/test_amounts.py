"""Amounts on the wire: decimals as strings, money as whole numbers, nothing as a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from api.schemas import Body, Credits, Currency, Instant, Minor, Zone


class Sample(Body):
    credits: Credits | None = None
    amount_minor: Minor | None = None
    currency: Currency | None = None
    zone: Zone | None = None
    at: Instant | None = None


@given(some.decimals(-(10**14), 10**14, places=12))
def test_credits_survive_the_way_out_and_back(value: Decimal) -> None:
    text = Sample(credits=value).model_dump()["credits"]
    assert isinstance(text, str)
    assert Sample.model_validate({"credits": text}).credits == value


@pytest.mark.parametrize(
    ("sent", "shown"), [("2", "2.00"), ("0.0020", "0.002"), ("0", "0"), ("-1.5", "-1.50")]
)
def test_credits_are_shown_with_at_least_two_decimals(sent: str, shown: str) -> None:
    assert Sample.model_validate({"credits": sent}).model_dump()["credits"] == shown


@pytest.mark.parametrize(
    "body",
    [
        {"credits": 1.5}, {"credits": 1}, {"credits": "1e3"}, {"credits": "NaN"},
        {"credits": "Infinity"}, {"credits": ""}, {"credits": "1."}, {"credits": ".5"},
        {"credits": " 1"}, {"credits": "1_000"}, {"credits": "٣"}, {"credits": "1" * 16},
        {"credits": "0.1234567890123"}, {"credits": True}, {"credits": "--1"},
        {"amount_minor": 1.0}, {"amount_minor": "100"}, {"amount_minor": True},
        {"amount_minor": -1}, {"amount_minor": 10**15}, {"amount_minor": None, "amount": 1},
        {"currency": "usd"}, {"currency": "EURO"}, {"currency": "EUR\n"}, {"zone": "Mars/Base"},
        {"zone": "../etc/passwd"}, {"at": "2026-01-01T00:00:00"},
        {"at": 0}, {"at": "1767225600"}, {"at": "2026-01-01"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_what_is_not_exactly_an_amount_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate(body)
