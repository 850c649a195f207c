"""Limits of requests: requests per minute, bytes per body, depth of its JSON.

The rate is a moving window per caller in this process. Plain ASGI middleware checks a body before
anything parses it.
"""

import json
import re
from collections import OrderedDict, deque
from math import ceil
from time import monotonic
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.fast_route import BODY
from billing.core.errors import BillingError

BODY_BYTES: Final = 1_048_576
WEBHOOK_BODY_BYTES: Final = 262_144
WEBHOOK_PREFIX: Final = "/api/v1/webhooks/"
JSON_DEPTH: Final = 32
WATCHED_CALLERS: Final = 50_000
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_UNITS: Final = ", ".join(_SECONDS)
NOT_TEXT: Final = "characters that are not text"
# Batches, whose rows fail alone: their own parser makes these checks for each row.
ROWS: Final = frozenset({"/api/v1/usage/batch"})

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
# JSON that Postgres or arithmetic cannot take: a body is decoded for it only if one occurs.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity")
_ESCAPE: Final = b"\\"
_CONSTANTS: Final = (b"NaN", b"Infinity")


class RateLimited(BillingError):
    """The caller sent more requests than the rate allows."""

    status = 429


class RateLimit:
    """At most so many requests in any window of so long, per caller: "600/minute"."""

    def __init__(self, notation: str) -> None:
        amount, _, unit = notation.partition("/")
        if not amount.isdecimal() or not int(amount) or unit not in _SECONDS:
            raise ValueError(f"BILLING_RATE_LIMIT={notation}: write 600/minute ({_UNITS})")
        self.amount, self.seconds = int(amount), _SECONDS[unit]
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, caller: str) -> None:
        """Count one request; raises `RateLimited` with the seconds to wait."""
        now = monotonic()
        times = self._seen.get(caller)
        if times is None:
            times = self._seen[caller] = deque(maxlen=self.amount)
            if len(self._seen) > WATCHED_CALLERS:
                self._seen.popitem(last=False)
        if len(times) == self.amount:
            wait = times[0] + self.seconds - now
            if wait > 0:
                raise RateLimited(
                    "RATE_LIMITED",
                    f"more than {self.amount} requests in {self.seconds} seconds",
                    retry_after=max(1, ceil(wait)),
                )
        times.append(now)


class RequestLimitMiddleware:
    """Reads the body up to its limit and passes it on whole; 413 before anything parses it.

    A path or query with a NUL is refused too: no column can store one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await problems.from_code("BAD_REQUEST")(scope, receive, send)
            return
        if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        await self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        webhook = scope["path"].startswith(WEBHOOK_PREFIX)
        limit = WEBHOOK_BODY_BYTES if webhook else BODY_BYTES
        body = b"" if _announced(scope) > limit else await _read(receive, limit)
        if body is None:
            return
        if _announced(scope) > limit or len(body) > limit:
            refusal = problems.problem(
                413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes"
            )
            await refusal(scope, receive, send)
            return
        fault = None if webhook or scope["path"] in ROWS else json_fault(body)
        if fault is not None:
            await problems.problem(400, "INVALID_JSON", fault)(scope, receive, send)
            return
        scope[BODY] = body
        await self._app(scope, _replay(body, receive), send)


def json_fault(body: bytes) -> str | None:
    """The reason to refuse a body unparsed: too deep, or values that cannot be stored."""
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH and _too_deep(body):
        return f"the body is nested deeper than {JSON_DEPTH} levels"
    odd = _ESCAPE in body or any(word in body for word in _CONSTANTS)
    if not odd or _SUSPECT.search(body) is None:
        return None
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except NotANumber:
        return "NaN and Infinity are not JSON"
    except ValueError:
        return None  # the route's parser reports the place
    return None if storable(value) else f"the body has {NOT_TEXT}"


class NotANumber(ValueError):
    """The body has NaN or Infinity."""


def _refuse_constant(name: str) -> Any:
    raise NotANumber(name)


def storable(value: Any) -> bool:
    """True when Postgres can store every text of a decoded value."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return all(storable(key) and storable(item) for key, item in value.items())
    return all(map(storable, value)) if isinstance(value, list) else True


def _too_deep(body: bytes) -> bool:
    depth = 0
    for match in _BRACKETS.finditer(body):
        sign = match[0]
        if sign in (b"{", b"["):
            depth += 1
            if depth > JSON_DEPTH:
                return True
        elif sign in (b"}", b"]"):
            depth -= 1
    return False


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else BODY_BYTES + 1
    return 0


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or one byte more than the limit; None when the client disconnects."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > limit or not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
