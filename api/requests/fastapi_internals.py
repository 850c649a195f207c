"""FastAPI's private names, all in this module: no other one imports them.

FastAPI is pinned; `tests/unit/api/test_fastapi_internals.py` fails on an upgrade that changes one
of these names or adds a source of arguments that is not read here.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, request_response
from pydantic import TypeAdapter

from api.requests.exact_json import ExactRequest


class Dependency(NamedTuple):
    """One call that FastAPI makes for a route, and the parts of the request it passes to it."""

    name: str
    call: Callable[..., Awaitable[Any]]
    dependencies: tuple["Dependency", ...]
    path_names: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    request_name: str | None
    bodies: tuple[ModelField, ...]


class Unsupported(TypeError):
    """The call takes an argument that only FastAPI itself resolves."""


def bind(app: FastAPI, route: APIRoute) -> APIRoute:
    """Return a copy of the route, not nested, that honours `app.dependency_overrides`."""
    bound = copy(route)
    bound.dependency_overrides_provider = app
    answer = bound.get_route_handler()

    async def exactly(request: Request) -> Response:
        return await answer(ExactRequest(request.scope, request.receive))

    bound.app = request_response(exactly)
    return bound


def dependency_calls(route: APIRoute) -> list[Any]:
    """Return the handler and every dependency below it, such as the route's gate."""
    return [dependant.call for dependant in _walk(route.dependant)]


_queries: Final[dict[Any, frozenset[str]]] = {}


def query_names(route: APIRoute) -> frozenset[str]:
    """Return the route's query parameters."""
    known = _queries.get(route.endpoint)
    if known is None:
        found = (field.alias for part in _walk(route.dependant) for field in part.query_params)
        known = _queries[route.endpoint] = frozenset(found)
    return known


def list_names(route: APIRoute) -> frozenset[str]:
    """Return the query parameters that the route accepts more than once."""
    return frozenset(
        field.alias
        for part in _walk(route.dependant)
        for field in part.query_params
        if field_annotation_is_sequence(field.field_info.annotation)
    )


_amounts: Final[dict[Any, frozenset[str]]] = {}


def amount_names(route: APIRoute) -> frozenset[str]:
    """Return the fields of a route's body that take a number or a decimal in a string."""
    known = _amounts.get(route.endpoint)
    if known is None:
        body = route.body_field
        kind: Any = body.field_info.annotation if body else None
        schema = TypeAdapter(kind).json_schema() if body else {}
        known = _amounts[route.endpoint] = frozenset(_amounts_in(schema))
    return known


def _amounts_in(schema: Any) -> Iterator[str]:
    parts = schema.values() if isinstance(schema, dict) else schema
    for part in parts if isinstance(parts, Iterable) and not isinstance(parts, str) else ():
        yield from _amounts_in(part)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        for name, field in schema["properties"].items():
            if _takes_numbers(field):
                yield name


def _takes_numbers(field: Any) -> bool:
    parts = field.get("anyOf", ())
    return {"type": "number"} in parts or any(map(_takes_numbers, parts))


def endpoint_of(route: APIRoute) -> Dependency:
    """Return the handler with its dependencies. Raises `Unsupported`."""
    found = _read(route.dependant)
    if len(found.bodies) > 1 or (found.bodies and route.body_field is not found.bodies[0]):
        raise Unsupported(f"{route.name}: more than one body, or an embedded one")
    return found


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _walk(inner)


def _read(dependant: Dependant) -> Dependency:
    call = dependant.call
    name = dependant.name or str(getattr(call, "__name__", ""))
    if call is None or not _is_async(call):
        raise Unsupported(f"{name}: not an async function")
    if _needs_fastapi(dependant):
        raise Unsupported(
            f"{name}: takes more than headers, path strings, bodies, the request and an"
            " optional query"
        )
    return Dependency(
        name=name,
        call=call,
        dependencies=tuple(map(_read, dependant.dependencies)),
        path_names=tuple(field.name for field in dependant.path_params),
        headers=tuple((field.name, field.alias) for field in dependant.header_params),
        request_name=dependant.request_param_name,
        bodies=tuple(dependant.body_params),
    )


def _is_async(call: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _needs_fastapi(dependant: Dependant) -> bool:
    texts = (*dependant.path_params, *dependant.header_params)
    return not (dependant.use_cache and all(map(_is_text, texts))) or any(
        (
            any(field.field_info.is_required() for field in dependant.query_params),
            dependant.cookie_params,
            dependant.response_param_name,
            dependant.background_tasks_param_name,
            dependant.security_scopes_param_name,
            dependant.own_oauth_scopes,
            dependant.http_connection_param_name,
            dependant.websocket_param_name,
            dependant.concurrency,
        )
    )


def _is_text(field: ModelField) -> bool:
    """Return True for text that needs no validation: in the path, or an optional header."""
    known = field.field_info
    unchecked = ((str, True), (str | None, False))
    return not known.metadata and (known.annotation, known.is_required()) in unchecked
