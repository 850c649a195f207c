"""The document is one that generators of clients read well: everything in it has a name.

The clients themselves are built by tests/integration/client/test_generated_python.py and
test_typescript.py.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from tests.api_document import DOCUMENT

SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
OPERATIONS: Final[dict[str, Any]] = {
    operation["operationId"]: operation
    for many in DOCUMENT["paths"].values()
    for operation in many.values()
}
JSON: Final = "application/json"
PROBLEM: Final = {"application/problem+json": {"$ref": "#/components/schemas/ProblemBody"}}
# The same body says that it is well and that it is not.
HEALTH: Final = ("health", "503")


def media(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of each media type of a body or answer."""
    return {kind: content.get("schema") for kind, content in part.get("content", {}).items()}


def places(operation: dict[str, Any]) -> dict[str, Any]:
    """The body and the answers of an operation."""
    return {"body": operation.get("requestBody", {}), **operation["responses"]}


def test_every_operation_has_a_plain_name() -> None:
    assert [name for name in OPERATIONS if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []


def test_every_schema_has_a_plain_name() -> None:
    named = re.compile(r"[A-Z][A-Za-z]+(-Input|-Output)?")
    assert [name for name in SCHEMAS if not named.fullmatch(name)] == []
    titles = [schema["title"] for schema in SCHEMAS.values()]
    assert len(set(titles)) == len(titles)
    assert set(SCHEMAS) == set(titles)


def test_every_body_and_answer_in_json_is_a_schema_with_a_name() -> None:
    anonymous = [
        (name, place)
        for name, operation in OPERATIONS.items()
        for place, part in places(operation).items()
        for schema in [media(part).get(JSON)]
        if schema is not None and "$ref" not in schema
    ]
    assert anonymous == []


def test_every_error_of_every_route_is_a_problem() -> None:
    for name, operation in OPERATIONS.items():
        errors = {status for status in operation["responses"] if status >= "4"}
        assert "500" in errors, name
        for status in errors:
            if (name, status) != HEALTH:
                assert media(operation["responses"][status]) == PROBLEM, (name, status)


def test_an_object_in_a_schema_is_a_schema_of_its_own() -> None:
    inline = [
        path
        for path, schema in parts()
        if "properties" in schema and path.removeprefix("schemas/") not in SCHEMAS
    ]
    assert inline == []


def test_one_of_several_objects_is_named_or_says_which_it_is() -> None:
    for path, schema in parts():
        objects = [one for one in schema.get("anyOf", schema.get("oneOf", ())) if "$ref" in one]
        named = path.removeprefix("schemas/") in SCHEMAS
        assert len(objects) < 2 or named or "discriminator" in schema, path


def test_a_document_is_bytes() -> None:
    documents = [
        schema
        for operation in OPERATIONS.values()
        for answer in operation["responses"].values()
        for kind, schema in media(answer).items()
        if kind == "application/pdf"
    ]
    assert documents
    assert all(schema == {"type": "string", "format": "binary"} for schema in documents)


def test_a_next_action_says_what_it_may_hold() -> None:
    for answer in ("PurchaseAnswer", "SubscriptionAnswer", "InvoiceDetail", "SetupAnswer"):
        shown = SCHEMAS[answer]["properties"]["next_action"]
        assert shown["$ref"] == "#/components/schemas/NextAction"
    assert {"type", "client_secret", "url", "pay_url"} <= SCHEMAS["NextAction"]["properties"].keys()


def parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of the document and every part of it, with its path."""
    for name, schema in SCHEMAS.items():
        yield from _within(f"schemas/{name}", schema)
    for name, operation in OPERATIONS.items():
        for place, part in places(operation).items():
            for kind, schema in media(part).items():
                yield from _within(f"{name}/{place}/{kind}", schema or {})


def _within(path: str, part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        yield path, part
        for name, inner in part.items():
            if name not in ("example", "examples", "default", "enum"):
                yield from _within(f"{path}/{name}", inner)
    elif isinstance(part, list):
        for place, inner in enumerate(part):
            yield from _within(f"{path}/{place}", inner)
