"""Reading the card provider's events: is it theirs, what happened, and whose is it.

Own signature check instead of the SDK's: that one lets timestamps of the future pass.
"""

import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from billing.core.errors import Invalid
from billing.platform.provider_inbox.schemas import ProviderEvent

TOLERANCE_SECONDS: Final = 300
# What can change where one of our matters stands; everything else is stored and left alone.
PAYMENT_EVENTS: Final = frozenset(
    {
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "payment_intent.processing",
        "payment_intent.canceled",
        "checkout.session.completed",
        "checkout.session.expired",
        "setup_intent.succeeded",
        "setup_intent.setup_failed",
        "setup_intent.canceled",
        "payment_method.automatically_updated",
        "payment_method.updated",
        "payment_method.detached",
    }
)


def verify(body: bytes, header: str | None, secrets: Sequence[str], now: datetime) -> None:
    """Refuse a body that none of `secrets` signed within the tolerance, past or future [N2]."""
    stamp, signatures = _parts(header or "")
    if stamp is None or abs(now.timestamp() - stamp) > TOLERANCE_SECONDS:
        raise _refused("timestamp missing or outside the tolerance")
    signed = f"{stamp}.".encode() + body
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, sha256).hexdigest().encode()
        # As bytes: text beyond ASCII would be an error here, not a mismatch.
        if any(hmac.compare_digest(expected, given.encode()) for given in signatures):
            return
    raise _refused("no signature matches")


def sign(body: bytes, secret: str, stamp: int) -> str:
    """The header a sender writes: for tests and for measuring."""
    signed = hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
    return f"t={stamp},v1={signed}"


def parse(body: bytes) -> ProviderEvent:
    """The event in a verified body; Invalid INVALID_PAYLOAD when it is not one."""
    try:
        return read(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("INVALID_PAYLOAD", "the body is not a Stripe event", status=400) from error


def read(payload: dict[str, Any]) -> ProviderEvent:
    """An event as the provider's JSON shows it."""
    subject = payload["data"]["object"]
    metadata = subject.get("metadata") or {}
    intent = subject.get("payment_intent")
    if subject.get("object") == "payment_intent":
        intent = subject["id"]
    return ProviderEvent(
        event_id=payload["id"],
        type=payload["type"],
        object_id=subject.get("id"),
        account=metadata.get("account"),
        workflow_id=metadata.get("matter"),
        intent_id=intent if isinstance(intent, str) else None,
        created_at=datetime.fromtimestamp(payload["created"], UTC),
        payload=payload,
        livemode=bool(payload.get("livemode")),
    )


def _parts(header: str) -> tuple[int | None, list[str]]:
    stamp, signatures = None, []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit() and len(value) < 12:
            stamp = int(value)
        elif name == "v1":
            signatures.append(value)
    return stamp, signatures


def _refused(why: str) -> Invalid:
    return Invalid("INVALID_SIGNATURE", f"webhook refused: {why}", status=400)
