"""Requests brought to their handler in a straight line, where nothing needs general resolution.

A route that asks for a caller, a key, ids in its path and one JSON body is read here by a plan made
at the start, in FastAPI's order and with its errors, at a fraction of what resolving it anew costs.
Other routes, and a body that is not plain JSON, go FastAPI's own way.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import Request, Response
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

BODY: Final = "billing.body"
"""Where the scope has the whole body, for who need not wait for it."""
_JSON: Final = b"application/json"
_NOT_PLAIN: Final = (msgspec.DecodeError, ValueError, RecursionError)

Sent = dict[bytes, bytes]


class _Step(NamedTuple):
    """One call and what it is given: the outcome of others, words of the path, headers."""

    name: str
    call: Callable[..., Awaitable[Any]]
    needs: tuple["_Step", ...]
    words: tuple[str, ...]
    headers: tuple[tuple[str, bytes], ...]
    request: str | None

    async def given(self, request: Request, sent: Sent) -> dict[str, Any]:
        """The arguments of the call, but for a body."""
        found: dict[str, Any] = {}
        for need in self.needs:
            found[need.name] = await need.call(**await need.given(request, sent))
        for word in self.words:
            found[word] = request.scope["path_params"][word]
        for name, header in self.headers:
            value = sent.get(header)
            found[name] = None if value is None else value.decode("latin-1")
        if self.request is not None:
            found[self.request] = request
        return found


class StraightRoute(APIRoute):
    """A route that takes its requests straight where its handler allows it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        step, fields = _step(self.dependant, bodies=1), self.dependant.body_params
        if step is not None and not self._embed_body_fields and _answers(endpoint):
            self.app = _with_body(step, fields[0], self.app) if fields else _bare(step)


def _bare(step: _Step) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        answer: Response = await step.call(**await step.given(request, _sent(scope)))
        await answer(scope, receive, send)

    return app


def _with_body(step: _Step, field: ModelField, general: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sent, raw = _sent(scope), scope.get(BODY)
        body = _plain(raw) if raw and sent.get(b"content-type") == _JSON else _NOT_PLAIN
        if body is _NOT_PLAIN:
            await general(scope, receive, send)
            return
        given = await step.given(Request(scope, receive, send), sent)
        given[field.name], errors = field.validate(body, loc=("body",))
        if errors:
            raise RequestValidationError(errors)
        answer: Response = await step.call(**given)
        await answer(scope, receive, send)

    return app


def _plain(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except _NOT_PLAIN:
        return _NOT_PLAIN


def _sent(scope: Scope) -> Sent:
    """Of a repeated header the first counts."""
    return dict(reversed(scope["headers"]))


def _answers(endpoint: Callable[..., Any]) -> bool:
    """Whether it makes its response by itself."""
    made = inspect.signature(endpoint).return_annotation
    return isinstance(made, type) and issubclass(made, Response)


def _step(asked: Dependant, *, bodies: int = 0) -> _Step | None:
    """The plan of a call; None where FastAPI must resolve some of it, or too many bodies."""
    needs = [_step(need) for need in asked.dependencies]
    texts = [*asked.path_params, *asked.header_params]
    if asked.call is None or not _is_async(asked.call) or _asks_for_more(asked):
        return None
    if None in needs or len(asked.body_params) > bodies or not all(map(_is_text, texts)):
        return None
    return _Step(
        name=asked.name or "",
        call=asked.call,
        needs=tuple(need for need in needs if need is not None),
        words=tuple(field.name for field in asked.path_params),
        headers=tuple((field.name, field.alias.encode()) for field in asked.header_params),
        request=asked.request_param_name,
    )


def _is_async(call: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _is_text(field: ModelField) -> bool:
    """Nothing to check: any text of the path, any header or none."""
    known = field.field_info
    either = ((str, True), (str | None, False))
    return not known.metadata and (known.annotation, known.is_required()) in either


def _asks_for_more(asked: Dependant) -> bool:
    return any(
        (
            asked.query_params,
            asked.cookie_params,
            asked.response_param_name,
            asked.background_tasks_param_name,
            asked.security_scopes_param_name,
            asked.http_connection_param_name,
            asked.websocket_param_name,
            asked.concurrency,
        )
    )
