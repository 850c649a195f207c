"""A boolean of a request is true or false: neither a number nor a word stands for one."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from tests.api_document import APP

ROUTES = [one for one in APP.routes if isinstance(one, APIRoute) and one.body_field]
_NO_SCHEMA = {"metadata", "serialization", "config", "default"}


def lenient(schema: Any, name: str) -> Iterator[str]:
    """Yield the fields of a core schema that read a number or a word as a boolean."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from lenient(one, name)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "bool" and not schema.get("strict"):
        yield name
    for key, one in schema.items():
        # In a union with numbers and words a value keeps its own type.
        if key in _NO_SCHEMA or (key == "choices" and {"type": "str"} in one):
            continue
        if key == "fields" and isinstance(one, dict):
            for field, its in one.items():
                yield from lenient(its, field)
        else:
            yield from lenient(one, name)


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: one.name)
def test_no_number_or_word_stands_for_a_boolean(route: APIRoute) -> None:
    assert route.body_field is not None
    body: Any = route.body_field.field_info.annotation
    assert list(lenient(TypeAdapter(body).core_schema, "body")) == []
