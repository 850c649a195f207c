"""Amounts on the wire: numbers or strings in, strings out, money whole, nothing as a float."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import TypeAdapter, ValidationError

from api.answers.schemas import Body, Credits, Instant, Url, Zone
from api.pay.return_pages import check_return
from api.requests import exact_json
from billing.catalog.plans.schemas import Currency, Minor
from billing.core.errors import Invalid


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


@pytest.mark.parametrize("sent", ["10", 10, Decimal("10.0"), Decimal("1E+1"), "10.00"])
def test_equal_amounts_are_equal_however_they_are_sent(sent: object) -> None:
    assert Sample.model_validate({"credits": sent}).credits == 10


def test_a_number_of_a_body_loses_no_digit() -> None:
    assert exact_json.decode(b'{"n": 123456789012345.123456789012}') == {
        "n": Decimal("123456789012345.123456789012")
    }
    for far in (b"1e99999999999999999999", b"1e999999999", b"-1e999999999", b"1e-999999999"):
        with pytest.raises(ValueError, match="out of range"):
            exact_json.decode(far)


@pytest.mark.parametrize(
    ("amount", "spelled"),
    [("10.0", "10"), (10, "10"), ("0010", "10"), ("0.50", "0.5"), ("00.5", "0.5"), ("100", "100")],
)
def test_an_amount_has_one_spelling(amount: str | int, spelled: str) -> None:
    assert exact_json.shortest(amount) == spelled


def test_bodies_that_say_the_same_are_the_same() -> None:
    names = frozenset({"amount"})
    first = {"amount": "10.00", "label": "10.0", "rows": [{"amount": Decimal("0.5")}], "n": 1}
    again = {"amount": 10, "label": "10.0", "rows": [{"amount": "0.50"}], "n": Decimal("1.0")}
    assert exact_json.by_value(first, names) == exact_json.by_value(again, names)
    other = first | {"label": "10"}
    assert exact_json.by_value(first, names) != exact_json.by_value(other, names)


@pytest.mark.parametrize(
    "body",
    [
        {"credits": 1.5}, {"credits": Decimal("NaN")}, {"credits": 10**15},
        {"credits": "1e3"}, {"credits": "NaN"}, {"credits": "Infinity"}, {"credits": ""},
        {"credits": "1."}, {"credits": ".5"},
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


@pytest.mark.parametrize(
    "page",
    [
        "https://user:pw@evil.example", "https://shop.example@evil.example/back",
        "https://evil.example\\@shop.example", "https://", "javascript:alert(1)", "//evil.example",
    ],
)  # fmt: skip
def test_a_payer_is_sent_back_to_a_plain_page(page: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Url).validate_python(page)


@pytest.mark.parametrize(
    ("hosts", "page", "kept"),
    [
        ((), "https://anywhere.example/x", True),
        (("shop.example",), "https://shop.example/thanks", True),
        (("shop.example",), "https://shop.example.evil.example", False),
        (("shop.example",), None, True),
    ],
)
def test_the_hosts_to_return_to_are_a_setting(
    hosts: tuple[str, ...], page: str | None, kept: bool
) -> None:
    call: Any = SimpleNamespace(settings=SimpleNamespace(return_url_hosts=hosts))
    if kept:
        check_return(call, page)
        return
    with pytest.raises(Invalid, match="return_url"):
        check_return(call, page)
