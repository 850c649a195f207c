"""Refuses unknown parameters and fields, which would have no effect, and repeated parameters,
because programs disagree on which of two counts.
"""

from collections import Counter
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from msgspec import DecodeError
from msgspec.json import decode
from starlette.routing import Match
from starlette.types import Scope

from api.requests.fast_route import BODY
from api.requests.fastapi_internals import list_names, query_names
from billing.core.errors import Invalid, wrong_field


def repeated(scope: Scope) -> str | None:
    """Return the first parameter sent more than once, except the route's lists; else None."""
    sent = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    counts = Counter(name for name, _ in sent)
    if len(counts) == len(sent):
        return None
    lists = _lists(scope)
    return next((name for name, count in counts.items() if count > 1 and name not in lists), None)


def _lists(scope: Scope) -> frozenset[str]:
    for route in scope["app"].routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is Match.FULL:
            return list_names(route)
    return frozenset()


def refuse_unknown(request: Request) -> None:
    """Refuse parameters and fields that the route does not take. Errors: VALIDATION_FAILED."""
    if request.scope["query_string"]:
        _refuse_parameters(request)
    if request.scope.get(BODY) and not _takes_body(request.scope["route"]):
        _refuse_fields(request.scope[BODY])


async def takes_nothing_else(request: Request) -> None:
    """Refuse the same as a dependency, for a route without a gate."""
    refuse_unknown(request)


def _takes_body(route: APIRoute) -> bool:
    """Return True also for a handler that reads its body itself, as its OpenAPI says."""
    return route.body_field is not None or "requestBody" in (route.openapi_extra or {})


def _refuse_fields(body: bytes) -> None:
    """Accept an empty body on a route without one, because some clients always send one."""
    try:
        sent = decode(body)
    except DecodeError:
        sent = body
    if sent:
        message = "this route takes no body"
        names = sent if isinstance(sent, dict) else ["body"]
        errors = [{"field": name, "message": message} for name in names]
        raise Invalid("VALIDATION_FAILED", message, errors=errors)


def _refuse_parameters(request: Request) -> None:
    known = query_names(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            words = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            raise wrong_field(name, f"unknown parameter: this route {words}")
