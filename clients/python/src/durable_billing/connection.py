"""HTTP to the API: the token, retries, and problems as errors.

Many threads may use one connection.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx2

from durable_billing.errors import (
    UNKNOWN_CODE,
    BillingClientError,
    BillingProblem,
    BillingUnreachable,
)

Token = str | Callable[[], str]
"""A bearer token, or a function that returns one; it is called again after a 401."""

TRIES: Final = 4
TIMEOUT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 300.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 30.0
_PREFIX: Final = "/api/v1"


class Connection:
    """The API at `url`, called with `token` for `account` (needed by the operator's roles)."""

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        account: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trust_env: bool = True,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._token = token
        self._fresh = token.strip() if isinstance(token, str) else ""
        self._account = account
        self._renewing = threading.Lock()
        self._http = httpx2.Client(
            base_url=url.rstrip("/").removesuffix(_PREFIX) + _PREFIX,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            trust_env=trust_env,
            transport=transport,
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        account: str | None = None,
    ) -> Any:
        """Return the JSON answer, after up to four tries: for requests that are safe to repeat.

        `account` overrides the connection's account. Errors: BillingProblem; BillingUnreachable
        when the last try got no answer. Their `outcome_unknown` speaks of all tries.
        """
        content, unknown = None if body is None else json.dumps(body).encode(), False
        for attempt in range(TRIES):
            try:
                return self.once(method, path, content, key=key, account=account)
            except BillingClientError as error:
                unknown = unknown or _may_be_done(error)
                error.outcome_unknown = unknown
                wait = pause_seconds(error, attempt)
                if attempt == TRIES - 1 or not passes(error) or wait > LONGEST_PAUSE_SECONDS:
                    raise
                time.sleep(wait)
        raise AssertionError("the last try answers or raises")

    def once(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        key: str | None = None,
        account: str | None = None,
    ) -> Any:
        """Send a request once; return its JSON.

        Errors: BillingProblem; BillingUnreachable; BillingClientError for a token, account or key
        that no header can carry.
        """
        named = account or self._account
        try:
            answer = self._send(method, path, content, key, named)
            if answer.status_code == 401 and self._renew():
                answer = self._send(method, path, content, key, named)
        except httpx2.RequestError as error:
            raise BillingUnreachable(f"{type(error).__name__}: {error}") from error
        if not answer.is_success:
            raise _problem(answer)
        try:
            read = answer.json()
        except ValueError as error:
            raise BillingUnreachable("the answer is not the API's: no JSON") from error
        if _is_unread(answer, read):
            raise BillingUnreachable(
                "stored, but its result cannot be read", retry_after_seconds=_retry_after(answer)
            )
        return read

    def _send(
        self, method: str, path: str, content: bytes | None, key: str | None, account: str | None
    ) -> httpx2.Response:
        if not _is_header(self._fresh):
            self._renew()
        headers = {"Authorization": f"Bearer {_header('token', self._fresh)}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = _header("key", key)
        if account is not None:
            headers["X-Account-Id"] = _header("account", account)
        return self._http.request(method, path, content=content, headers=headers)

    def _renew(self) -> bool:
        """Get a fresh token; False for a fixed one. Errors: BillingUnreachable."""
        if isinstance(self._token, str):
            return False
        with self._renewing:
            try:
                self._fresh = self._token().strip()
            except Exception as error:  # the caller's function may raise anything
                raise BillingUnreachable(f"no token: {type(error).__name__}: {error}") from error
        return True


def segment(name: str) -> str:
    """Encode a name as one path segment."""
    return quote(name, safe="")


def passes(error: BillingClientError) -> bool:
    """True when another try may succeed."""
    return isinstance(error, BillingUnreachable) or (
        isinstance(error, BillingProblem) and error.passing
    )


def _may_be_done(error: BillingClientError) -> bool:
    """True unless this try was refused, or came too soon to be begun."""
    return passes(error) and not (isinstance(error, BillingProblem) and error.status == 429)


def pause_seconds(error: BillingClientError, failures: int) -> float:
    """Return the pause before the next try: doubling with jitter, at least Retry-After."""
    pause: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 16))
    jittered = pause * random.uniform(0.5, 1.0)
    return max(jittered, min(error.retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS))


def _header(name: str, value: str) -> str:
    """Check a value here: the error of the HTTP library would contain it, and tokens are secret."""
    if not _is_header(value):
        raise BillingClientError(f"the {name} is not visible ASCII: no header can carry it")
    return value


def _is_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and value == value.strip()


def _is_unread(answer: httpx2.Response, read: Any) -> bool:
    """True if the request is stored, and the answer does not tell its result."""
    return answer.status_code == 202 and isinstance(read, dict) and read.get("status") == "accepted"


def _problem(answer: httpx2.Response) -> BillingProblem:
    try:
        read = answer.json()
    except ValueError:
        read = None
    known: dict[str, Any] = read if isinstance(read, dict) else {}
    correlation = known.get("correlation_id") or answer.headers.get("x-correlation-id")
    return BillingProblem(
        answer.status_code,
        str(known.get("code") or UNKNOWN_CODE),
        str(known.get("detail") or answer.reason_phrase),
        correlation_id=correlation,
        retry_after_seconds=_retry_after(answer),
        fields=known,
    )


def _retry_after(answer: httpx2.Response) -> float | None:
    """Return the header in seconds; the API sends no dates."""
    text = str(answer.headers.get("retry-after", ""))
    return float(text) if text.isdigit() else None
