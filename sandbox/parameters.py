"""Declare the parameters of an operation, and check a decoded form against them.

Each shape reads one value and raises the 400 that Stripe would answer; unknown names are refused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox import problems
from sandbox.shapes import Json

Read = Callable[[Any, str], Any]
METADATA_KEYS: Final = 50
METADATA_KEY_LENGTH: Final = 40
METADATA_VALUE_LENGTH: Final = 500


@dataclass(frozen=True)
class Shape:
    """One parameter: how it is read, and whether it must be there."""

    read: Read
    required: bool = False
    takes: str = ""
    """Its kind, for tests: text, integer, boolean, enum, list, map, object, gone."""
    choices: tuple[str, ...] = ()
    fields: Mapping[str, "Shape"] | None = None


Fields = Mapping[str, Shape]


def required(shape: Shape) -> Shape:
    """Return this shape, refused when absent."""
    return Shape(shape.read, True, shape.takes, shape.choices, shape.fields)


def clearable(shape: Shape) -> Shape:
    """Return this shape; an empty string unsets it and is read as None."""

    def read(raw: Any, name: str) -> Any:
        return None if raw == "" else shape.read(raw, name)

    return Shape(read, shape.required, shape.takes, shape.choices, shape.fields)


def text(limit: int = 5_000) -> Shape:
    """A string that is not empty."""

    def read(raw: Any, name: str) -> str:
        value = _scalar(raw, name, "string")
        if len(value) > limit:
            raise problems.invalid(f"Invalid string: {name} is longer than {limit}.", name)
        return value

    return Shape(read, takes="text")


def pattern(expression: str, what: str, code: str | None = None) -> Shape:
    """A string of one form: an address, a currency."""
    compiled = re.compile(expression)

    def read(raw: Any, name: str) -> str:
        value = _scalar(raw, name, "string")
        if not compiled.fullmatch(value):
            raise problems.invalid(f"Invalid {what}: {value}", name, code)
        return value

    return Shape(read, takes="text")


def currency() -> Shape:
    """Three letters, read in lower case."""
    shape = pattern(r"[A-Za-z]{3}", "currency")
    return Shape(lambda raw, name: shape.read(raw, name).lower(), takes="text")


def url() -> Shape:
    """An address a browser can be sent to."""
    return pattern(r"https?://\S+", "URL", "url_invalid")


def integer(least: int | None = None, most: int | None = None) -> Shape:
    """A whole number within bounds."""

    def read(raw: Any, name: str) -> int:
        value = _scalar(raw, name, "integer")
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise problems.invalid(f"Invalid integer: {value}", name, "parameter_invalid_integer")
        number = int(value)
        if least is not None and number < least:
            message = f"This value must be greater than or equal to {least}."
            raise problems.invalid(message, name, "parameter_invalid_integer")
        if most is not None and number > most:
            message = f"This value must be less than or equal to {most}."
            raise problems.invalid(message, name, "parameter_invalid_integer")
        return number

    return Shape(read, takes="integer")


def boolean() -> Shape:
    """The words true and false."""

    def read(raw: Any, name: str) -> bool:
        value = _scalar(raw, name, "boolean")
        if value not in ("true", "false"):
            raise problems.invalid(f"Invalid boolean: {value}", name)
        return value == "true"

    return Shape(read, takes="boolean")


def one_of(*choices: str) -> Shape:
    """One word of a closed list."""

    def read(raw: Any, name: str) -> str:
        value = _scalar(raw, name, "string")
        if value not in choices:
            listed = ", ".join(choices[:-1]) + f" or {choices[-1]}" if choices[1:] else choices[0]
            raise problems.invalid(f"Invalid {name}: must be one of {listed}", name)
        return value

    return Shape(read, takes="enum", choices=choices)


def either(*shapes: Shape) -> Shape:
    """The first shape that reads the value; the last one's refusal otherwise."""

    def read(raw: Any, name: str) -> Any:
        for shape in shapes[:-1]:
            try:
                return shape.read(raw, name)
            except problems.ApiError:
                continue
        return shapes[-1].read(raw, name)

    return Shape(read, takes="either")


def list_of(shape: Shape, most: int = 100) -> Shape:
    """`name[0]=…&name[1]=…` in the order of the numbers."""

    def read(raw: Any, name: str) -> list[Any]:
        if not isinstance(raw, dict) or not all(key.isdigit() for key in raw):
            raise problems.invalid("Invalid array", name)
        if len(raw) > most:
            raise problems.invalid(f"Invalid array: at most {most} entries.", name)
        ordered = sorted(raw.items(), key=lambda pair: int(pair[0]))
        return [shape.read(value, f"{name}[{key}]") for key, value in ordered]

    return Shape(read, takes="list", fields=shape.fields, choices=shape.choices)


def mapping() -> Shape:
    """Metadata: free keys, string values within Stripe's limits."""

    def read(raw: Any, name: str) -> Json:
        if not isinstance(raw, dict):
            raise problems.invalid("Invalid object", name)
        if len(raw) > METADATA_KEYS:
            raise problems.invalid(f"Metadata has at most {METADATA_KEYS} keys.", name)
        for key, value in raw.items():
            if not isinstance(value, str):
                message = f"Metadata values must be strings, but for key '{key}' you passed a map."
                raise problems.invalid(message, name)
            if len(key) > METADATA_KEY_LENGTH or len(value) > METADATA_VALUE_LENGTH:
                message = (
                    f"Metadata keys have at most {METADATA_KEY_LENGTH} characters, values"
                    f" {METADATA_VALUE_LENGTH}."
                )
                raise problems.invalid(message, f"{name}[{key}]")
        return dict(raw)

    return Shape(read, takes="map")


def record(**fields: Shape) -> Shape:
    """A nested object of declared fields."""
    return Shape(lambda raw, name: _read_fields(fields, raw, name), takes="object", fields=fields)


def gone() -> Shape:
    """A parameter that this API version no longer accepts."""

    def read(_raw: Any, name: str) -> Any:
        raise problems.payment_method_types_gone(name)

    return Shape(read, takes="gone")


def _scalar(raw: Any, name: str, what: str) -> str:
    if not isinstance(raw, str):
        raise problems.invalid(f"Invalid {what}: {name}", name)
    if raw == "":
        raise problems.empty_parameter(name)
    return raw


def _read_fields(fields: Fields, raw: Any, name: str = "") -> Json:
    if not isinstance(raw, dict):
        raise problems.invalid("Invalid object", name)
    found: Json = {}
    for key, value in raw.items():
        full = f"{name}[{key}]" if name else key
        shape = fields.get(key)
        if shape is None:
            raise problems.unknown_parameter(full)
        found[key] = shape.read(value, full)
    for key, shape in fields.items():
        if shape.required and key not in found:
            raise problems.missing_parameter(f"{name}[{key}]" if name else key)
    return found


EXPAND = list_of(text())
METADATA = mapping()
CREATED = either(
    record(gt=integer(), gte=integer(), lt=integer(), lte=integer()),
    integer(),
)
PAGE: Fields = {
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
}


def read(fields: Fields, raw: Json) -> Json:
    """Check a decoded form against the declared fields; `expand` is always accepted.

    Returns typed values under the same names. Raises 400 parameter_unknown,
    parameter_missing, parameter_invalid_integer, parameter_invalid_empty or a plain 400.
    """
    return _read_fields({"expand": EXPAND, **fields}, raw)
