"""Fast path past FastAPI's dependency resolution, only for handlers marked `@fast`.

Such a handler takes headers, path strings, at most one JSON body, and async dependencies that take
the same; it returns a `Response`. Its calls are planned once, at the start: in process `POST
/usage/record` takes 38 µs instead of 95. Only routes that a benchmark measures are marked. FastAPI
itself still serves the route when the body is not plain JSON, when there is a query, and whenever
`app.dependency_overrides` is set. Without a query its parameters have their defaults.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.requests import fastapi_internals
from api.requests.exact_json import decode
from api.requests.fastapi_internals import Dependency, Unsupported

BODY: Final = "billing.body"
"""Scope key under which `RequestLimitMiddleware` leaves the whole body."""
_JSON: Final = b"application/json"
_NOT_PLAIN: Final = (msgspec.DecodeError, ValueError, RecursionError)
_marked: Final[set[Callable[..., Any]]] = set()
_readers: Final[dict[Callable[..., Any], Callable[[bytes], Any]]] = {}

Headers = dict[bytes, bytes]
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])


class _Call(NamedTuple):
    """One planned call. `results` pairs a parameter with the number of the call that returns it."""

    call: Callable[..., Awaitable[Any]]
    results: tuple[tuple[str, int], ...]
    path_names: tuple[str, ...]
    headers: tuple[tuple[str, bytes], ...]
    request_name: str | None

    def arguments(self, request: Request, headers: Headers, results: list[Any]) -> dict[str, Any]:
        """Return the arguments of the call, without the body."""
        found = {name: results[number] for name, number in self.results}
        for name in self.path_names:
            found[name] = request.scope["path_params"][name]
        for name, header in self.headers:
            value = headers.get(header)
            found[name] = None if value is None else value.decode("latin-1")
        if self.request_name is not None:
            found[self.request_name] = request
        return found


class _Plan:
    """The calls of a route in FastAPI's order, each dependency once; the last is the handler."""

    def __init__(self, endpoint: Dependency) -> None:
        self._numbers: dict[Callable[..., Any], int] = {}
        self.calls: list[_Call] = []
        self._add(endpoint)
        self.handler = self.calls.pop()

    def _add(self, asked: Dependency) -> int:
        if asked.call not in self._numbers:
            results = tuple((one.name, self._add(one)) for one in asked.dependencies)
            headers = tuple((name, header.lower().encode()) for name, header in asked.headers)
            self._numbers[asked.call] = len(self.calls)
            self.calls.append(
                _Call(asked.call, results, asked.path_names, headers, asked.request_name)
            )
        return self._numbers[asked.call]

    async def arguments(self, request: Request, headers: Headers) -> dict[str, Any]:
        """Make every call but the last; return the arguments of the last."""
        results: list[Any] = []
        for one in self.calls:
            results.append(await one.call(**one.arguments(request, headers, results)))
        return self.handler.arguments(request, headers, results)


def fast(handler: Handler) -> Handler:
    """Mark a handler for the fast path; `serve` refuses at startup a handler that does not fit."""
    _marked.add(handler)
    return handler


def reading(read: Callable[[bytes], Any]) -> Callable[[Handler], Handler]:
    """Read a fast handler's body with `read`, which returns None for bodies left to FastAPI.

    What it does read must equal what FastAPI would read.
    """

    def mark(handler: Handler) -> Handler:
        _readers[handler] = read
        return handler

    return mark


def serve(app: FastAPI, route: APIRoute) -> APIRoute:
    """Return the route as `app` serves it. Raises `Unsupported` for a marked one that is unfit."""
    bound = fastapi_internals.bind(app, route)
    if bound.endpoint in _marked:
        bound.app = _fast(app, bound)
    return bound


def _fast(app: FastAPI, route: APIRoute) -> ASGIApp:
    endpoint, general = fastapi_internals.endpoint_of(route), route.app
    if not _returns_response(route.endpoint):
        raise Unsupported(f"{route.name}: returns no Response of its own")
    plan, field = _Plan(endpoint), endpoint.bodies[0] if endpoint.bodies else None
    read = _readers.get(route.endpoint, _unread)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"]:
            await general(scope, receive, send)
            return
        headers, body, known = _headers(scope), None, None
        if field is not None:
            raw = scope.get(BODY) if headers.get(b"content-type") == _JSON else None
            known = read(raw) if raw else None
            body = known or (_plain(raw) if raw else _NOT_PLAIN)
        if body is _NOT_PLAIN or app.dependency_overrides:
            await general(scope, receive, send)
            return
        arguments = await plan.arguments(Request(scope, receive, send), headers)
        if known is not None and field is not None:
            arguments[field.name] = known
        elif field is not None:
            arguments[field.name], errors = field.validate(body, loc=("body",))
            if errors:
                raise RequestValidationError(errors)
        response: Response = await plan.handler.call(**arguments)
        await response(scope, receive, send)

    return answer


def _unread(_: bytes) -> None:
    """Read no body: FastAPI reads it instead."""


def _plain(raw: bytes) -> Any:
    try:
        return decode(raw)
    except _NOT_PLAIN:
        return _NOT_PLAIN


def _headers(scope: Scope) -> Headers:
    """Return the headers by name; the first of a repeated one counts."""
    return dict(reversed(scope["headers"]))


def _returns_response(handler: Callable[..., Any]) -> bool:
    returned = inspect.signature(handler).return_annotation
    return isinstance(returned, type) and issubclass(returned, Response)
