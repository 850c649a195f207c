"""Texts of payers: card numbers are found however they are written, references are let through."""

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from api.requests.card_numbers import NoCardNumber

# ruff: noqa: RUF001 - digits of other scripts are what is tested
TEXT: TypeAdapter[str] = TypeAdapter(Annotated[str, NoCardNumber])


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242 cvc 123",
        "card 4242-4242-4242-4242, 12/30",
        "4242 4242 4242 4242 123",
        "my visa:4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "6205500000000000004",
        "4242.4242.4242.4242",
        "4242/4242/4242/4242",
        "4242_4242_4242_4242",
        "4242\n4242\r\n4242  4242",
        "４２４２　４２４２　４２４２　４２４２",
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
        "4.2.4.2.4.2.4.2.4.2.4.2.4.2.4.2",
    ],
)
def test_a_card_number_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="card number"):
        TEXT.validate_python(text)


@pytest.mark.parametrize(
    "text",
    [
        "TRX-2027-0004711",
        "4242424242424241",
        "9242424242424244",
        "RF18 5390 0754 7034",
        "DE89 3704 0044 0532 0130 00",
        "2027-01-01 10:00:00",
        "42424242424242424242424242",
        "424242424242",
        "4242 and 4242 and 4242 and 4242",
        "4,242.42 EUR, 4,242.42 EUR",
        "2027/01/01 10:00, +49 (0)30 4242-4242",
        "10.0.0.1:8080, 192.168.100.200",
        "01a1fe8b-8cbb-725c-bc11-37e2d3441d0a",
        "",
    ],
)
def test_another_text_is_taken_as_it_is(text: str) -> None:
    assert TEXT.validate_python(text) == text
