"""Setup intents: saving a card for later, with 3-D Secure where the card asks for it.

POST and GET /v1/setup_intents, GET/POST …/{intent}, its confirm and cancel.
"""

from collections.abc import Callable
from typing import Any

from sandbox import listing, problems, scripts
from sandbox.calls import Call, Routes
from sandbox.declines import Decline
from sandbox.parameters import (
    CREATED,
    METADATA,
    PAGE,
    Fields,
    boolean,
    clearable,
    one_of,
    text,
    url,
)
from sandbox.resources import charging, payment_methods
from sandbox.resources.fields import AUTOMATIC, TYPES, USAGE
from sandbox.resources.payment_intents import CONFIRMABLE
from sandbox.shapes import Json, client_secret, merge_metadata, new_id

routes = Routes()

AFTER_SUCCESS: list[Callable[[Call, Json], None]] = []
"""Functions to call when a card is saved: a checkout session completes."""

_UPDATE: Fields = {
    "payment_method_types": TYPES["payment_method_types"],
    "customer": text(),
    "description": clearable(text(1_000)),
    "metadata": clearable(METADATA),
    "payment_method": text(),
}
_CREATE: Fields = {
    **_UPDATE,
    **TYPES,
    "automatic_payment_methods": AUTOMATIC,
    "confirm": boolean(),
    "return_url": url(),
    "usage": USAGE,
    "use_stripe_sdk": boolean(),
}
_CONFIRM: Fields = {
    "payment_method_types": TYPES["payment_method_types"],
    "client_secret": text(),
    "payment_method": text(),
    "return_url": url(),
    "use_stripe_sdk": boolean(),
}


@routes.post("/v1/setup_intents", _CREATE)
def create(call: Call) -> Json:
    """A new set-up; with `confirm` it is tried at once."""
    params = call.params
    if params.get("customer"):
        call.load("customer", params["customer"], "customer")
    if "return_url" in params and not params.get("confirm"):
        message = "You can only pass `return_url` when `confirm` is true."
        raise problems.invalid(message, "return_url")
    intent = new(call, params)
    method = payment_methods.given(call, params, intent["customer"], "SetupIntent")
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        call.store.save(intent)
    return _confirm(call, intent, params) if params.get("confirm") else intent


_BLANK: Json = {
    "application": None,
    "cancellation_reason": None,
    "flow_directions": None,
    "last_setup_error": None,
    "latest_attempt": None,
    "livemode": False,
    "mandate": None,
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {
        "card": {
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": "automatic",
        }
    },
    "single_use_mandate": None,
    "status": "requires_payment_method",
}
"""Fields that are equal on every new one; nothing in it is changed in place."""


def new(call: Call, params: Json, **hidden: Any) -> Json:
    """Insert a set-up that needs a payment method, and emit its event."""
    intent_id = new_id("seti")
    allowed = params.get("allowed_payment_method_types")
    automatic = params.get("automatic_payment_methods", {"enabled": not allowed})
    automatic = {"allow_redirects": "always", **automatic} if automatic["enabled"] else None
    intent: Json = {
        **_BLANK,
        "id": intent_id,
        "object": "setup_intent",
        "allowed_payment_method_types": allowed,
        "automatic_payment_methods": automatic,
        "client_secret": client_secret(intent_id),
        "created": call.now(params.get("customer")),
        "customer": params.get("customer"),
        "description": params.get("description"),
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "metadata": merge_metadata({}, params.get("metadata") or {}),
        "payment_method_types": allowed or ["card"],
        "usage": params.get("usage", "off_session"),
    }
    call.store.insert(intent, **hidden)
    call.emit("setup_intent.created", intent)
    return intent


@routes.get(
    "/v1/setup_intents",
    {**PAGE, "created": CREATED, "customer": text(), "payment_method": text()},
)
def index(call: Call) -> Json:
    """Set-ups, newest first."""
    filters = {name: call.params.get(name) for name in ("customer", "payment_method")}
    return listing.page(call, "setup_intent", "/v1/setup_intents", filters)


@routes.get("/v1/setup_intents/{intent}", {"client_secret": text()}, publishable=True)
def retrieve(call: Call) -> Json:
    """One set-up; a browser needs its client secret."""
    return call.load_intent("setup_intent")


@routes.post("/v1/setup_intents/{intent}", _UPDATE)
def update(call: Call) -> Json:
    """Change a set-up that is not final."""
    intent, params = call.load_intent("setup_intent"), call.params
    _open(intent, "update")
    if "customer" in params:
        intent["customer"] = call.load("customer", params["customer"], "customer")["id"]
    if "description" in params:
        intent["description"] = params["description"]
    if "metadata" in params:
        intent["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    method = payment_methods.given(call, params, intent["customer"], "SetupIntent")
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    return call.store.save(intent)


@routes.post("/v1/setup_intents/{intent}/confirm", _CONFIRM, publishable=True)
def confirm(call: Call) -> Json:
    """Try to save the card: 402 when its issuer declines."""
    intent = call.load_intent("setup_intent")
    _open(intent, "confirm")
    return _confirm(call, intent, call.params)


@routes.post(
    "/v1/setup_intents/{intent}/cancel",
    {"cancellation_reason": one_of("abandoned", "duplicate", "requested_by_customer")},
)
def cancel(call: Call) -> Json:
    """Give up a set-up that has not succeeded."""
    intent = call.load_intent("setup_intent")
    _open(intent, "cancel")
    return give_up(call, intent, call.params.get("cancellation_reason"))


def give_up(call: Call, intent: Json, reason: str | None) -> Json:
    """Cancel without checks."""
    intent |= {"cancellation_reason": reason, "next_action": None, "status": "canceled"}
    call.store.save(intent)
    call.emit("setup_intent.canceled", intent)
    return intent


def _open(intent: Json, verb: str) -> None:
    if intent["status"] not in CONFIRMABLE:
        raise problems.unexpected_state(
            f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}.",
            "setup_intent",
            intent,
        )


def _confirm(call: Call, intent: Json, params: Json) -> Json:
    method = payment_methods.of_intent(call, params, intent, "SetupIntent")
    if method is None:
        raise problems.unexpected_state(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update "
            "the SetupIntent with a payment method and then confirm it again.",
            "setup_intent",
            intent,
        )
    return try_card(call, intent, method, params.get("return_url"))


def try_card(call: Call, intent: Json, method: Json, return_url: str | None) -> Json:
    """Save the card, ask for 3-D Secure first, or raise the issuer's 402."""
    intent |= {"payment_method": method["id"], "latest_attempt": new_id("setatt")}
    card = payment_methods.card_of(call, method)
    if not card.attaches:
        decline = scripts.outcome(card.charge).decline
        if decline:
            raise _decline(call, intent, method, decline)
    if card.authenticates_set_up:
        intent |= {
            "next_action": charging.next_action(call, intent["id"], return_url),
            "status": "requires_action",
        }
        call.store.save(intent)
        call.emit("setup_intent.requires_action", intent)
        return intent
    return _succeed(call, intent, method)


def _succeed(call: Call, intent: Json, method: Json) -> Json:
    if intent["customer"]:
        payment_methods.link(call, method, intent["customer"])
    if intent["usage"] == "off_session":
        call.store.hide(method["id"], set_up=True)
    intent |= {"last_setup_error": None, "next_action": None, "status": "succeeded"}
    call.store.save(intent)
    call.emit("setup_intent.succeeded", intent)
    for complete in AFTER_SUCCESS:
        complete(call, intent)
    return intent


def _decline(call: Call, intent: Json, method: Json, decline: Decline) -> problems.ApiError:
    refused = problems.ApiError(
        402, decline.message, type="card_error", code=decline.code, executed=True,
        advice_code=decline.advice, decline_code=decline.decline_code,
        network_decline_code=decline.network_code, payment_method=method,
    )  # fmt: skip
    _fail(call, intent, dict(refused.body["error"]))
    refused.body["error"]["setup_intent"] = intent
    return refused


def _fail(call: Call, intent: Json, error: Json) -> None:
    intent |= {
        "last_setup_error": error,
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    call.store.save(intent)
    call.emit("setup_intent.setup_failed", intent)


def finish_authentication(call: Call, intent: Json, *, passed: bool) -> Json:
    """End the 3-D Secure step of saving a card, passed or failed."""
    method = call.load("payment_method", intent["payment_method"])
    if passed:
        return _succeed(call, intent, method)
    _fail(call, intent, charging.authentication_failure("setup_intent", method))
    return intent
