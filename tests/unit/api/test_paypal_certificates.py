"""Certificates that strangers name are fetched from PayPal at the rate of their address alone."""

from uuid import uuid4

import httpx2

from api.app import create_app
from api.webhooks.paypal_signatures import PayPalSignatures
from sandbox.paypal_events import Signer
from tests.unit.api.conftest import lonely_settings

URL = "https://api-m.sandbox.paypal.com"
BODY = b'{"id": "WH-1", "event_type": "X", "create_time": "2027-01-01T00:00:00Z", "resource": {}}'


async def test_a_stranger_has_few_certificates_fetched_and_paypals_events_go_on() -> None:
    signer, fetched = Signer(), list[str]()

    def serve(request: httpx2.Request) -> httpx2.Response:
        fetched.append(request.url.path)
        is_known = request.url.path.endswith(signer.name)
        return httpx2.Response(200, content=signer.certificate if is_known else b"none")

    settings = lonely_settings(
        BILLING_RATE_LIMIT="2/minute",
        BILLING_PAYPAL_CLIENT_ID="ours",
        BILLING_PAYPAL_CLIENT_SECRET="a-secret",
        BILLING_PAYPAL_WEBHOOK_ID="WH-ours",
        BILLING_PAYPAL_URL=URL,
    )
    app = create_app(settings)
    app.state.services.paypal = PayPalSignatures(settings, httpx2.MockTransport(serve))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:

        async def send(**more: str) -> tuple[int, str]:
            headers = signer.headers(BODY, "WH-ours", URL) | more
            answer = await client.post("/api/v1/webhooks/paypal", content=BODY, headers=headers)
            return answer.status_code, answer.json()["code"]

        def invented() -> dict[str, str]:
            return {"PAYPAL-CERT-URL": f"{URL}/v1/notifications/certs/CERT-{uuid4().hex}"}

        assert await send() == (503, "DATABASE_UNAVAILABLE"), "it is proven, and nobody stores it"
        assert await send(**invented()) == (400, "INVALID_SIGNATURE")
        assert await send(**invented()) == (429, "RATE_LIMITED")
        assert await send() == (503, "DATABASE_UNAVAILABLE")
    assert len(fetched) == 2
