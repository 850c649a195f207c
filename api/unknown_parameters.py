"""Parameters that a route does not take, or takes once and gets twice, are refused: they would be
filters that do nothing, and programs disagree on which of two counts.
"""

from collections import Counter
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from api.fastapi_internals import list_names, query_names
from billing.core.errors import Invalid


def repeated(scope: Scope) -> str | None:
    """The first parameter that comes more than once, but for the lists of the route; None: none."""
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
    """Refuse a query with a parameter that the route does not take. Errors: VALIDATION_FAILED."""
    known = query_names(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            words = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            message = f"no such parameter: this {words}"
            errors = [{"field": name, "message": message}]
            raise Invalid("VALIDATION_FAILED", f"{name}: {message}", errors=errors)
