"""Checks that an event is PayPal's by its signature, with a certificate that PayPal serves.

Certificates are fetched only from PayPal's own address and cached, because they rarely change.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx2

from api.certificates import trusted
from billing.core.clock import real_now
from billing.core.settings import Settings
from billing.platform.provider_inbox import paypal
from billing.platform.provider_inbox.refusals import refused

FETCH_TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 65_536
KEPT: Final = 8


class PayPalSignatures:
    """One per API process."""

    def __init__(
        self, settings: Settings, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._certificates: dict[str, bytes] = {}

    def demand_set_up(self) -> None:
        """Refuse every event while PayPal is not set up: INVALID_SIGNATURE."""
        if not self._settings.takes_paypal:
            raise refused("PayPal is not set up")

    def knows(self, headers: Mapping[str, str]) -> bool:
        """True if the event names a certificate that proved an earlier one."""
        return headers.get(paypal.CERTIFICATE) in self._certificates

    async def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Refuse an event that is not provably PayPal's: INVALID_SIGNATURE."""
        settings = self._settings
        sent = paypal.transmission(headers, settings.paypal_url)
        certificate = await self._certificate(sent.certificate_url)
        paypal.verify(body, sent, settings.paypal_webhook_id, certificate, real_now())
        if len(self._certificates) >= KEPT:
            self._certificates.clear()
        self._certificates[sent.certificate_url] = certificate

    async def _certificate(self, url: str) -> bytes:
        known = self._certificates.get(url)
        if known is not None:
            return known
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_SECONDS),
                httpx2.AsyncClient(
                    timeout=FETCH_TIMEOUT_SECONDS, transport=self._transport, trust_env=False,
                    verify=trusted(),
                ) as client,
            ):  # fmt: skip
                answer = await client.get(url)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise refused("its certificate cannot be fetched") from error
        if answer.status_code != 200 or len(answer.content) > MAX_BYTES:
            raise refused("its certificate cannot be fetched")
        return answer.content
