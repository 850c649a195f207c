"""Payment intents: one payment, however many tries it takes.

POST and GET /v1/payment_intents, GET/POST …/{intent}, and its confirm, capture and cancel.
"""

from sandbox import amounts, journal, listing, problems, scripts
from sandbox.calls import Call, Routes
from sandbox.parameters import (
    CREATED,
    METADATA,
    PAGE,
    Fields,
    boolean,
    clearable,
    currency,
    either,
    integer,
    one_of,
    record,
    required,
    text,
    url,
)
from sandbox.resources import bank_debits, charging, intent_body, payment_methods, refunds
from sandbox.resources.charging import Terms
from sandbox.resources.fields import AUTOMATIC, SHIPPING, TYPES, USAGE
from sandbox.shapes import Json

routes = Routes()

OFF_SESSION = either(boolean(), one_of("one_off", "recurring"))
CARD_OPTIONS = record(
    card=record(request_three_d_secure=one_of("any", "automatic", "challenge")),
)
_PAYING: Fields = {
    **TYPES,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "payment_method": text(),
    "payment_method_options": CARD_OPTIONS,
    "receipt_email": clearable(text(800)),
    "setup_future_usage": clearable(USAGE),
    "shipping": clearable(SHIPPING),
}
_DESCRIBING: Fields = {
    "description": clearable(text(1_000)),
    "metadata": clearable(METADATA),
    "statement_descriptor": clearable(text(22)),
    "statement_descriptor_suffix": clearable(text(22)),
    "transfer_group": clearable(text()),
}
_CONFIRMING: Fields = {
    "error_on_requires_action": boolean(),
    "off_session": OFF_SESSION,
    "return_url": url(),
    "use_stripe_sdk": boolean(),
}
_UPDATE: Fields = {
    **_PAYING,
    **_DESCRIBING,
    "amount": integer(),
    "currency": currency(),
    "customer": text(),
}
_CREATE: Fields = {
    **_UPDATE,
    **_CONFIRMING,
    "amount": required(integer()),
    "automatic_payment_methods": AUTOMATIC,
    "confirm": boolean(),
    "confirmation_method": one_of("automatic"),
    "currency": required(currency()),
}
_CONFIRM: Fields = {**_PAYING, **_CONFIRMING, "client_secret": text()}

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture")


@routes.post("/v1/payment_intents", _CREATE)
def create(call: Call) -> Json:
    """A new intent; with `confirm` it is tried at once, and a decline keeps the intent."""
    params = call.params
    amounts.check(params["amount"], params["currency"])
    if params.get("customer"):
        call.load("customer", params["customer"], "customer")
    word = scripts.next_word(call.store, "amount", [params.get("customer")])
    if word is not None:
        raise amounts.converted(word)
    if not params.get("confirm"):
        for name in ("off_session", "return_url", "error_on_requires_action"):
            if name in params:
                message = f"You can only pass `{name}` when `confirm` is true."
                raise problems.invalid(message, name)
    intent = intent_body.new(call, params)
    method = payment_methods.given(call, params, intent["customer"], "PaymentIntent")
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        call.store.save(intent)
    call.emit("payment_intent.created", intent)
    return _confirm(call, intent, params) if params.get("confirm") else intent


@routes.get("/v1/payment_intents", {**PAGE, "created": CREATED, "customer": text()})
def index(call: Call) -> Json:
    """Intents, newest first."""
    filters = {"customer": call.params.get("customer")}
    return listing.page(call, "payment_intent", "/v1/payment_intents", filters)


@routes.get("/v1/payment_intents/{intent}", {"client_secret": text()}, publishable=True)
def retrieve(call: Call) -> Json:
    """One intent; a browser needs its client secret."""
    return call.load_intent("payment_intent")


@routes.post("/v1/payment_intents/{intent}", _UPDATE)
def update(call: Call) -> Json:
    """Change an intent; of a final one only its descriptive fields."""
    intent, params = call.load_intent("payment_intent"), call.params
    touched = set(params) - set(_DESCRIBING) - {"expand", "receipt_email"}
    if touched and intent["status"] not in CONFIRMABLE:
        raise problems.unexpected_state(
            f"This PaymentIntent's {sorted(touched)[0]} could not be updated because it has a "
            f"status of {intent['status']}. You may only update the {sorted(touched)[0]} of a "
            "PaymentIntent with one of the following statuses: requires_payment_method, "
            "requires_confirmation, requires_action.",
            "payment_intent",
            intent,
        )
    changed = {**intent, **params}
    amounts.check(changed["amount"], changed["currency"])
    if "customer" in params:
        call.load("customer", params["customer"], "customer")
    intent_body.apply(intent, params)
    method = payment_methods.given(call, params, intent["customer"], "PaymentIntent")
    if method:
        intent["payment_method"] = method["id"]
    if touched and intent["status"] != "canceled":
        waiting = "requires_confirmation" if intent["payment_method"] else CONFIRMABLE[0]
        intent |= {"status": waiting, "next_action": None}
    return call.store.save(intent)


@routes.post("/v1/payment_intents/{intent}/confirm", _CONFIRM, publishable=True)
def confirm(call: Call) -> Json:
    """Try to charge: 402 on a decline, 400 when the intent is past that."""
    intent = call.load_intent("payment_intent")
    _confirmable(intent)
    intent_body.apply(intent, call.params)
    return _confirm(call, intent, call.params)


def _confirmable(intent: Json) -> None:
    status = intent["status"]
    if status in CONFIRMABLE:
        return
    if status in ("succeeded", "requires_capture", "processing"):
        done = "already succeeded" if status == "succeeded" else f"a status of {status}"
        what = f"it has {done} after being previously confirmed."
    else:
        what = (
            f"it has a status of {status}. Only a PaymentIntent with one of the following "
            "statuses may be confirmed: requires_confirmation, requires_action."
        )
    raise problems.unexpected_state(
        f"You cannot confirm this PaymentIntent because {what}", "payment_intent", intent
    )


def _confirm(call: Call, intent: Json, params: Json) -> Json:
    """Find the card, then charge it under the terms of this confirmation."""
    method = payment_methods.of_intent(call, params, intent, "PaymentIntent")
    if method is None:
        raise problems.unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You "
            "can either update the PaymentIntent with a payment method and then confirm it "
            "again, or confirm it again directly with a payment method or ConfirmationToken.",
            "payment_intent",
            intent,
        )
    if params.get("off_session") and intent["setup_future_usage"]:
        raise problems.invalid(
            "You cannot confirm with the `off_session` parameter when `setup_future_usage` is also "
            "set on the PaymentIntent.",
            "off_session",
        )
    if not call.publishable and intent["setup_future_usage"]:
        # A browser sends the mandate that its page has shown.
        bank_debits.demand_mandate(payment_methods.card_of(call, method))
    options = intent["payment_method_options"]["card"]["request_three_d_secure"]
    terms = Terms(
        off_session=bool(params.get("off_session")),
        refuse_action=params.get("error_on_requires_action", False),
        ask_always=options in ("any", "challenge"),
        return_url=params.get("return_url"),
    )
    return charging.attempt(call, intent, method, terms)


@routes.post(
    "/v1/payment_intents/{intent}/capture",
    {"amount_to_capture": integer(1), "metadata": clearable(METADATA)},
)
def capture(call: Call) -> Json:
    """Capture what was set aside, in whole or in part."""
    intent = call.load_intent("payment_intent")
    if intent["status"] != "requires_capture":
        raise problems.unexpected_state(
            "This PaymentIntent could not be captured because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
            "be captured: requires_capture.",
            "payment_intent",
            intent,
        )
    amount = call.params.get("amount_to_capture", intent["amount_capturable"])
    if amount > intent["amount_capturable"]:
        message = "The amount to capture is greater than the capturable amount."
        raise problems.invalid(message, "amount_to_capture", "amount_too_large")
    intent_body.apply(intent, call.params)
    charge = call.load("charge", intent["latest_charge"])
    charge |= {"captured": True, "amount_captured": amount}
    call.store.save(charge)
    call.effect("charge.captured", {**charge, "amount": amount})
    intent |= {"amount_capturable": 0, "amount_received": amount, "status": "succeeded"}
    call.store.save(intent)
    call.emit("charge.captured", charge)
    charging.settled(call, intent, charge)
    return intent


@routes.post(
    "/v1/payment_intents/{intent}/cancel",
    {
        "cancellation_reason": one_of(
            "abandoned", "duplicate", "fraudulent", "requested_by_customer"
        )
    },
)
def cancel(call: Call) -> Json:
    """Give up an intent that has not succeeded; money set aside is released."""
    intent = call.load_intent("payment_intent")
    demand_cancelable(intent)
    if call.store.hidden(intent["id"]).get("session"):
        raise problems.unexpected_state(
            "You cannot cancel this PaymentIntent because it was created by a Checkout Session. "
            "Expire the Checkout Session instead.",
            "payment_intent",
            intent,
        )
    return give_up(call, intent, call.params.get("cancellation_reason"))


def demand_cancelable(intent: Json, *, also: tuple[str, ...] = ()) -> None:
    """Refuse to cancel an intent that has another status than those, and `also` these."""
    if intent["status"] not in (*CANCELABLE, *also):
        raise problems.unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. "
            "Only a PaymentIntent with one of the following statuses may be canceled: "
            "requires_payment_method, requires_capture, requires_confirmation, requires_action.",
            "payment_intent",
            intent,
        )


def give_up(call: Call, intent: Json, reason: str | None) -> Json:
    """Cancel without checks, and release what was set aside, or is being debited."""
    if intent["status"] == "requires_capture":
        refunds.release(call, call.load("charge", intent["latest_charge"]))
    if intent["status"] == "processing":
        charge = call.load("charge", intent["latest_charge"])
        call.store.save({**charge, "paid": False, "status": "failed"})
    intent |= {
        "amount_capturable": 0,
        "canceled_at": call.now(intent["customer"]),
        "cancellation_reason": reason,
        "next_action": None,
        "status": "canceled",
    }
    call.store.save(intent)
    journal.write(call.store, "note", "payment_intent.canceled", intent, request=call.request)
    call.emit("payment_intent.canceled", intent)
    return intent
