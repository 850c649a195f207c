"""One use, validated and encoded as JSON that is the same at every try.

A use whose form the API would refuse is refused here, before it is stored.
"""

import json
import re
from collections.abc import Mapping
from datetime import MINYEAR, UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypedDict, get_args
from uuid import uuid4

from durable_billing.errors import InvalidEvent

Amount = Decimal | int | str
"""A quantity: never a float, which loses digits."""

BillingMethod = Literal[
    "wallet_deduction", "payment_charge", "credit_consumption", "subscription_included"
]
ServiceType = Literal[
    "model_inference", "mcp_service", "agent_execution", "storage_minio", "api_gateway",
    "notification",
]  # fmt: skip

OnInsufficient = Literal["reject", "defer"]

LAST_YEAR: Final = 9_000
MAX_EVENT_BYTES: Final = 262_144
MAX_DETAIL_BYTES: Final = 16_384
MAX_DETAIL_LEVELS: Final = 32
_AMOUNT: Final = re.compile(r"(?=[0-9.]*[1-9])[0-9]{1,15}(\.[0-9]{1,12})?")
_NOTHING: Final = re.compile(r"0{1,15}(\.0{1,12})?")
_NAMES: Final = ("product_id", "service_type", "feature_type", "operation")


class UseDetail(TypedDict, total=False):
    """Fields of a use besides the product, the account, and how it is paid."""

    event_id: str
    user_id: str
    organization_id: str
    session_id: str
    request_id: str
    operation: str
    model: str
    occurred_at: datetime
    usage_details: Mapping[str, Any]


class Use(UseDetail, total=False):
    """All fields of a use besides its amount. One of `product_id`, `service_type` and
    `feature_type` is required; role service names the account by `account_id` or `external_id`.
    """

    product_id: str
    service_type: ServiceType
    feature_type: str
    account_id: str
    external_id: str
    billing_method: BillingMethod
    on_insufficient: OnInsufficient
    hold_id: str


class Check(TypedDict, total=False):
    """Fields of a use that is checked before it happens, besides its amount; role service names the
    account by `account_id` or `external_id`.
    """

    product_id: str
    service_type: ServiceType
    feature_type: str
    operation: str
    billing_method: BillingMethod
    user_id: str
    organization_id: str
    event_id: str
    account_id: str
    external_id: str


FIELDS: Final = frozenset({"usage_amount"} | Use.__annotations__.keys())
"""Every field of an event; a test compares them with the API's."""
_TEXTS: Final = FIELDS - {"usage_amount", "occurred_at", "usage_details"}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "service_type": get_args(ServiceType),
    "billing_method": get_args(BillingMethod),
    "on_insufficient": get_args(OnInsufficient),
}


def build(usage_amount: Amount, use: Use, *, account: str | None = None) -> tuple[str, bytes]:
    """Return (event id, JSON) of a use. Errors: InvalidEvent with the invalid field.

    A use without an `event_id` gets a new one, and the current time. A use with the caller's own
    id stays exactly as given, so recording it again is the same event.
    """
    body: dict[str, Any] = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in use.items()
        if value is not None
    }
    body["usage_amount"] = amount_text(usage_amount, zero=True)
    if "event_id" not in body:
        body["event_id"] = uuid4().hex
        body.setdefault("occurred_at", datetime.now(UTC))
    if account is not None and "account_id" not in body and "external_id" not in body:
        body["account_id"] = account
    _check(body)
    if (at := body.get("occurred_at")) is not None:
        body["occurred_at"] = _instant(at)
    return body["event_id"], encode(body)


def take_account(body: dict[str, Any]) -> str | None:
    """Remove the account that a body names and return it; a single call sends it in a header.

    Errors: InvalidEvent if the body names two.
    """
    account, external = (body.pop(name, None) for name in ("account_id", "external_id"))
    if account is not None and external is not None:
        raise InvalidEvent("name the account by account_id or by external_id, not by both")
    found: str | None = external if account is None else account
    return found


def amount_text(value: Amount, *, zero: bool = False, name: str = "usage_amount") -> str:
    """Return the amount as the API expects it; `zero` allows 0, such as a level's reading.

    Errors: InvalidEvent, with the field's `name`, for a float, zero, a sign or more than 12
    decimals.

    >>> amount_text(Decimal("1E+3"))
    '1000'
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise InvalidEvent(f"{name}: pass a Decimal, an int or a str, never a float")
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if not _AMOUNT.fullmatch(text) and not (zero and _NOTHING.fullmatch(text)):
        raise InvalidEvent(f"{name}: {text[:40]!r} must be above 0 with at most 12 decimals")
    return text


def encode(body: Mapping[str, Any]) -> bytes:
    """Encode an event as JSON. Errors: InvalidEvent for non-JSON values and above 256 KiB."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        encoded = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error
    if len(encoded) > MAX_EVENT_BYTES:
        raise InvalidEvent(f"the event is larger than {MAX_EVENT_BYTES} bytes")
    return encoded


def _check(body: Mapping[str, Any]) -> None:
    unknown = body.keys() - FIELDS
    if unknown:
        raise InvalidEvent(f"{min(unknown)}: no such field")
    if not any(name in body for name in _NAMES):
        raise InvalidEvent("name a product_id, a service_type, a feature_type or an operation")
    for name in sorted(_TEXTS & body.keys()):
        text = body[name]
        if not isinstance(text, str) or not 1 <= len(text) <= 255:
            raise InvalidEvent(f"{name}: must be a string of 1 to 255 characters, not blank")
        if "\0" in text:
            raise InvalidEvent(f"{name}: contains a NUL")
        if text not in _CHOICES.get(name, (text,)):
            raise InvalidEvent(f"{name}: must be one of {', '.join(_CHOICES[name])}")
    how = body.get("billing_method"), body.get("on_insufficient", "reject")
    if "hold_id" in body and how != (None, "reject"):
        raise InvalidEvent("with hold_id, leave out billing_method and on_insufficient")
    if "usage_details" in body:
        _check_details(body["usage_details"])


def _check_details(details: Any) -> None:
    if not isinstance(details, dict):
        raise InvalidEvent("usage_details: must be a dict")
    encoded = encode(details)
    if len(encoded) > MAX_DETAIL_BYTES:
        raise InvalidEvent(f"usage_details: more than {MAX_DETAIL_BYTES} bytes of JSON")
    if b"\\u0000" in encoded.replace(rb"\\", b""):
        raise InvalidEvent("usage_details: contains a NUL")
    _check_value(details, MAX_DETAIL_LEVELS)


def _check_value(value: Any, levels: int) -> None:
    """Check the depth of details and the length of their numbers. Errors: InvalidEvent."""
    if isinstance(value, dict | list | tuple):
        if not levels:
            raise InvalidEvent(f"usage_details: nested deeper than {MAX_DETAIL_LEVELS} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_value(item, levels - 1)
    elif isinstance(value, int) and abs(value) >= 10**64:
        raise InvalidEvent("usage_details: a number has more than 64 digits")
    elif isinstance(value, float) and value and not 1e-99 <= abs(value) < 1e100:
        raise InvalidEvent("usage_details: a number has more than two digits in its exponent")


def _instant(at: Any) -> str:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidEvent("occurred_at: must be a datetime with a time zone")
    if not MINYEAR < at.year <= LAST_YEAR:
        raise InvalidEvent(f"occurred_at: must be in the years {MINYEAR + 1} to {LAST_YEAR}")
    return at.isoformat()
