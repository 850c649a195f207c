"""Verify and parse providers' events: Stripe's here, PayPal's in `paypal`; `read` takes both.

The signature check replaces the SDK's, which accepts timestamps in the future.
"""

import hmac
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Final

from billing.core.errors import Invalid
from billing.platform.provider_inbox import paypal
from billing.platform.provider_inbox.refusals import refused, stranger
from billing.platform.provider_inbox.schemas import ProviderEvent

TOLERANCE_SECONDS: Final = 300
PLAIN_BRACKETS: Final = 500
"""A text with fewer is not nested too deep to be read; Stripe's own events have some fifty."""
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
# The first of each in an event's text belong to the event itself.
_NAMES: Final = re.compile(r'"(id|type)"\s*:\s*"([\w.]{1,255})"')
# Objects that only our server creates. The metadata of a card comes from the payer's browser.
_OF_OUR_HAND: Final = frozenset({"payment_intent", "checkout.session", "setup_intent"})
REVERSAL_EVENTS: Final = frozenset(
    {
        "charge.refunded",
        "charge.refund.updated",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    }
)
"""Events of returned money; the matter of the payment's reversal handles them."""
CARD_ADDED: Final = "payment_method.attached"
"""A card was saved, possibly in the provider's portal."""
DEFAULT_CHOSEN: Final = "customer.updated"
"""Another card is the customer's default, possibly chosen in the provider's portal; or it tells of
something else.
"""
# Events that can change the state of a matter; all others are stored and ignored.
PAYMENT_EVENTS: Final = REVERSAL_EVENTS | frozenset(
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
        CARD_ADDED,
        DEFAULT_CHOSEN,
        "payment_method.automatically_updated",
        "payment_method.updated",
        "payment_method.detached",
    }
)


def verify(body: bytes, header: str | None, secrets: Sequence[str], now: datetime) -> None:
    """Refuse a body that none of `secrets` signed within the tolerance, past or future [N2]."""
    stamp, signatures = _parts(header or "")
    if stamp is None or not signatures:
        raise stranger("timestamp or signature missing")
    is_signed = _is_signed(f"{stamp}.".encode() + body, signatures, secrets)
    if abs(now.timestamp() - stamp) > TOLERANCE_SECONDS:
        # A signed event is the provider's: our own clock may be wrong.
        raise (refused if is_signed else stranger)("timestamp outside the tolerance")
    if not is_signed:
        raise refused("no signature matches")


def _is_signed(signed: bytes, signatures: Sequence[str], secrets: Sequence[str]) -> bool:
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, sha256).hexdigest().encode()
        # As bytes: text beyond ASCII would be an error here, not a mismatch.
        if any(hmac.compare_digest(expected, given.encode()) for given in signatures):
            return True
    return False


def parse(body: bytes) -> ProviderEvent:
    """Parse a verified body; an event nested too deep to be read is set aside.

    Errors: INVALID_PAYLOAD if it is no event.
    """
    try:
        text = body.decode()
        try:
            payload = json.loads(text, parse_float=_number)
            return _event(payload if _is_plain(text) else _storable(payload))
        except RecursionError:
            return _set_aside(text, "nested too deep to be read")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("INVALID_PAYLOAD") from error


def read(payload: dict[str, Any]) -> ProviderEvent:
    """Parse an event from its provider's JSON; values that no column can store are replaced."""
    return _event(_storable(payload))


def _event(payload: dict[str, Any]) -> ProviderEvent:
    return paypal.read(payload) if "event_type" in payload else _of_stripe(payload)


def _of_stripe(payload: dict[str, Any]) -> ProviderEvent:
    subject = payload["data"]["object"]
    metadata = subject.get("metadata") or {}
    intent, customer = subject.get("payment_intent"), subject.get("customer")
    if subject.get("object") == "payment_intent":
        intent = subject["id"]
    return ProviderEvent(
        event_id=payload["id"],
        type=payload["type"],
        object_id=subject.get("id"),
        account=metadata.get("account"),
        workflow_id=metadata.get("matter") if subject.get("object") in _OF_OUR_HAND else None,
        intent_id=intent if isinstance(intent, str) else None,
        customer_id=customer if isinstance(customer, str) else None,
        created_at=_instant(payload["created"]),
        payload=payload,
    )


def is_news(event: ProviderEvent) -> bool:
    """False for news of a customer that tell of no other default card."""
    if event.type != DEFAULT_CHOSEN:
        return True
    data: Any = event.payload["data"]
    before = data.get("previous_attributes") or {}
    settings = before.get("invoice_settings")
    return isinstance(settings, dict) and "default_payment_method" in settings


def _set_aside(text: str, reason: str) -> ProviderEvent:
    """Return an event with only its id and type; operators find it parked."""
    found = dict(reversed(_NAMES.findall(text)))
    payload = {"id": found["id"], "type": found["type"], "created": None, "data": {"object": {}}}
    return read(payload).model_copy(update={"fault": reason})


def _is_plain(text: str) -> bool:
    """True of a JSON text whose values a column can store as they are: what none can store is in
    no body, save by an escape or one of the words for numbers that JSON does not have.
    """
    odd = "\\u" in text or "NaN" in text or "Infinity" in text
    return not odd and text.count("{") + text.count("[") < PLAIN_BRACKETS


def _storable(value: Any) -> Any:
    """Return the value as Postgres can store it: no NUL, no lone surrogates, no NaN."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _number(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text


def _instant(created: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(created, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None  # beyond the calendar; no decision depends on it


def _parts(header: str) -> tuple[int | None, list[str]]:
    stamp, signatures = None, []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit() and len(value) < 12:
            stamp = int(value)
        elif name == "v1":
            signatures.append(value)
    return stamp, signatures
