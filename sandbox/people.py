"""Actions of a person outside our server: pays on a page, passes 3-D Secure, confirms in a browser.

The hosted pages and the control plane both act through this file.
"""

from sandbox import problems, scripts
from sandbox.calls import Call
from sandbox.cards import CARDS
from sandbox.orders import Dispute
from sandbox.resources import (
    charging,
    checkout_sessions,
    customers,
    disputes,
    payment_intents,
    payment_methods,
    portal_sessions,
    refunds,
    setup_intents,
)
from sandbox.resources.charging import Terms
from sandbox.shapes import Json


def pay_session(call: Call, session_id: str, name: str) -> Json:
    """Use a card on an open page; 402 when it is declined, the session then stays open.

    Returns the session; with 3-D Secure it is still open and its intent asks for action.
    """
    session = call.load(checkout_sessions.KIND, session_id)
    if session["status"] != "open":
        raise problems.ApiError(
            400, f"This Checkout Session is {session['status']}.", executed=True
        )
    method = _method(call, name, session["customer"])
    back = f"{call.settings.public_url}/checkout/{session_id}"
    if session["mode"] == "setup":
        intent = call.load("setup_intent", session["setup_intent"])
        setup_intents.try_card(call, intent, method, back)
    else:
        intent = checkout_sessions.intent_for(call, session)
        charging.attempt(call, intent, method, Terms(return_url=back))
    return call.load(checkout_sessions.KIND, session_id)


def pay_declined(call: Call, session_id: str, reason: str) -> Json:
    """Use a card whose issuer declines for this reason."""
    method = payment_methods.make(call, CARDS["pm_card_visa"])
    scripts.write(call.store, method["id"], "charge", [reason], "normal")
    return pay_session(call, session_id, method["id"])


def _method(call: Call, name: str, customer: str | None) -> Json:
    method = payment_methods.resolve(call, name, customer)
    if method["customer"] not in (None, customer):
        raise problems.invalid("This card belongs to another customer.", "payment_method")
    return method


def reissue(call: Call, method_id: str, token: str) -> Json:
    """Give a saved card the number of another one, as its bank does; its id stays."""
    method, card = call.load("payment_method", method_id), CARDS[token]
    before = dict(method["card"])
    method["card"] |= {"fingerprint": card.fingerprint, "last4": card.last4}
    call.store.save(method)
    call.store.hide(method_id, card=token)
    call.emit("payment_method.automatically_updated", method, {"card": before})
    return method


def authenticate(call: Call, intent_id: str, *, passed: bool) -> Json:
    """Finish or fail the 3-D Secure step of an intent; return the intent."""
    intent = call.store.find(intent_id)
    if intent is None or intent["object"] not in ("payment_intent", "setup_intent"):
        raise problems.no_such("intent", intent_id)
    if intent["status"] != "requires_action":
        raise problems.unexpected_state(
            f"There is no step to finish: the intent has a status of {intent['status']}.",
            intent["object"],
            intent,
        )
    if intent["object"] == "setup_intent":
        return setup_intents.finish_authentication(call, intent, passed=passed)
    return charging.finish_authentication(call, intent, passed=passed)


def remove(call: Call, session_id: str, name: str) -> Json:
    """Remove a card on the portal's page."""
    session = call.load(portal_sessions.KIND, session_id)
    method = call.load("payment_method", name)
    if method["customer"] != session["customer"]:
        raise problems.invalid("This card belongs to another customer.", "payment_method")
    return payment_methods.detach_from(call, method)


def choose(call: Call, session_id: str, name: str) -> Json:
    """Make a card the default on the portal's page."""
    session = call.load(portal_sessions.KIND, session_id)
    customer = call.load("customer", session["customer"])
    return customers.change(call, customer, {}, {"default_payment_method": name})


def add(call: Call, session_id: str, name: str) -> Json:
    """Add a card on the portal's page, by a set-up without metadata; 402 for one that cannot be
    saved.
    """
    session = call.load(portal_sessions.KIND, session_id)
    method = _method(call, name, session["customer"])
    intent = setup_intents.new(call, {"customer": session["customer"]})
    return setup_intents.try_card(call, intent, method, session["return_url"])


def refund(call: Call, intent_id: str, amount: int | None) -> Json:
    """Refund money in the provider's dashboard."""
    intent = call.load("payment_intent", intent_id)
    charge = call.load("charge", intent["latest_charge"])
    left = charge["amount_captured"] - charge["amount_refunded"]
    refunds.demand_refundable(call, charge, amount or left)
    return refunds.give(call, charge, amount or left, "requested_by_customer")


def dispute(call: Call, intent_id: str, order: Dispute) -> Json:
    """Dispute a payment at its bank, whole or in part, or have the bank ask about it."""
    intent = call.load("payment_intent", intent_id)
    charge = call.load("charge", intent["latest_charge"])
    if order.amount is not None and order.amount > charge["amount"]:
        raise problems.invalid("The charge was less than that.", param="amount")
    case = order.prevented or ("inquiry" if order.inquiry else "chargeback")
    return disputes.begin(call, charge, order.reason, case, order.amount)


def cancel(call: Call, intent_id: str) -> Json:
    """Cancel a payment in the provider's dashboard, also a debit on which its bank decides."""
    intent = call.load("payment_intent", intent_id)
    payment_intents.demand_cancelable(intent, also=("processing",))
    return payment_intents.give_up(call, intent, "requested_by_customer")


def settle(call: Call, intent_id: str, word: str | None) -> Json:
    """End a payment that is processing: `succeed`, or the name of a decline; None: the outcome
    of its bank account.
    """
    intent = call.load("payment_intent", intent_id)
    if intent["status"] != "processing":
        raise problems.unexpected_state(
            f"Nothing is processing: the intent has a status of {intent['status']}.",
            "payment_intent",
            intent,
        )
    method = call.load("payment_method", intent["payment_method"])
    ends = word or payment_methods.card_of(call, method).settles
    return charging.finish_processing(call, intent, ends)
