"""The fields of catalog.yaml as Markdown, from the models that read it."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from billing.catalog.plans.spec import CatalogSpec
from cli.pages import show

HEADING: Final = "## Every field"
_INTRO: Final = f"""\
{HEADING}

Made by `billing catalog fields` from the models that read the file; a test keeps them equal.
`…[]` is each of a list, `<key>` a name of your own. An unknown field is refused.
"""
_AMOUNT: Final = "decimal in a string, or whole number"
_AMOUNT_IS: Final = ("string", "number")
"""An exact decimal may be written as either; a float is refused."""
_KEYS: Final = {r"^[A-Z]{3}$": "<currency>", r"^([A-Z]{3}|CREDIT)$": "<currency>"}
_BARE: Final = {"boolean": "true or false", "null": "null", "number": "number"}
_NOT_IN_A_LINK: Final = re.compile(r"[^\w-]")
_BOUNDS: Final = (
    ("minimum", "from {}"), ("exclusiveMinimum", "above {}"), ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
)  # fmt: skip

Schema = dict[str, Any]
Places = dict[str, str]


def render() -> str:
    """Return the generated part of docs/catalog.md, with its heading."""
    whole = CatalogSpec.model_json_schema()
    places = _places(whole)
    parts = [_table("catalog.yaml", whole, places)]
    parts += [_table(place, whole["$defs"][name], places) for name, place in places.items()]
    return "\n".join([_INTRO, *parts])


def _places(whole: Schema) -> dict[str, str]:
    """Return each model in file order, with the first place where it is used."""
    found: dict[str, str] = {}
    waiting = list(_inside(whole, ""))
    while waiting:
        name, place = waiting.pop(0)
        if name not in found:
            found[name] = place
            waiting = [*_inside(whole["$defs"][name], f"{place}."), *waiting]
    return found


def _inside(model: Schema, path: str) -> Iterator[tuple[str, str]]:
    for field, schema in model["properties"].items():
        yield from _models(schema, f"{path}{field}")


def _models(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield the models in a field, each with its place in the file."""
    if "$ref" in schema:
        yield _name(schema), path
    for one in schema.get("anyOf", ()):
        yield from _models(one, path)
    if isinstance(schema.get("items"), dict):
        yield from _models(schema["items"], f"{path}[]")
    for key, values in _values(schema):
        yield from _models(values, f"{path}.{key}")


def _table(title: str, model: Schema, places: Places) -> str:
    lines = [f"### `{title}`", "", " ".join(model["description"].split()), ""]
    lines += ["| field | type | default | meaning, with its unit |", "|---|---|---|---|"]
    for name, field in model["properties"].items():
        default = _default(field) if name not in model.get("required", ()) else "required"
        meaning = " ".join(field["description"].split())
        lines.append(f"| `{name}` | {_type(field, places)} | {default} | {meaning} |")
    return "\n".join([*lines, ""])


def _default(field: Schema) -> str:
    """Return the default as text; an empty list or mapping is shown as none."""
    value = field["default"]
    if "$ref" in field:
        return "those of its fields"
    return "none" if value in ([], {}, "") else f"`{json.dumps(value)}`"


def _type(schema: Schema, places: Places) -> str:
    """Return a type as text, with its bounds."""
    if "$ref" in schema:
        place = places[_name(schema)]
        return f"[`{place}`](#{_NOT_IN_A_LINK.sub('', place.lower())})"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        several = [one for one in schema["anyOf"] if one.get("type") not in _AMOUNT_IS]
        words = [_type(one, places) for one in several]
        if len(schema["anyOf"]) - len(several) == len(_AMOUNT_IS):
            words.insert(0, _AMOUNT)
        else:
            words = [_type(one, places) for one in schema["anyOf"]]
        return " or ".join(dict.fromkeys(words))
    return _plain(schema, places)


def _plain(schema: Schema, places: Places) -> str:
    kind = schema["type"]
    if kind == "array":
        return f"list of {_type(schema['items'], places)}"
    if kind == "object":
        of = [f"{key}: {_type(values, places)}" for key, values in _values(schema)]
        return f"mapping of `{of[0].partition(':')[0]}` to {of[0].partition(': ')[2]}"
    if kind == "integer":
        return "whole number" + _bounds(schema)
    if kind == "string":
        most = schema.get("maxLength")
        shown = "date" if schema.get("format") == "date" else "text"
        return f"{shown} of up to {most} characters" if most else shown
    return _BARE[kind]


def _bounds(schema: Schema) -> str:
    """Return bounds such as `from 0 to 730`, without those too large to matter."""
    if "exclusiveMinimum" in schema:
        schema = {name: value for name, value in schema.items() if name != "minimum"}
    told = [
        words.format(schema[name]) for name, words in _BOUNDS if schema.get(name, 10**15) < 10**9
    ]
    return f", {' '.join(told)}" if told else ""


def _values(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Return the name of a mapping's keys, and their values."""
    for pattern, values in schema.get("patternProperties", {}).items():
        yield _KEYS.get(pattern, "<key>"), values
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        yield "<interval>", more


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def fields() -> None:
    """Print every field of catalog.yaml, with its type and default."""
    show(render())
