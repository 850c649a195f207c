"""Every body and answer of the OpenAPI document has an example, and each example is a valid one."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from api.answers.problems import MEDIA_TYPE
from api.document.openapi import api_routes
from billing.core.error_codes import CODES
from tests.api_document import APP, DOCUMENT

JSON = "application/json"
OPERATIONS = {
    operation["operationId"]: operation
    for operations in DOCUMENT["paths"].values()
    for operation in operations.values()
}
FORMATS = FormatChecker(formats=())
for form, read in (
    ("date", date.fromisoformat),
    ("date-time", datetime.fromisoformat),
    ("uuid", UUID),
):
    FORMATS.checks(form, raises=ValueError)(
        lambda value, read=read: value is None or bool(read(value))
    )
BODIES = [
    pytest.param(route, id=route.name) for route in api_routes(APP) if route.dependant.body_params
]


def examples(content: dict[str, Any]) -> dict[str, Any]:
    """The examples of a body or answer, by name."""
    if "example" in content:
        return {"example": content["example"]}
    return {name: one["value"] for name, one in content.get("examples", {}).items()}


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The body and answers of an operation: `body` or status, media type, content."""
    parts = {"body": operation.get("requestBody", {}), **operation["responses"]}
    for part, shown in parts.items():
        for media_type, content in shown.get("content", {}).items():
            yield part, media_type, content


def test_every_body_and_answer_has_examples_and_each_is_valid() -> None:
    for name, operation in OPERATIONS.items():
        for part, media_type, content in contents(operation):
            if media_type in {JSON, MEDIA_TYPE} and content["schema"] != {}:
                shown = examples(content)
                assert shown, f"{part} of {name} has no example"
                schema = content["schema"] | {"components": DOCUMENT["components"]}
                validator = Draft202012Validator(schema, format_checker=FORMATS)
                for value in shown.values():
                    assert [*validator.iter_errors(value)] == [], f"{part} of {name}"


@pytest.mark.parametrize("route", BODIES)
def test_the_route_takes_the_example_of_its_body(route: APIRoute) -> None:
    """Rules between fields are in no schema: one of two, not both, at least one."""
    (taken,) = route.dependant.body_params
    shown = examples(OPERATIONS[route.name]["requestBody"]["content"][JSON])
    accepts: Any = taken.field_info.annotation
    for value in shown.values():
        TypeAdapter(accepts).validate_python(value)


def test_the_example_of_undoing_a_price_names_two_versions() -> None:
    shown = examples(OPERATIONS["undo_price"]["requestBody"]["content"][JSON])
    assert all(one["wrong_version"] != one["right_version"] for one in shown.values())


def test_errors_are_problems_with_their_code() -> None:
    for operation in OPERATIONS.values():
        for part, media_type, content in contents(operation):
            if media_type == MEDIA_TYPE:
                assert content["schema"] == {"$ref": "#/components/schemas/ProblemBody"}
                for code, value in examples(content).items():
                    assert (value["code"], value["status"]) == (code, int(part))
                    assert code in CODES
            else:
                assert "ProblemBody" not in str(content["schema"])
