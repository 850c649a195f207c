"""Limits of bodies: bytes, JSON depth and storable text, checked before any parser runs.

It also sends the headers of the rate limit that a gate has counted the request against.
"""

import json
import re
from typing import Any, Final

from msgspec import DecodeError
from msgspec.json import decode, encode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import problems
from api.identity.request_windows import HEADERS
from api.requests.fast_route import BODY
from api.requests.unknown_parameters import repeated
from billing.core.json_members import Repeated, each_once

BODY_BYTES: Final = 1_048_576
WEBHOOK_BODY_BYTES: Final = 262_144
WEBHOOK_PREFIX: Final = "/api/v1/webhooks/"
JSON_DEPTH: Final = 32
# Twenty for each row of a full batch. A parser's time depends on objects and lists, not on bytes,
# and it runs before the caller is known.
JSON_BRACKETS: Final = 20_000
# Members and items, each of which a parser, or the list of what is wrong, spends time on: room for
# the largest details of a use; in a batch, for thirty in each row.
JSON_COMMAS: Final = 10_000
BATCH_COMMAS: Final = 30_000
# A parser spends most of its time on numbers beyond these, and it runs before the caller is known.
NUMBER_DIGITS: Final = 64
EXPONENT_DIGITS: Final = 2
NOT_TEXT: Final = "characters that cannot be stored"
REPEATED: Final = "a member of the body appears twice"
# Batches, whose rows fail one by one: their parser makes these checks for each row.
ROWS: Final = frozenset({"/api/v1/usage/batch"})

_ESCAPE: Final = b"\\"
# Escapes that Postgres cannot store: a NUL, and a lone surrogate.
_UNSTORABLE: Final = re.compile(
    rb"\\u(?:0000|[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u)[dD][c-fC-F])",
    re.DOTALL,
)
# Digits as 0, an exponent's sign as e, what may follow a number as a comma.
_NUMBERS: Final = bytes.maketrans(b"123456789E \t\r\n]}", b"000000000e,,,,,,")
_DIGITS: Final = b"0" * (NUMBER_DIGITS + 1)
_EXPONENT: Final = re.compile(rb"e[+-]?0{%d,}(?:,|$)" % (EXPONENT_DIGITS + 1))
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


class RequestLimitMiddleware:
    """Reads the body up to its limit and passes it on whole; answers 413 before any parser runs.

    It also refuses a path or query with a NUL, which no column can store, and a query that repeats
    a parameter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _telling_rate(scope, send)
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await problems.from_code("BAD_REQUEST")(scope, receive, send)
            return
        if scope["path"].endswith("\n"):
            # The router would match it as the path without it, which a proxy may guard.
            await problems.from_code("NOT_FOUND")(scope, receive, send)
            return
        twice = repeated(scope) if scope["query_string"] else None
        if twice is not None:
            refusal = problems.problem(400, "BAD_REQUEST", f"{twice} was sent twice")
            await refusal(scope, receive, send)
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
            # Nobody reads this answer: it records in metrics and logs why the request ended.
            await problems.from_code("REQUEST_TIMEOUT")(scope, receive, send)
            return
        if _announced(scope) > limit or len(body) > limit:
            refusal = problems.problem(
                413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes"
            )
            await refusal(scope, receive, send)
            return
        fault = None if webhook else _fault(scope["path"], body)
        if fault is not None:
            await problems.problem(400, "INVALID_JSON", fault)(scope, receive, send)
            return
        scope[BODY] = body
        await self._app(scope, _replay(body, receive), send)


def _telling_rate(scope: Scope, send: Send) -> Send:
    """Add the `RateLimit-*` headers to the answer of a request that a gate has counted."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start" and HEADERS in scope:
            message["headers"] = [*message.get("headers", ()), *scope[HEADERS]]
        await send(message)

    return told


def _fault(path: str, body: bytes) -> str | None:
    brackets = body.count(b"{") + body.count(b"[")
    if brackets > JSON_BRACKETS:
        return f"the body has more than {JSON_BRACKETS} opening brackets"
    commas = BATCH_COMMAS if path in ROWS else JSON_COMMAS
    if body.count(b",") > commas:
        return f"the body has more than {commas} commas"
    if _has_large_number(body) and _has_large_number(_without_texts(body)):
        return (
            f"a number of the body has more than {NUMBER_DIGITS} digits, or {EXPONENT_DIGITS} in"
            " its exponent"
        )
    return None if path in ROWS else json_fault(body)


def json_fault(body: bytes) -> str | None:
    """Return the reason to refuse a body unparsed: not UTF-8, too deep, a repeated member, or
    values that cannot be stored.
    """
    if not _is_utf8(body):
        return "the body is not UTF-8"
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH and _too_deep(body):
        return f"the body is nested deeper than {JSON_DEPTH} levels"
    if _is_plain(body):
        return None
    try:
        json.loads(body, object_pairs_hook=each_once, parse_constant=_refuse_constant)
    except Repeated:
        return REPEATED
    except NotANumber:
        return "NaN and Infinity are not JSON"
    except (ValueError, RecursionError):
        return None  # the route's parser reports the place
    return f"the body contains {NOT_TEXT}" if _has_unstorable(body) else None


def _is_utf8(body: bytes) -> bool:
    """Return False also for UTF-16 and UTF-32, which Python's parser would accept past these
    checks.
    """
    if b"\0" in body:
        return False
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def repeats(body: bytes) -> bool:
    """Return True for JSON that repeats a member: readers disagree on which one counts."""
    if _is_plain(body):
        return False
    try:
        json.loads(body, object_pairs_hook=each_once)
    except Repeated:
        return True
    except (ValueError, RecursionError):
        pass  # the route's parser reports the place
    return False


def _is_plain(body: bytes) -> bool:
    """Return True for JSON without escapes or repeated members: encoding it again gives the same
    text.
    """
    if _ESCAPE in body:
        return False
    try:
        return encode(decode(body)).count(b":") == body.count(b":")
    except (DecodeError, RecursionError):
        return False


class NotANumber(ValueError):
    """The body contains NaN or Infinity."""


def _refuse_constant(name: str) -> Any:
    raise NotANumber(name)


def storable(value: Any) -> bool:
    """Return True when Postgres can store every text of a decoded value."""
    try:
        return not _has_unstorable(encode(value))
    except UnicodeEncodeError:
        return False


def _has_unstorable(body: bytes) -> bool:
    """Return True for JSON with an escape that Postgres cannot store."""
    return _ESCAPE in body and _UNSTORABLE.search(body.replace(rb"\\", b"..")) is not None


def _too_deep(body: bytes) -> bool:
    """Return True for more levels than JSON may have; brackets inside strings do not count."""
    depth = 0
    for sign in _without_texts(body).translate(None, _NO_BRACKETS):
        depth += 1 if sign in b"{[" else -1
        if depth > JSON_DEPTH:
            return True
        if depth < 0:
            break  # not JSON: the route's parser reports it
    return False


def _has_large_number(body: bytes) -> bool:
    """Return True for digits like those of a number that is too large; they may be of a text."""
    signs = body.translate(_NUMBERS)
    # The search tries each `e` of the body, so first look for the end of a number.
    ends = b"0," in signs or signs.endswith(b"0")
    return _DIGITS in signs or (ends and _EXPONENT.search(signs) is not None)


def _without_texts(body: bytes) -> bytes:
    """Return JSON without what is between quotes."""
    return b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else BODY_BYTES + 1
    return 0


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or one byte more than the limit; None when the client disconnects."""
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
