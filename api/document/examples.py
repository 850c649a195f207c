"""An example for each JSON body and answer of the OpenAPI document, composed from its schemas.

A field shows its own example (`Field(examples=[…])`), else the value of its name
(`example_values.py`), else the simplest value of its type.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.answers.problems import JSON
from api.document.example_values import FIELDS, PARTS
from api.document.schema_names import REF

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str, "integer": int, "number": (int, float), "array": list, "object": dict,
    "boolean": bool, "null": type(None),
}  # fmt: skip
# Each format with its pattern and the plainest value.
_FORMATS: Final = {
    "date": (r"^\d{4}-\d\d-\d\d$", "2027-01-01"),
    "date-time": (r"^\d{4}-\d\d-\d\dT", "2027-01-01T09:00:00Z"),
    "uuid": (r"^[0-9a-f]{8}-", "01890a5d-ac96-774b-bcce-b302099a8057"),
}
Schema = Mapping[str, Any]
NONE: Final[Schema] = {}


def add(document: dict[str, Any]) -> None:
    """Add the examples to the document, beside those already there."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            if body := operation.get("requestBody"):
                _show(body, Writer(schemas, only_required=True))
            for answer in operation["responses"].values():
                _show(answer, Writer(schemas, only_required=False))


def _show(shown: dict[str, Any], writer: "Writer") -> None:
    content = shown.get("content", {}).get(JSON)
    if content and content.get("schema") and not content.keys() & {"example", "examples"}:
        content["examples"] = {
            name: {"value": writer.value("", schema)}
            for name, schema in writer.kinds(content["schema"])
        }


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes examples of schemas: required fields of a body, all fields of an answer."""

    schemas: Mapping[str, Schema]
    only_required: bool

    def kinds(self, schema: Schema) -> Iterator[tuple[str, Schema]]:
        """Return the variants of a body or answer by name; usually there is one."""
        for one in schema.get("anyOf", [schema]):
            if one.get("type") != "null":
                yield one.get("$ref", "").removeprefix(REF) or "example", one

    def value(self, name: str, schema: Schema, own: Schema = NONE) -> Any:
        """Return the example of a field; `own` are the values specific to its schema."""
        schema = self._resolved(schema)
        if name in own and self._takes(schema, own[name]):
            return own[name]
        if "examples" in schema:
            return schema["examples"][0]
        if name in FIELDS and self._takes(schema, FIELDS[name]):
            return FIELDS[name]
        if "anyOf" in schema:
            return self.value(name, schema["anyOf"][0])
        if "properties" in schema:
            return self._whole(schema)
        return self._plain(name, schema)

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        named = schema["$ref"].removeprefix(REF)
        return {**self.schemas[named], **schema, "title": named}

    def _whole(self, schema: Schema) -> dict[str, Any]:
        own = PARTS.get(schema["title"], {})
        shown = {*schema.get("required", ()), *own} if self.only_required else schema["properties"]
        return {
            name: self.value(name, field, own)
            for name, field in schema["properties"].items()
            if name in shown
        }

    def _plain(self, name: str, schema: Schema) -> Any:
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        match schema.get("type"):
            case "array":
                return [self.value(name, schema["items"])]
            case "object":
                return {}
            case "boolean":
                return False
            case "integer" | "number":
                return max(1, schema.get("minimum", 1))
            case "string" if "example" in schema:
                return schema["example"]
            case "string" if schema.get("format") in _FORMATS:
                return _FORMATS[schema["format"]][1]
        raise LookupError(
            f"the field {name!r} has no example: give it Field(examples=[…]), or its name a line in"
            f" api/document/example_values.py: {schema}"
        )

    def _takes(self, schema: Schema, value: Any) -> bool:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return any(self._takes(one, value) for one in schema["anyOf"])
        if "const" in schema or "enum" in schema:
            return value in (schema.get("enum") or [schema["const"]])
        kind = _TYPES.get(schema.get("type", ""), object)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return False
        match value:
            case str():
                known = _FORMATS.get(schema.get("format", ""), ("", ""))[0]
                return re.search(schema.get("pattern", known), value) is not None
            case list():
                return all(self._takes(schema["items"], one) for one in value)
            case dict():
                return self._holds(schema, value)
            case _:
                return True

    def _holds(self, schema: Schema, value: Mapping[str, Any]) -> bool:
        fields = schema.get("properties", {})
        others = [*schema.get("patternProperties", {}).values()]
        if isinstance(more := schema.get("additionalProperties"), dict):
            others.append(more)
        return value.keys() >= {*schema.get("required", ())} and all(
            self._takes(one, held)
            for name, held in value.items()
            for one in ([fields[name]] if name in fields else others)
        )
