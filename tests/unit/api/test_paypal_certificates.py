"""Certificates that strangers name are fetched from PayPal at the rate of their address alone."""

from ssl import SSLContext
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.app import create_app
from api.certificates import trusted
from api.webhooks.paypal_signatures import PayPalSignatures
from billing.core.errors import Invalid
from billing.core.settings import Settings
from sandbox.paypal_events import Signer
from tests.unit.api.conftest import lonely_settings

URL = "https://api-m.sandbox.paypal.com"
BODY = b'{"id": "WH-1", "event_type": "X", "create_time": "2027-01-01T00:00:00Z", "resource": {}}'


def with_paypal(url: str) -> Settings:
    return lonely_settings(
        BILLING_RATE_LIMIT="2/minute",
        BILLING_PAYPAL_CLIENT_ID="ours",
        BILLING_PAYPAL_CLIENT_SECRET="a-secret",
        BILLING_PAYPAL_WEBHOOK_ID="WH-ours",
        BILLING_PAYPAL_URL=url,
    )


def invented(url: str) -> dict[str, str]:
    return {"PAYPAL-CERT-URL": f"{url}/v1/notifications/certs/CERT-{uuid4().hex}"}


async def test_a_stranger_has_few_certificates_fetched_and_paypals_events_go_on() -> None:
    signer, fetched = Signer(), list[str]()

    def serve(request: httpx2.Request) -> httpx2.Response:
        fetched.append(request.url.path)
        is_known = request.url.path.endswith(signer.name)
        return httpx2.Response(200, content=signer.certificate if is_known else b"none")

    settings = with_paypal(URL)
    app = create_app(settings)
    app.state.services.paypal = PayPalSignatures(settings, httpx2.MockTransport(serve))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:

        async def send(**more: str) -> tuple[int, str]:
            headers = signer.headers(BODY, "WH-ours", URL) | more
            answer = await client.post("/api/v1/webhooks/paypal", content=BODY, headers=headers)
            return answer.status_code, answer.json()["code"]

        assert await send() == (503, "DATABASE_UNAVAILABLE"), "it is proven, and nobody stores it"
        assert await send(**invented(URL)) == (400, "INVALID_SIGNATURE")
        assert await send(**invented(URL)) == (429, "RATE_LIMITED")
        assert await send() == (503, "DATABASE_UNAVAILABLE")
    assert len(fetched) == 2


async def test_the_authorities_that_are_trusted_are_read_once_however_many_are_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading their file takes tens of milliseconds, in which no other request is served."""
    real, read = SSLContext.load_verify_locations, list[SSLContext]()

    def counted(context: SSLContext, *where: Any) -> None:
        read.append(context)
        real(context, *where)

    monkeypatch.setattr(SSLContext, "load_verify_locations", counted)
    trusted.cache_clear()
    nowhere = "http://127.0.0.1:1"
    signer, signatures = Signer(), PayPalSignatures(with_paypal(nowhere))
    for _ in range(3):
        sent = signer.headers(BODY, "WH-ours", nowhere) | invented(nowhere)
        with pytest.raises(Invalid, match="its certificate cannot be fetched"):
            await signatures.verify(BODY, httpx2.Headers(sent))
    assert len(read) == 1
