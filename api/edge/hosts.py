"""The outermost middleware: checks the host of each request and adds headers to every answer."""

import logging
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import problems
from billing.core.settings import Settings

HEALTH: Final = "/health"
"""Served for any host, because probes use an address."""
YEAR_SECONDS: Final = 31_536_000
# Answers contain payment secrets, balances and names: no proxy may cache or sniff them.
NO_STORE: Final = (b"cache-control", b"no-store")
GUARDED: Final = (NO_STORE, (b"x-content-type-options", b"nosniff"))
_logger = logging.getLogger("api.edge")


class EdgeMiddleware:
    """Refuses hosts that are not ours, and adds the headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().encode() for host in settings.hosts)
        safe = b"max-age=%d" % YEAR_SECONDS
        is_https = settings.public_url.startswith("https://")
        more = ((b"strict-transport-security", safe),) if is_https else ()
        self._guarded = (*GUARDED, *more)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._guarded

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = message.get("headers", [])
                kept = any(name == b"cache-control" for name, _ in headers)
                message["headers"] = [*headers, *(guarded[1:] if kept else guarded)]
            await send(message)

        if sum(name == b"host" for name, _ in scope["headers"]) != 1:
            # Proxies disagree on which of two counts, or on what a missing one means.
            detail = "send exactly one Host header"
            await problems.problem(400, "BAD_REQUEST", detail)(scope, receive, reply)
            return
        if self._hosts and scope["path"].rstrip("/") != HEALTH and not self._is_ours(scope):
            _logger.info("a request was refused: its host is not one of BILLING_HOSTS")
            detail = "this service is not served under this host"
            await problems.problem(400, "BAD_REQUEST", detail)(scope, receive, reply)
            return
        await self._app(scope, receive, reply)

    def _is_ours(self, scope: Scope) -> bool:
        named = next(value for name, value in scope["headers"] if name == b"host")
        return _without_port(named) in self._hosts


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.lower().rpartition(b":")
    return name if colon and port.isdigit() else host.lower()
