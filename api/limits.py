"""Bounds on what one caller may send: requests per minute, bytes per body, depth of its JSON.

The rate is a moving window per caller, kept in this process; bodies are bounded before anything
parses them, by plain ASGI middleware.
"""

import json
import re
from collections import OrderedDict, deque
from math import ceil
from time import monotonic
from typing import Any, Final

import limits
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.straight import BODY
from billing.core.errors import BillingError

BODY_BYTES: Final = 1_048_576
WEBHOOK_BODY_BYTES: Final = 262_144
WEBHOOK_PREFIX: Final = "/api/v1/webhooks/"
JSON_DEPTH: Final = 32
WATCHED_CALLERS: Final = 50_000
NOT_TEXT: Final = "characters that are not text"
# Lists of rows that fail alone: their own strict parser finds what is refused here.
ROWS: Final = frozenset({"/api/v1/usage/batch"})

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
# What JSON allows in letters but Postgres and arithmetic do not: looked at only when seen.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity")
_ESCAPE: Final = b"\\"
_CONSTANTS: Final = (b"NaN", b"Infinity")


class RateLimited(BillingError):
    """The caller sent more than its share."""

    status = 429


class RateLimit:
    """At most `amount` requests in any window of `seconds`, per caller.

    The notation is that of `limits` ("600/minute"); its memory store starts a thread per burst
    and never drops a key, so the window itself is ours.
    """

    def __init__(self, notation: str) -> None:
        item = limits.parse(notation)
        self.amount: int = item.amount
        self.seconds: int = item.get_expiry()
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

    An address with a NUL in it is refused too: no column can hold one.
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
    """Why this JSON is refused unparsed: too deep, or text and numbers that nothing can store."""
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
        return None  # the parser behind says what is wrong, and where
    return None if storable(value) else f"the body has {NOT_TEXT}"


class NotANumber(ValueError):
    """NaN or Infinity stood where a number belongs."""


def _refuse_constant(name: str) -> Any:
    raise NotANumber(name)


def storable(value: Any) -> bool:
    """Whether all texts in a value read from JSON are ones that Postgres takes."""
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
    """The whole body, or one byte more than the limit; None when the client left."""
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
