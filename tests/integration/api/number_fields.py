"""Every number in the bodies of the OpenAPI document: the way to it, and its extremes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from api.document.examples import Schema, Writer
from api.document.schema_names import REF
from tests.api_document import DOCUMENT

Step = str | int
_SCHEMAS: Final = DOCUMENT["components"]["schemas"]
_EXAMPLES: Final = Writer(_SCHEMAS, only_required=True)
# Keys of maps, by the pattern of the key, else by the map's own name.
_KEYS: Final = {
    "^[A-Z]{3}$": "USD", "^([A-Z]{3}|CREDIT)$": "CREDIT", "prices": "month", "limits": "api_calls",
}  # fmt: skip
_GRADED: Final = {
    "model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "2"}],
}  # fmt: skip
# What a number needs beside it, by the name of its field, else by that of the schema and the field.
_NEEDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tiers": _GRADED,
    "percentage": {"model": "percentage"},
    "package_size": {"model": "package", "unit_price": "1"},
    "free_units": {"unit_price": "1"},
    "units": {"prices": {"USD": 1}},
    "span_seconds": {"window": "rolling"},
    "days_until_due": {"collection": "send_invoice"},
    "Limit-Input prices": {"then": "overage"},
    "LimitBody prices": {"then": "overage"},
    "ContractLimitBody prices": {"then": "overage"},
    "SteerBody days": {"act": "extend_dunning"},
    "Rollover credits": {"policy": "cap"},
    "NewCoupon amounts": {"percent": None},
    "NewCoupon periods": {"duration": "repeating"},
    "ApproveBody amount_cents": {"amount_minor": None},
    "CreditNoteBody lines": {"amount_cents": None},
}


class Number(NamedTuple):
    """A number in a body: its schema, and the way to it with the schema of each thing on it."""

    schema: Schema
    way: tuple[tuple[Schema, Step], ...]

    def __str__(self) -> str:
        return ".".join(str(step) for _, step in self.way)

    def put(self, body: Any, value: Any) -> Any:
        """Return the body with this value, and with all that such a number needs beside it."""
        return _put(body, self.way, value)

    def extremes(self) -> list[Any]:
        """Return the values at and beyond the bounds; the largest that may be taken come first."""
        if self.schema["type"] == "string":
            return [
                "999999999999999.999999999999", "999999999999999", "0.000000000001",
                "1000000000000000", "9223372036854775807", "2147483648", "0", "-1",
                "0.0000000000001",
            ]  # fmt: skip
        schema, beyond = self.schema, 10**18
        most = int(schema.get("maximum", schema.get("exclusiveMaximum", beyond + 1) - 1))
        least = int(schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
        asked = [most, least, most + 1, 0, -1, 2**31, 2**63 - 1, beyond]
        return list(dict.fromkeys(asked))


def numbers_of(schema: Schema) -> list[Number]:
    """Return every number of a body, in maps and lists too; decimals may also be texts."""
    found: dict[str, Number] = {}
    for one in _numbers(schema, ()):
        kept = found.setdefault(str(one), one)
        if one.schema["type"] == "string" and kept.schema["type"] != "string":
            found[str(one)] = one
    return list(found.values())


def _numbers(schema: Schema, way: tuple[tuple[Schema, Step], ...]) -> Iterator[Number]:
    if "$ref" in schema:
        named = schema["$ref"].removeprefix(REF)
        schema = {**_SCHEMAS[named], "title": named}
    for one in schema.get("anyOf", ()):
        yield from _numbers(one, way)
    is_decimal = schema.get("type") == "string" and r"\d{1,15}" in schema.get("pattern", "")
    if is_decimal or schema.get("type") in ("integer", "number"):
        yield Number(schema, way)
    for step, held in _parts(schema, way):
        yield from _numbers(held, (*way, (schema, step)))


def _parts(schema: Schema, way: Sequence[tuple[Schema, Step]]) -> Iterator[tuple[Step, Schema]]:
    yield from schema.get("properties", {}).items()
    if "items" in schema:
        yield 0, schema["items"]
    for pattern, held in schema.get("patternProperties", {}).items():
        yield _KEYS.get(pattern, "standard"), held
    if isinstance(held := schema.get("additionalProperties"), dict):
        yield _KEYS.get(str(way[-1][1]), "any"), held


def _put(body: Any, way: Sequence[tuple[Schema, Step]], value: Any) -> Any:
    if not way:
        return value
    (schema, step), rest = way[0], way[1:]
    if isinstance(step, int):
        items = body if isinstance(body, list) and body else [None]
        return [_put(items[0], rest, value), *items[1:]]
    held = body if isinstance(body, dict) else _EXAMPLES.value("", schema)
    needs = _NEEDS.get(step) or _NEEDS.get(f"{schema.get('title')} {step}") or {}
    held = {**held, **needs}
    return {**held, step: _put(held.get(step), rest, value)}
