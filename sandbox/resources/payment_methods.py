"""Payment methods: test cards as customers hold them.

A `pm_card_…` token stands for a new card each time it is attached or used, as at Stripe.
"""

from typing import Any

from sandbox import cards, listing, problems
from sandbox.calls import Call, Routes
from sandbox.cards import TestCard
from sandbox.declines import DECLINES
from sandbox.parameters import (
    METADATA,
    PAGE,
    clearable,
    integer,
    one_of,
    record,
    text,
)
from sandbox.resources import bank_debits
from sandbox.resources.fields import BILLING_DETAILS, REDISPLAY
from sandbox.shapes import Json, billing_details, merge_metadata, new_id

routes = Routes()

CARD_DATA = record(
    token=text(),
    number=text(),
    cvc=text(),
    exp_month=integer(1, 12),
    exp_year=integer(2000, 2100),
)

USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer "
    "attachment, shared with a connected account without Customer attachment, or was detached "
    "from a Customer. It may not be used again. To use a PaymentMethod multiple times, you must "
    "attach it to a Customer first."
)


def make(call: Call, card: TestCard, data: Json | None = None, customer: str | None = None) -> Json:
    """A new payment method of a test card, attached to nobody yet."""
    data = data or {}
    method: Json = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": data.get("allow_redisplay", "unspecified"),
        "billing_details": billing_details(data.get("billing_details")),
        card.kind: _details(card),
        "created": call.now(customer),
        "customer": None,
        "livemode": False,
        "metadata": data.get("metadata", {}),
        "type": card.kind,
    }
    return call.store.insert(method, card=card.token, set_up=False, used_up=False)


def _details(card: TestCard) -> Json:
    if card.is_link:
        return {"email": "payer@example.com"}
    return bank_debits.saved(card) if card.debit else _card(card)


def _card(card: TestCard) -> Json:
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass",
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def resolve(call: Call, name: str, customer: str | None = None) -> Json:
    """Return the payment method of an id, or a new one for a token; 400 if unknown."""
    card = cards.named(name)
    if card is not None:
        return make(call, card, customer=customer)
    return call.load("payment_method", name, "payment_method")


def given(call: Call, params: Json, customer: str | None, noun: str) -> Json | None:
    """Return the payment method of a request, if any; 400 if this customer may not use it.

    `noun` names the object that the customer belongs on: a PaymentIntent or a SetupIntent.
    """
    if "payment_method" not in params:
        return None
    method = resolve(call, params["payment_method"], customer)
    check_usable(call, method, customer, noun)
    return method


def of_intent(call: Call, params: Json, intent: Json, noun: str) -> Json | None:
    """Return the payment method of a confirmation: the request's, else the intent's own."""
    method, own = given(call, params, intent["customer"], noun), intent["payment_method"]
    if method is None and own:
        method = call.load("payment_method", own, "payment_method")
        check_usable(call, method, intent["customer"], noun)
    return method


def check_usable(call: Call, method: Json, customer: str | None, noun: str) -> None:
    """Refuse a card of another customer, and one that is used up."""
    owner = method["customer"]
    if owner is not None and customer is None:
        raise problems.invalid(
            f"The payment method supplied ({method['id']}) belongs to the Customer {owner}. "
            f"Please include the Customer in the `customer` parameter on the {noun}.",
            "payment_method",
        )
    if owner not in (None, customer):
        raise problems.invalid(
            f"The customer does not have a payment method with the ID {method['id']}. The payment "
            "method must be attached to the customer.",
            "payment_method",
            "resource_missing",
        )
    if call.store.hidden(method["id"])["used_up"]:
        raise problems.invalid(USED_UP, "payment_method")


def card_of(call: Call, method: Json) -> TestCard:
    """Return the test card behind a payment method."""
    return cards.CARDS[call.store.hidden(method["id"])["card"]]


def attach_to(call: Call, name: str, customer: str) -> Json:
    """Attach a card to a customer; 402 for cards that cannot be saved, 400 for used-up ones."""
    method = resolve(call, name, customer)
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise problems.invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    if call.store.hidden(method["id"])["used_up"]:
        raise problems.invalid(USED_UP)
    refuse_unsavable(call, method)
    return link(call, method, customer)


def refuse_unsavable(call: Call, method: Json) -> None:
    """Raise a 402 for a card whose issuer declines the check made when saving it."""
    card = card_of(call, method)
    if not card.attaches:
        reason = DECLINES[card.charge]
        raise problems.ApiError(
            402,
            reason.message,
            type="card_error",
            code=reason.code,
            executed=True,
            advice_code=reason.advice,
            decline_code=reason.decline_code,
            network_decline_code=reason.network_code,
        )


def link(call: Call, method: Json, customer: str) -> Json:
    """Attach without further checks, after a successful set-up or payment."""
    if method["customer"] != customer:
        method["customer"] = customer
        call.store.save(method)
        call.emit("payment_method.attached", method)
    return method


def detach_from(call: Call, method: Json) -> Json:
    """Take a card from its customer; it can never be used again."""
    customer = method["customer"]
    method["customer"] = None
    call.store.save(method)
    call.store.hide(method["id"], used_up=True)
    owner = call.store.get("customer", customer)
    if owner and owner["invoice_settings"]["default_payment_method"] == method["id"]:
        owner["invoice_settings"]["default_payment_method"] = None
        call.store.save(owner)
    call.emit("payment_method.detached", method, {"customer": customer})
    return method


@routes.post(
    "/v1/payment_methods",
    {
        "type": one_of("card"),
        "card": CARD_DATA,
        "billing_details": BILLING_DETAILS,
        "allow_redisplay": REDISPLAY,
        "metadata": METADATA,
    },
)
def create(call: Call) -> Json:
    """A payment method from a test token: `card[token]=tok_visa`, or `pm_card_visa` there."""
    card = call.params.get("card", {})
    if "type" not in call.params:
        raise problems.missing_parameter("type")
    if "number" in card:
        raise problems.invalid(
            "Sending credit card numbers directly to the Stripe API is generally unsafe. The "
            "sandbox takes none: use a test token such as tok_visa or pm_card_visa.",
            "card[number]",
        )
    if "token" not in card:
        raise problems.missing_parameter("card[token]")
    known = cards.named(card["token"])
    if known is None:
        raise problems.no_such("token", card["token"], "card[token]")
    return make(call, known, call.params)


@routes.get(
    "/v1/payment_methods",
    {**PAGE, "customer": text(), "type": text(), "allow_redisplay": REDISPLAY},
)
def index(call: Call) -> Json:
    """Payment methods of a customer (Stripe lists none without one)."""
    filters: dict[str, Any] = {
        "customer": call.params.get("customer", "nobody"),
        "type": call.params.get("type"),
        "allow_redisplay": call.params.get("allow_redisplay"),
    }
    return listing.page(call, "payment_method", "/v1/payment_methods", filters)


@routes.get("/v1/payment_methods/{payment_method}")
def retrieve(call: Call) -> Json:
    """One payment method; a token answers a new one."""
    name = call.path["payment_method"]
    card = cards.named(name)
    return make(call, card) if card else call.load("payment_method", name)


@routes.post(
    "/v1/payment_methods/{payment_method}",
    {
        "allow_redisplay": REDISPLAY,
        "billing_details": BILLING_DETAILS,
        "card": record(exp_month=integer(1, 12), exp_year=integer(2000, 2100)),
        "metadata": clearable(METADATA),
    },
)
def update(call: Call) -> Json:
    """Change the billing details, the expiry or the metadata of a saved card."""
    method = call.load("payment_method", call.path["payment_method"])
    if method["customer"] is None:
        raise problems.invalid(
            "You must save this PaymentMethod to a customer before you can update it."
        )
    before = {name: method[name] for name in ("allow_redisplay", "billing_details", "metadata")}
    if "card" in method:
        before["card"] = dict(method["card"])
        method["card"].update(call.params.get("card", {}))
    elif "card" in call.params:
        raise problems.invalid(f"{method['id']} is not a card.", "card")
    if "allow_redisplay" in call.params:
        method["allow_redisplay"] = call.params["allow_redisplay"]
    if "billing_details" in call.params:
        merged = {**method["billing_details"], **call.params["billing_details"]}
        method["billing_details"] = billing_details(merged)
    if "metadata" in call.params:
        method["metadata"] = merge_metadata(method["metadata"], call.params["metadata"])
    call.store.save(method)
    previous = {name: old for name, old in before.items() if method[name] != old}
    if previous:
        call.emit("payment_method.updated", method, previous)
    return method


@routes.post("/v1/payment_methods/{payment_method}/attach", {"customer": text()})
def attach(call: Call) -> Json:
    """Save a card to a customer."""
    if "customer" not in call.params:
        raise problems.missing_parameter("customer")
    customer = call.load("customer", call.params["customer"], "customer")
    name = call.path["payment_method"]
    if cards.named(name) is None:
        call.load("payment_method", name)
    return attach_to(call, name, customer["id"])


@routes.post("/v1/payment_methods/{payment_method}/detach")
def detach(call: Call) -> Json:
    """Take a card from its customer."""
    method = call.load("payment_method", call.path["payment_method"])
    if method["customer"] is None:
        raise problems.invalid(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible."
        )
    return detach_from(call, method)
