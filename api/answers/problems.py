"""Errors as RFC 9457 problem+json: one body for every error, and the exception handlers.

`responses(...)` documents the codes of a route, with an example each.
"""

import logging
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import exc
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.service import RPCError

from api.answers import content_types
from api.answers.problem_codes import GENERIC
from billing.core import context
from billing.core.database_errors import database_is_away, sqlstate_of
from billing.core.database_words import database_words
from billing.core.error_codes import CODES, Problem
from billing.core.errors import BillingError, wrong_field
from workflows.client import UNANSWERED, never_connected

JSON: Final = "application/json"
MEDIA_TYPE: Final = "application/problem+json"
_ALWAYS: Final = (401, 403, 422, 429, 500, 503, "DATABASE_UNAVAILABLE")
# Codes of every route that accepts an Idempotency-Key.
KEYED: Final = ("IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_FLIGHT")
UNAVAILABLE: Final = frozenset({"DATABASE_UNAVAILABLE", "TEMPORAL_UNAVAILABLE", "UNAVAILABLE"})
"""Codes of a part that is away or busy; the request itself may have been carried out."""
_RETRY_SECONDS: Final = {409: "1", 503: "2"}
# Deadlock, serialization failure, statement and lock timeout, a row that another request wrote at
# the same time: rolled back, may be retried.
_BUSY: Final = frozenset({"40P01", "40001", "57014", "55P03", "23505"})
_OF_DATABASE: Final = (exc.DBAPIError, exc.TimeoutError, psycopg.Error)
_logger = logging.getLogger("api.problems")


class FieldProblem(BaseModel):
    """A wrong field: its dotted path, and why it is wrong."""

    field: str = Field(description="The dotted path of the field")
    message: str = Field(description="Why it is wrong")


class ProblemBody(BaseModel):
    """The body of every error; some codes add fields."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The code as a URN")
    title: str = Field(description="The error in a few words")
    status: int = Field(description="The HTTP status")
    code: str = Field(description="The stable code of the error")
    detail: str = Field(description="What is wrong this time, in words")
    correlation_id: str | None
    errors: list[FieldProblem] | None = Field(
        None, description="What is wrong with which field; null: it is not about fields"
    )


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Response:
    """Return the response for a refused request."""
    content = body(status, code, detail, fields or {})
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def body(status: int, code: str, detail: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a problem; `fields` cannot replace the standard ones."""
    return {
        **fields,
        "type": f"urn:durable-billing:problem:{code.lower().replace('_', '-')}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "correlation_id": context.correlation_id.get(),
    }


def from_error(error: BillingError) -> Response:
    """Return the response for a domain error."""
    headers = {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    fields = dict(error.fields)
    retry = fields.pop("retry_after", None)
    if retry is not None:
        headers["Retry-After"] = str(retry)
    elif error.code == "IDEMPOTENCY_IN_FLIGHT" or error.http_status == 503:
        headers["Retry-After"] = _RETRY_SECONDS[error.http_status]
    return problem(error.http_status, error.code, error.detail, headers=headers, fields=fields)


def responses(*items: int | str, manual: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI entries for the codes a route may answer, by code or by generic status.

    A route of the `manual` flow has other statuses for some codes. The codes of every authenticated
    route (401, 403, 422, 429, 500, 503) are always included; the document adds those of its gates.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for item in (*items, *_ALWAYS):
        code = item if isinstance(item, str) else GENERIC[item]
        known = CODES[code]
        status = (known.on_manual if manual else None) or known.status
        entry = found.setdefault(
            status,
            {
                "description": HTTPStatus(status).phrase,
                "model": ProblemBody,
                "content": {MEDIA_TYPE: {"examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][code] = {
            "value": _example(code, known._replace(status=status))
        }
    return found


def install(app: FastAPI) -> None:
    """Register the exception handlers."""
    app.exception_handler(RequestValidationError)(_on_validation)
    app.exception_handler(HTTPException)(_on_http)
    for failed in (BillingError, *_OF_DATABASE, RPCError, RuntimeError):
        app.exception_handler(failed)(_on_error)


class LastResort:
    """Answers 500 for any other exception, with the correlation id (unlike Starlette's handler)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            response = from_any(error)
            await response(scope, receive, send)


async def _on_error(_: Request, error: Exception) -> Response:
    return from_any(error)


def from_any(error: Exception) -> Response:
    """Return the response for an error, and log one that is not the caller's: a part of the stack
    is away or busy, or our code failed.
    """
    if not isinstance(error, BillingError):
        log(error)
        return from_code(code_of(error))
    if error.http_status >= 500:
        _logger.warning("answered %s", error.code, exc_info=error)
    return from_error(error)


async def _on_validation(request: Request, error: RequestValidationError) -> Response:
    for item in error.errors():
        if item["type"] == "json_invalid":
            reason = f"{item['ctx']['error']}, at character {item['loc'][-1]}"
            return problem(400, "INVALID_JSON", f"the body is not JSON: {reason}")
    if isinstance(error.body, bytes) and not content_types.is_json(request):
        return from_error(wrong_field(content_types.FIELD, content_types.NOT_JSON))
    found = [{"field": _field(item["loc"]), "message": _message(item)} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in found[:3])
    return problem(422, "VALIDATION_FAILED", detail, fields={"errors": found})


async def _on_http(request: Request, error: HTTPException) -> Response:
    code, headers = GENERIC.get(error.status_code, "BAD_REQUEST"), error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {**(headers or {}), "Allow": _methods(request)}
    return problem(error.status_code, code, CODES[code].detail, headers=headers)


def _methods(request: Request) -> str:
    """Return the methods of the path; the framework names those of its first route alone."""
    path = request.scope["path"]
    routes = (one for one in request.app.routes if isinstance(one, Route))
    found = (one.methods or () for one in routes if one.path_regex.match(path))
    return ", ".join(sorted(set[str]().union(*found)))


def log(error: Exception) -> None:
    """Log an unexpected error, by the part that it comes from."""
    code = code_of(error)
    if code == "DATABASE_UNAVAILABLE":
        _logger.warning("database away: %s", database_words(error))
    elif code == "UNAVAILABLE":
        _logger.warning("database busy: %s: %s", sqlstate_of(error), database_words(error))
    elif code == "TEMPORAL_UNAVAILABLE":
        said = error.status.name if isinstance(error, RPCError) else "no connection"
        _logger.warning("Temporal away: %s", said)
    else:
        _logger.error("unhandled %s", type(error).__name__, exc_info=error)


def code_of(error: Exception) -> str:
    """Return the code that answers this error."""
    if isinstance(error, BillingError):
        return error.code
    if _temporal_is_away(error):
        return "TEMPORAL_UNAVAILABLE"
    if not isinstance(error, _OF_DATABASE):
        return "INTERNAL"
    if database_is_away(error):
        return "DATABASE_UNAVAILABLE"
    return "UNAVAILABLE" if sqlstate_of(error) in _BUSY else "INTERNAL"


def _temporal_is_away(error: Exception) -> bool:
    if isinstance(error, RPCError):
        return error.status in UNANSWERED
    return never_connected(error)


def from_code(code: str) -> Response:
    """Return the standard response of a code."""
    return from_error(BillingError(code))


def _field(loc: tuple[int | str, ...]) -> str:
    parts = loc[1:] if len(loc) > 1 else loc
    return ".".join(map(str, parts))


def _message(item: Mapping[str, Any]) -> str:
    if isinstance(item.get("input"), (Decimal, float)) and str(item["type"]).startswith("int"):
        is_money = str(item["loc"][-1]).endswith(("_cents", "_minor", "amount"))
        why = ": money is in minor units, never a fraction"
        return f"must be a whole number{why if is_money else ''}"
    message, _, _ = str(item["msg"]).partition(" or instance of ")  # a class of ours
    return message.removeprefix("Value error, ")


def _example(code: str, known: Problem) -> dict[str, Any]:
    return body(known.status, code, known.detail, {}) | {"correlation_id": "01k3v9q2w7e8r"}
