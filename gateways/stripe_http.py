"""The SDK's HTTP client: it logs each call, and knows whether Stripe refuses our key."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stripe

_logger: Final = logging.getLogger("gateways.stripe")


class LoggingClient(stripe.AIOHTTPClient):
    """An HTTP client that logs each call with Stripe's request id, and notes whether our key may
    make it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_unknown = False
        self._lacks: set[tuple[bool, str]] = set()

    @property
    def refuses_key(self) -> bool:
        """Return True if the last answer that says something of our key was 401, or the last one to
        a call of some right 403.
        """
        return self._is_unknown or bool(self._lacks)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        facts: dict[str, Any] = {"idempotency": headers.get("Idempotency-Key")}
        started, status, path = perf_counter(), 0, urlsplit(url).path
        try:
            answer = await super().request_async(method, url, headers, post_data)
            status, facts["stripe_request"] = answer[1], answer[2].get("Request-Id")
            self._note(method, path, status)
            return answer
        except (TimeoutError, aiohttp.ClientError) as cut:
            # The SDK translates errors up to the headers, but not while the body is read.
            self._handle_request_error(cut)
        finally:
            facts["milliseconds"] = round((perf_counter() - started) * 1000)
            _logger.info("Stripe %s %s: %s", method.upper(), path, status or "silent", extra=facts)

    def _note(self, method: str, path: str, status: int) -> None:
        """Note what an answer says of our key, whose rights are to read or to write one kind.

        Trouble at Stripe says nothing: a lost right stays lost through an outage.
        """
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return
        self._is_unknown = status == HTTPStatus.UNAUTHORIZED
        right = (method.upper() != "GET", path.rpartition("/v1/")[2].partition("/")[0])
        if status == HTTPStatus.FORBIDDEN:
            self._lacks.add(right)
        elif status != HTTPStatus.UNAUTHORIZED:
            self._lacks.discard(right)
