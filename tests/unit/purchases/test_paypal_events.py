"""PayPal's signature, by a certificate that only PayPal serves, and whose an event is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.core.errors import Invalid
from billing.platform.provider_inbox import paypal, webhooks
from sandbox.paypal_events import Signer

LIVE = "https://api-m.paypal.com"
NOW = datetime.now(UTC)
BODY = b'{"id": "WH-1"}'
SIGNER = Signer()


def headers(url: str = LIVE, **changed: str) -> dict[str, str]:
    sent = SIGNER.headers(BODY, "WH-ours", url)
    return {name.lower(): value for name, value in sent.items()} | changed


def verified(
    sent: dict[str, str],
    body: bytes = BODY,
    webhook: str = "WH-ours",
    base: str = LIVE,
    certificate: bytes = SIGNER.certificate,
    now: datetime = NOW,
) -> bool:
    try:
        told = paypal.transmission(sent, base)
        paypal.verify(body, told, webhook, certificate, now)
    except Invalid as refused:
        return (refused.code, refused.http_status) != ("INVALID_SIGNATURE", 400)
    return True


def test_what_paypal_signed_for_us_is_taken_and_nothing_else() -> None:
    assert verified(headers())
    assert not verified(headers(), body=b'{"id": "WH-2"}')
    assert not verified(headers(), webhook="WH-another")
    assert not verified(headers(), certificate=Signer().certificate)
    assert not verified(headers(), certificate=b"none")
    assert not verified(headers(), now=NOW + timedelta(days=400))
    for name in ("id", "time", "sig"):
        assert not verified(headers() | {f"paypal-transmission-{name}": "c2ln"})
    assert not verified(headers() | {"paypal-auth-algo": "none"})
    assert not verified({})


CERT = "/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"


@pytest.mark.parametrize(
    ("url", "theirs"),
    [
        (f"https://api.paypal.com{CERT}", True),
        (f"{LIVE}{CERT}", True),
        (f"http://api.paypal.com{CERT}", False),
        (f"https://api.sandbox.paypal.com{CERT}", False),
        (f"https://api.paypal.com.evil.example{CERT}", False),
        (f"https://api.paypal.com@evil.example{CERT}", False),
        (f"https://evil.example{CERT}", False),
        ("https://api.paypal.com/other", False),
        ("https://api.paypal.com/v1/notifications/certs/../../x", False),
        (f"https://api.paypal.com{CERT}?to=evil", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_a_certificate_is_fetched_from_paypal_alone(url: str, theirs: bool) -> None:
    sent = headers() | {"paypal-cert-url": url}
    assert verified(sent) is theirs


def event(kind: str, resource: dict[str, Any]) -> Any:
    body = {"id": "WH-1", "event_type": kind, "create_time": "2027-01-01T00:00:00Z"}
    return webhooks.read(body | {"resource": resource})


def test_an_event_names_its_order_its_capture_and_its_matter() -> None:
    order = event("CHECKOUT.ORDER.APPROVED", {"id": "O", "purchase_units": [{"custom_id": "m"}]})
    assert (order.object_id, order.intent_id, order.workflow_id) == ("O", None, "m")
    related = {"supplementary_data": {"related_ids": {"order_id": "O"}}, "custom_id": "m"}
    capture = event("PAYMENT.CAPTURE.COMPLETED", {"id": "C"} | related)
    assert (capture.object_id, capture.intent_id, capture.workflow_id) == ("O", "C", "m")
    up = {"links": [{"rel": "up", "href": "https://x/v2/payments/captures/C"}], "custom_id": "ref"}
    for kind in ("REFUNDED", "REVERSED"):
        back = event(f"PAYMENT.CAPTURE.{kind}", {"id": "R"} | up)
        assert (back.object_id, back.intent_id) == ("C", "C")
    odd = event("SOMETHING.ELSE", {})
    assert (odd.object_id, odd.workflow_id, odd.created_at.year) == (None, None, 2027)
    with pytest.raises(Invalid):
        webhooks.parse(b'{"id": "WH-1", "event_type": "X"}')
