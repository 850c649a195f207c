"""The body of a payment intent: how a new one looks, and how parameters change it.

`charging` and the operations set its states; this file only knows fields.
"""

from typing import Any

from sandbox.calls import Call
from sandbox.shapes import Json, address, client_secret, merge_metadata, new_id

_PLAIN = (
    "amount", "currency", "customer", "capture_method", "receipt_email", "setup_future_usage",
    "description", "statement_descriptor", "statement_descriptor_suffix", "transfer_group",
    "excluded_payment_method_types",
)  # fmt: skip


_BLANK: Json = {
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "application": None,
    "application_fee_amount": None,
    "canceled_at": None,
    "cancellation_reason": None,
    "confirmation_method": "automatic",
    "last_payment_error": None,
    "latest_charge": None,
    "livemode": False,
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "processing": None,
    "review": None,
    "source": None,
    "status": "requires_payment_method",
    "transfer_data": None,
}
"""Fields that are equal on every new one; nothing in it is changed in place."""


def new(call: Call, params: Json, **hidden: Any) -> Json:
    """Insert an intent that asks for a payment method."""
    intent_id = new_id("pi")
    allowed = params.get("allowed_payment_method_types")
    automatic = params.get("automatic_payment_methods", {"enabled": not allowed})
    automatic = {"allow_redirects": "always", **automatic} if automatic["enabled"] else None
    intent: Json = {
        **_BLANK,
        "id": intent_id,
        "object": "payment_intent",
        "allowed_payment_method_types": allowed,
        "amount": params["amount"],
        "automatic_payment_methods": automatic,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": client_secret(intent_id),
        "created": call.now(params.get("customer")),
        "currency": params["currency"],
        "customer": params.get("customer"),
        "description": params.get("description"),
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "metadata": merge_metadata({}, params.get("metadata") or {}),
        "payment_method_options": _options(params),
        "payment_method_types": allowed or ["card"],
        "receipt_email": params.get("receipt_email"),
        "setup_future_usage": params.get("setup_future_usage"),
        "shipping": _shipping(params.get("shipping")),
        "statement_descriptor": params.get("statement_descriptor"),
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "transfer_group": params.get("transfer_group"),
    }
    return call.store.insert(intent, **hidden)


def apply(intent: Json, params: Json) -> None:
    """Set the plain fields that a request changes."""
    intent.update({name: params[name] for name in _PLAIN if name in params})
    if "metadata" in params:
        intent["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    if "shipping" in params:
        intent["shipping"] = _shipping(params["shipping"])
    if "payment_method_options" in params:
        intent["payment_method_options"] = _options(params)
    if "allowed_payment_method_types" in params:
        allowed = params["allowed_payment_method_types"]
        intent |= {"allowed_payment_method_types": allowed, "payment_method_types": allowed}


def _options(params: Json) -> Json:
    card = params.get("payment_method_options", {}).get("card", {})
    return {
        "card": {
            "installments": None,
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": card.get("request_three_d_secure", "automatic"),
        }
    }


def _shipping(given: Json | None) -> Json | None:
    return given and {
        "address": address(given["address"]),
        "carrier": None,
        "name": given["name"],
        "phone": given.get("phone"),
        "tracking_number": None,
    }
