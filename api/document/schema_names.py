"""Names for every body and answer of the OpenAPI document, so that generated clients read well.

FastAPI writes unions, lists and hand-written schemas inline, without a name. Here each becomes a
schema of its own, named after its operation.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from api.answers.problems import JSON

REF: Final = "#/components/schemas/"
"""The beginning of a reference to a schema of the document."""
_PAGE: Final = re.compile(rf"{REF}(Page(?:AsOf)?_(\w+)_)")


def add(document: dict[str, Any]) -> None:
    """Name the unnamed bodies and answers of all operations."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            if body := operation.get("requestBody"):
                _require(body, schemas)
            for kind, content in _contents(operation):
                name = _camel(operation["operationId"]) + kind
                content["schema"] = _named(_said(content["schema"]), name, schemas)
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "header":
                    parameter["name"] = parameter["name"].title()


def _named(schema: dict[str, Any], name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the reference to a schema; `name` is used when it has none."""
    if page := _PAGE.fullmatch(schema.get("$ref", "")):
        name = f"{page[2]}Page"
        schemas[name] = schemas.pop(page[1], None) or schemas[name]
    elif "$ref" in schema:
        return schema
    else:
        schemas[name] = _with_names(schema, schemas)
    return {"$ref": REF + name}


def _require(body: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Mark a body as required where one of its fields is."""
    schema = _said(body["content"][JSON]["schema"])
    named = schemas.get(schema.get("$ref", "").removeprefix(REF), schema)
    if named.get("required"):
        body["required"] = True


def _contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    answers = (("Answer", answer) for answer in operation["responses"].values())
    for kind, part in (("Body", operation.get("requestBody", {})), *answers):
        if JSON in part.get("content", {}):
            yield kind, part["content"][JSON]


def _said(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a present body, for a body that may be omitted."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else schema


def _with_names(part: Any, schemas: dict[str, Any], depth: int = 0) -> Any:
    """Return the schema, with nested objects moved to schemas named by their titles."""
    if isinstance(part, list):
        return [_with_names(one, schemas, depth + 1) for one in part]
    if not isinstance(part, dict):
        return part
    named = {key: _with_names(one, schemas, depth + 1) for key, one in part.items()}
    if depth and "properties" in named and "title" in named:
        schemas[named["title"]] = named
        return {"$ref": REF + named["title"]}
    return named


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))
