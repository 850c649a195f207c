"""The SDK's HTTP client: it logs each call, and knows whether Stripe refuses our key."""

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stripe

from gateways.key_rights import KeyRights

_logger: Final = logging.getLogger("gateways.stripe")


class LoggingClient(stripe.AIOHTTPClient):
    """An HTTP client that logs each call with Stripe's request id, and notes whether our key may
    make it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rights = KeyRights()

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        facts: dict[str, Any] = {"idempotency": headers.get("Idempotency-Key")}
        started, status, path = perf_counter(), 0, urlsplit(url).path
        try:
            answer = await super().request_async(method, url, headers, post_data)
            status, facts["stripe_request"] = answer[1], answer[2].get("Request-Id")
            self.rights.note(_right(method, path), status)
            return answer
        except (TimeoutError, aiohttp.ClientError) as cut:
            # The SDK translates errors up to the headers, but not while the body is read.
            self._handle_request_error(cut)
        finally:
            facts["milliseconds"] = round((perf_counter() - started) * 1000)
            _logger.info("Stripe %s %s: %s", method.upper(), path, status or "silent", extra=facts)


def _right(method: str, path: str) -> tuple[bool, str]:
    """Return what a restricted key may do or not: read or write the objects of one kind."""
    return (method.upper() != "GET", path.rpartition("/v1/")[2].partition("/")[0])
