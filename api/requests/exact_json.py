"""JSON of requests: numbers are decoded as decimals, never as floats.

`ExactRequest` is what FastAPI hands to its own parser; the fast path decodes with `decode`, and
`encode` writes decimals as numbers again.
"""

import json
import re
from collections.abc import Set
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from fastapi import Request

_OUT_OF_RANGE: Final = "a number is out of range"
_FARTHEST: Final = 1_000
_LONG: Final = 10**18
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


def exact(text: str) -> Decimal:
    """Return the written number. Raises ValueError for one that cannot be computed with."""
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(_OUT_OF_RANGE) from error
    if abs(number.adjusted()) > _FARTHEST:
        raise ValueError(_OUT_OF_RANGE)
    return number


decode: Final = msgspec.json.Decoder(float_hook=exact).decode
encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class ExactRequest(Request):
    """A request whose body is decoded without floats."""

    async def json(self) -> Any:
        """Return the decoded body. Raises ValueError, as `json.loads` does."""
        return json.loads(await self.body(), parse_float=exact)


def by_value(value: Any, amounts: Set[str], name: str = "") -> Any:
    """Return a decoded body in which equal numbers are equal, and amounts (fields of these names)
    have one spelling, whether sent as a number or as a string.
    """
    if isinstance(value, dict):
        return {key: by_value(item, amounts, key) for key, item in value.items()}
    if isinstance(value, list):
        return [by_value(item, amounts, name) for item in value]
    if name in amounts and _NUMBER.fullmatch(str(value)):
        return shortest(f"{Decimal(value):f}")
    if isinstance(value, Decimal):
        whole = abs(value) < _LONG and value == value.to_integral_value()
        return int(value) if whole else str(value.normalize())
    return value


def shortest(amount: str | int) -> str:
    """Return one spelling of a plain decimal: 10, "10" and "10.0" are the same amount."""
    text = str(amount)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text[:1] == "0" and text != "0":
        text = text.lstrip("0")
        text = f"0{text}" if text[:1] in ("", ".") else text
    return text


def plain(details: dict[str, Any]) -> dict[str, Any]:
    """Return details with floats, as any JSON reader has them: nothing is computed from them."""
    try:
        found: dict[str, Any] = msgspec.json.decode(encode(details))
    except (msgspec.DecodeError, OverflowError) as error:
        raise ValueError(_OUT_OF_RANGE) from error
    return found
