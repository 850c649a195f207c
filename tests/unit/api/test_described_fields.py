"""The API document says of each parameter and field what it means."""

from collections.abc import Iterator
from typing import Any

from api.document.field_meanings import FIELDS
from tests.api_document import DOCUMENT

_SCHEMAS = DOCUMENT["components"]["schemas"]
_OPERATIONS = [one for many in DOCUMENT["paths"].values() for one in many.values()]


def undescribed(part: Any, seen: set[str], owner: str = "") -> Iterator[str]:
    """The fields without a description of all schemas that a part of the document leads to."""
    if isinstance(part, list):
        for one in part:
            yield from undescribed(one, seen, owner)
    elif isinstance(part, dict):
        if (owned := part.get("$ref", "").rpartition("/")[2]) and owned not in seen:
            seen.add(owned)
            yield from undescribed(_SCHEMAS[owned], seen, owned)
        for name, field in part.get("properties", {}).items():
            if not field.get("description"):
                yield f"{owner}.{name}"
        for one in part.values():
            yield from undescribed(one, seen, owner)


def test_each_parameter_says_what_it_means() -> None:
    assert [
        f"{operation['operationId']}.{one['name']}"
        for operation in _OPERATIONS
        for one in operation.get("parameters", ())
        if not one.get("description")
    ] == []


def test_each_field_of_a_body_says_what_it_means() -> None:
    bodies = [operation.get("requestBody", {}).get("content", {}) for operation in _OPERATIONS]
    schemas = [content["schema"] for body in bodies for content in body.values()]
    assert sorted(set(undescribed(schemas, set()))) == []


def test_each_field_of_an_answer_says_what_it_means() -> None:
    answers = [one.get("content", {}) for each in _OPERATIONS for one in each["responses"].values()]
    schemas = [content["schema"] for one in answers for content in one.values()]
    assert sorted(set(undescribed(schemas, set()))) == []


def test_a_meaning_is_that_of_some_field() -> None:
    said = {
        (name, field.get("description"))
        for schema in _SCHEMAS.values()
        for name, field in schema.get("properties", {}).items()
    }
    assert FIELDS.items() - said == set()
