"""Aliases of paths: a trailing slash, `/api/billing`, and older spellings.

The path is rewritten before routing: the body stays unread, aliases share idempotency keys, and the
OpenAPI document shows each route once.
"""

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.routes.base import PREFIX

UNVERSIONED: Final = "/api/billing"
_WITH_ID: Final = re.compile(r"(/[^/]+/[^/]+/)([^/]+)(/.+)?")

# The canonical path of a method and path, all below `/api/v1`; `{id}` stands for the third segment.
ALIASES: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "/billing/transactions"): "/billing/credits/transactions",
    ("GET", "/billing/usage"): "/usage/current",
    ("GET", "/usage"): "/usage/current",
    ("GET", "/billing/credits/usage"): "/usage/logs",
    ("POST", "/billing/subscribe"): "/billing/subscription",
    ("POST", "/billing/cancel"): "/billing/subscription/cancel",
    ("POST", "/billing/apply-coupon"): "/billing/subscription/coupon",
    ("POST", "/admin/reconcile"): "/billing/reconcile",
    ("POST", "/billing/preview-invoice"): "/billing/subscription/preview",
    ("GET", "/billing/invoices/{id}/download_pdf"): "/billing/invoices/{id}/pdf",
    ("GET", "/billing/download-invoice/{id}"): "/billing/invoices/{id}/pdf",
    ("POST", "/billing/payment-methods/{id}/set_default"): "/billing/payment-methods/{id}/default",
}
# Every read of usage is also served below these [X4].
USAGE: Final = "/usage/"
OLDER_USAGE: Final = ("/billing/usage/", "/billing/credits/usage/")

WHOSE: Final = (b"account_id", b"account", b"user_id")
"""Filters that say whose rows are read. Without a value they are refused (422)."""


class AliasMiddleware:
    """Rewrites a request's path to the canonical one and drops filters without a value.

    A write keeps such a parameter: `dry_run=` must be refused, not carried out. So does a read of
    whose rows it is: without `account_id=` it would be of every account.
    """

    def __init__(self, app: ASGIApp, aliases: Mapping[tuple[str, str], str] = ALIASES) -> None:
        self._app = app
        self._canonical = aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = self.canonical(scope["method"], scope["path"])
            query = scope["query_string"]
            if scope["method"] == "GET" and (query.endswith(b"=") or b"=&" in query):
                scope = {**scope, "query_string": _filled(query)}
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def canonical(self, method: str, path: str) -> str:
        """Return the path that a request is routed by."""
        if path[-1:] == "/" and len(path) > 1:
            path = path.rstrip("/") or "/"
        if path == UNVERSIONED or path.startswith(UNVERSIONED + "/"):
            path = f"{PREFIX}/billing{path[len(UNVERSIONED) :]}"
        if not path.startswith(PREFIX):
            return path
        below = path[len(PREFIX) :]
        if method == "GET":
            for older in OLDER_USAGE:
                if below.startswith(older):
                    return PREFIX + USAGE + below[len(older) :]
        name = "{id}"
        canonical = self._canonical.get((method, below))
        if canonical is None and (match := _WITH_ID.fullmatch(below)):
            head, name, tail = match.groups()
            canonical = self._canonical.get((method, f"{head}{{id}}{tail or ''}"))
        return path if canonical is None else PREFIX + canonical.replace("{id}", name)


def _filled(query: bytes) -> bytes:
    """Return the query without parameters that have no value, such as `status=`."""
    return b"&".join(
        part for part in query.split(b"&") if part.find(b"=") != len(part) - 1 or part[:-1] in WHOSE
    )
