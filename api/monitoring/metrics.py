"""Counts and durations of requests for Prometheus, on their own port, and the request log.

The log has a line for each refused or slow request, and for each write that leaves no record of
its own.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from time import perf_counter
from typing import Final

from prometheus_client import Counter, Histogram, start_http_server
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.edge.request_limits import WEBHOOK_PREFIX
from api.identity.request_windows import READS, class_of
from api.monitoring.failures import FailureCount, code_in
from billing.core.error_codes import CODES
from billing.core.settings import Settings
from billing.platform.parking.service import CODE as PARKED

REQUESTS: Final = Counter(
    "billing_http_requests",
    "Requests answered, by route and status; `parked` are those refused because billing is parked",
    ["method", "route", "status"],
)
SECONDS: Final = Histogram(
    "billing_http_request_seconds",
    "Time to the end of the answer, by route",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SLOW_SECONDS: Final = 1.0
_logger = logging.getLogger("api.metrics")
_requests = logging.getLogger("api.requests")
PAY_PREFIX: Final = "/pay/"
_FAILED: Final = frozenset(str(one.status) for one in CODES.values() if one.status >= 500)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class MetricsMiddleware:
    """Counts and times each request by its route's template, and logs some."""

    def __init__(self, app: ASGIApp, failures: FailureCount) -> None:
        self._app = app
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started, ended = 500, perf_counter(), 0.0
        code: str | None = None

        async def reply(message: Message) -> None:
            nonlocal status, ended, code
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                ended = perf_counter()  # background tasks are not part of the answer
                if status >= 500:
                    code = code or code_in(message.get("body", b""))

        try:
            await self._app(scope, receive, reply)
        finally:
            method, route = _named(scope)
            self._failures.note(method, route, status, code)
            seconds = (ended or perf_counter()) - started
            # A refusal while billing is parked is intended; as a 5xx it would hide real failures.
            counted = "parked" if code == PARKED else str(status)
            count, times = _kept(method, route, counted)
            count.inc()
            times.observe(seconds)
            _log(scope, method, route, status, seconds)


def _named(scope: Scope) -> tuple[str, str]:
    """Use only templates and known methods as labels, so that callers cannot invent labels."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, getattr(scope.get("route"), "path", "unmatched")


def _log(scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
    is_notable = status >= 400 or seconds > SLOW_SECONDS or _is_notable(method, scope["path"])
    level = logging.INFO if is_notable else logging.DEBUG
    if _requests.isEnabledFor(level):
        # Never log the token in a payment page's path: whoever reads it can pay. A proxy may leave
        # the path of BILLING_PUBLIC_URL before it, where no route matches.
        before, pay, _ = scope["path"].partition(PAY_PREFIX)
        extra = {"status": status, "milliseconds": round(seconds * 1000), "path": before + pay}
        _requests.log(level, "%s %s: %d", method, route, status, extra=extra)


def _is_notable(method: str, path: str) -> bool:
    """Log each write except uses and providers' events: they come by the thousand, and each leaves
    its own record.
    """
    if method in READS or path.startswith(WEBHOOK_PREFIX):
        return False
    return class_of(method, path) != "metering"


@cache
def _kept(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    # Prometheus does not count the value with which a series appears: a burst of a route's first
    # failures would be lost.
    for failed in _FAILED:
        REQUESTS.labels(method, route, failed)
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[None]:
    """Serve /metrics on BILLING_API_METRICS_PORT while the app runs; 0 disables it."""
    if not settings.api_metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.api_metrics_port, settings.service_host)
    except OSError as error:
        # A second API process on this host: only the first one's numbers are served.
        _logger.warning("no metrics on port %d: %s", settings.api_metrics_port, error.strerror)
        yield
        return
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
