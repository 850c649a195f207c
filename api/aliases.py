"""Aliases of paths: a trailing slash, `/api/billing`, and older spellings.

The path is rewritten before routing: the body stays unread, idempotency keys are shared, and the
OpenAPI document shows each route once.
"""

import re
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from api.routes.base import PREFIX

UNVERSIONED: Final = "/api/billing"


class Alias(NamedTuple):
    """A method and path below `/api/v1`, and the canonical ones they stand for."""

    method: str
    path: str
    canonical: str


# One line per spelling; `{id}` stands for one path segment.
ALIASES: Final[tuple[Alias, ...]] = (
    Alias("GET", "/billing/transactions", "/billing/credits/transactions"),
    Alias("GET", "/billing/usage", "/usage/current"),
    Alias("GET", "/usage", "/usage/current"),
    Alias("GET", "/billing/usage/current", "/usage/current"),
    Alias("GET", "/billing/usage/limits", "/usage/limits"),
    Alias("GET", "/billing/usage/summary", "/usage/summary"),
    Alias("GET", "/billing/usage/logs", "/usage/logs"),
    Alias("GET", "/billing/credits/usage", "/usage/logs"),
    Alias("GET", "/billing/credits/usage/summary", "/usage/summary"),
    Alias("GET", "/billing/credits/usage/limits", "/usage/limits"),
    Alias("POST", "/billing/subscribe", "/billing/subscription"),
    Alias("POST", "/billing/cancel", "/billing/subscription/cancel"),
    Alias(
        "POST", "/billing/payment-methods/{id}/set_default", "/billing/payment-methods/{id}/default"
    ),
)


class AliasMiddleware:
    """Rewrites the path of a request to the canonical one."""

    def __init__(self, app: ASGIApp, aliases: tuple[Alias, ...] = ALIASES) -> None:
        self._app = app
        self._exact = {
            (alias.method, alias.path): alias.canonical
            for alias in aliases
            if "{id}" not in alias.path
        }
        self._shaped = [
            (alias.method, _shape(alias.path), alias.canonical)
            for alias in aliases
            if "{id}" in alias.path
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = self.canonical(scope["method"], scope["path"])
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def canonical(self, method: str, path: str) -> str:
        """The path a request is routed by."""
        if path[-1:] == "/" and len(path) > 1:
            path = path.rstrip("/") or "/"
        if path == UNVERSIONED or path.startswith(UNVERSIONED + "/"):
            path = f"{PREFIX}/billing{path[len(UNVERSIONED) :]}"
        if not path.startswith(PREFIX):
            return path
        below = path[len(PREFIX) :]
        exact = self._exact.get((method, below))
        if exact is not None:
            return PREFIX + exact
        for wanted, shape, canonical in self._shaped:
            match = shape.fullmatch(below) if wanted == method else None
            if match is not None:
                return PREFIX + canonical.replace("{id}", match[1])
        return path


def _shape(path: str) -> re.Pattern[str]:
    head, _, tail = path.partition("{id}")
    return re.compile(f"{re.escape(head)}([^/]+){re.escape(tail)}")
