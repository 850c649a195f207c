"""Verify and parse PayPal's events.

PayPal signs `transmission id|time|webhook id|crc32 of the body` with the key of a certificate that
it serves itself. The time is not checked, because a repeat after days has the time of the first
delivery; the event's id makes it count once.
"""

import zlib
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from billing.core.frozen import Frozen
from billing.platform.provider_inbox.refusals import refused, stranger
from billing.platform.provider_inbox.schemas import ProviderEvent

REVERSALS: Final = frozenset({"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED"})
"""Events of returned money: refunds, and reversals by PayPal for the payer or their bank."""
# Events that can change the state of a matter; all others are stored and ignored.
EVENTS: Final = REVERSALS | frozenset(
    {
        "CHECKOUT.ORDER.APPROVED",
        "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.DECLINED",
        "PAYMENT.CAPTURE.DENIED",
        "PAYMENT.CAPTURE.PENDING",
    }
)
CERTIFICATES: Final = "/v1/notifications/certs/"
CERTIFICATE: Final = "paypal-cert-url"
"""The header that names the certificate."""
ALGORITHM: Final = "SHA256withRSA"


class Transmission(Frozen):
    """The headers of one event, named as PayPal names them."""

    id: str
    time: str
    signature: str
    certificate_url: str


def transmission(headers: Mapping[str, str], base: str) -> Transmission:
    """Return the headers of a possible event of PayPal at `base`. Errors: INVALID_SIGNATURE."""
    named = {
        "id": "paypal-transmission-id",
        "time": "paypal-transmission-time",
        "signature": "paypal-transmission-sig",
        "certificate_url": CERTIFICATE,
    }
    sent = Transmission(**{field: headers.get(name, "") for field, name in named.items()})
    if headers.get("paypal-auth-algo") != ALGORITHM:
        raise stranger("its algorithm is not SHA256withRSA")
    if not _is_theirs(sent.certificate_url, base):
        raise stranger("its certificate is not PayPal's")
    return sent


def verify(
    body: bytes, sent: Transmission, webhook_id: str, certificate: bytes, now: datetime
) -> None:
    """Refuse a body that this certificate did not sign for this webhook: INVALID_SIGNATURE."""
    try:
        read = load_pem_x509_certificate(certificate)
        key = read.public_key()
        given = b64decode(sent.signature, validate=True)
    except ValueError as error:
        raise refused("its certificate or signature cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise refused("its key is not an RSA key")
    if not read.not_valid_before_utc <= now <= read.not_valid_after_utc:
        raise refused("its certificate is expired or not yet valid")
    try:
        key.verify(given, signed_text(sent, webhook_id, body), PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise refused("no signature matches") from error


def signed_text(sent: Transmission, webhook_id: str, body: bytes) -> bytes:
    """Return the text that PayPal signs."""
    return f"{sent.id}|{sent.time}|{webhook_id}|{zlib.crc32(body)}".encode()


def read(payload: dict[str, Any]) -> ProviderEvent:
    """Parse an event from PayPal's JSON.

    Its object is the order, or the capture if no order is named.
    """
    resource = payload["resource"]
    units = resource.get("purchase_units") or [{}]
    related = (resource.get("supplementary_data") or {}).get("related_ids") or {}
    capture = None
    if payload["event_type"] in REVERSALS:
        capture = _given_back(resource)
    elif payload["event_type"].startswith("PAYMENT.CAPTURE."):
        capture = resource["id"]
    matter = resource.get("custom_id") or units[0].get("custom_id")
    return ProviderEvent(
        event_id=payload["id"],
        type=payload["event_type"],
        object_id=related.get("order_id") or capture or resource.get("id"),
        account=None,
        workflow_id=matter,
        intent_id=capture,
        created_at=_instant(payload.get("create_time")),
        payload=payload,
    )


def _is_theirs(url: str, base: str) -> bool:
    """True for a certificate at PayPal itself: at its API's host, or that host's older name."""
    try:
        at = urlsplit(url)
    except ValueError:
        return False
    known = urlsplit(base)
    hosts = {known.netloc, known.netloc.replace("api-m.", "api.", 1)}
    return (
        (at.scheme, at.query, at.fragment) == (known.scheme, "", "")
        and at.netloc in hosts
        and at.path.startswith(CERTIFICATES)
        and at.path.removeprefix(CERTIFICATES).replace("-", "").isalnum()
    )


def _given_back(refund: dict[str, Any]) -> str | None:
    """Return the capture that a refund or reversal returns: the link `up` points to it."""
    up = (link["href"] for link in refund.get("links", ()) if link.get("rel") == "up")
    href: str = next((one for one in up if "/captures/" in one), "")
    return href.rpartition("/")[2] or None


def _instant(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None
