"""One attempt to charge a payment intent: its outcome, and everything it changes.

The intent moves requires_confirmation → requires_action | processing | succeeded |
requires_capture, or back to requires_payment_method with `last_payment_error`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox import jobs, problems, scripts
from sandbox.calls import Call
from sandbox.declines import DECLINES, Decline
from sandbox.resources import bank_debits, charges, disputes, payment_methods
from sandbox.scripts import Outcome
from sandbox.shapes import Json

DISPUTE_AFTER_SECONDS = 0.2

AFTER_SUCCESS: list[Callable[[Call, Json], None]] = []
"""Functions to call when an intent succeeds: a checkout session completes."""
AFTER_DEBIT: list[Callable[[Call, Json], None]] = []
"""Functions to call when a bank begins to decide: a checkout session completes, not paid yet."""


@dataclass(frozen=True)
class Terms:
    """The terms of one charge attempt."""

    off_session: bool = False
    """The customer is not there, so nobody can authenticate."""
    refuse_action: bool = False
    """`error_on_requires_action`: fail rather than ask for 3-D Secure."""
    ask_always: bool = False
    """`request_three_d_secure`: ask for 3-D Secure whatever the card says."""
    return_url: str | None = None


def attempt(call: Call, intent: Json, method: Json, terms: Terms) -> Json:
    """Try to charge; record a decline, then raise it as a 402."""
    bank_debits.check_currency(payment_methods.card_of(call, method), intent["currency"])
    intent["payment_method"] = method["id"]
    outcome = _decide(call, intent, method, terms)
    if outcome.kind == "authenticate":
        if terms.off_session or terms.refuse_action:
            raise fail(call, intent, method, DECLINES["authentication_required"])
        return _ask(call, intent, terms.return_url)
    if outcome.kind == "process":
        return _process(call, intent, method)
    if outcome.decline is not None:
        raise fail(call, intent, method, outcome.decline)
    return succeed(call, intent, method)


def _decide(call: Call, intent: Json, method: Json, terms: Terms) -> Outcome:
    word = scripts.next_word(call.store, "charge", [method["id"], intent["customer"]])
    if word is not None:
        return scripts.outcome(word)
    hidden = call.store.hidden(method["id"])
    card = payment_methods.card_of(call, method)
    if hidden.get("blocked"):
        return scripts.outcome("bank_account_unusable")
    asked = card.must_authenticate(off_session=terms.off_session, set_up=hidden["set_up"])
    if asked or (terms.ask_always and not terms.off_session):
        return scripts.outcome("authentication_required")
    return scripts.outcome(card.charge)


def succeed(call: Call, intent: Json, method: Json, *, authenticated: bool = False) -> Json:
    """Record that the money moved, or is set aside if the capture is manual."""
    card = payment_methods.card_of(call, method)
    manual = intent["capture_method"] == "manual"
    charge = charges.make(
        call, intent, method, card,
        status="succeeded", captured=not manual, authenticated=authenticated,
    )  # fmt: skip
    _keep_card(call, intent, method)
    intent |= {
        "amount_capturable": intent["amount"] if manual else 0,
        "amount_received": 0 if manual else intent["amount"],
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "requires_capture" if manual else "succeeded",
    }
    call.store.save(intent)
    call.emit("charge.succeeded", charge)
    if manual:
        call.emit("payment_intent.amount_capturable_updated", intent)
    else:
        settled(call, intent, charge)
    return intent


def settled(call: Call, intent: Json, charge: Json) -> None:
    """Emit the event of a paid intent, complete its session, book the charge."""
    call.emit("payment_intent.succeeded", intent)
    for complete in AFTER_SUCCESS:
        complete(call, intent)
    charges.book(call, charge)
    method = call.store.get("payment_method", charge["payment_method"])
    if method and payment_methods.card_of(call, method).dispute:
        jobs.later(call.store, DISPUTE_AFTER_SECONDS, disputes.OPEN, charge["id"])


def _keep_card(call: Call, intent: Json, method: Json) -> None:
    """`setup_future_usage` saves the card; a card that was not saved is used up."""
    usage = intent["setup_future_usage"]
    if usage and intent["customer"]:
        payment_methods.link(call, method, intent["customer"])
        if usage == "off_session":
            call.store.hide(method["id"], set_up=True)
    elif method["customer"] is None:
        call.store.hide(method["id"], used_up=True)


def fail(call: Call, intent: Json, method: Json, decline: Decline) -> problems.ApiError:
    """Record a failed charge, put the intent back to the start; return the 402."""
    card = payment_methods.card_of(call, method)
    charge = charges.make(call, intent, method, card, status="failed", decline=decline)
    return _failed(call, intent, method, decline, charge)


def _failed(
    call: Call, intent: Json, method: Json, decline: Decline, charge: Json
) -> problems.ApiError:
    details = {
        "advice_code": decline.advice,
        "charge": charge["id"],
        "decline_code": decline.decline_code,
        "network_decline_code": decline.network_code,
        "payment_method": method,
    }
    refused = problems.ApiError(
        402, decline.message, type="card_error", code=decline.code, executed=True, **details
    )
    intent |= {
        "last_payment_error": dict(refused.body["error"]),
        "latest_charge": charge["id"],
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    call.store.save(intent)
    call.emit("charge.failed", charge)
    call.emit("payment_intent.payment_failed", intent)
    refused.body["error"]["payment_intent"] = intent
    return refused


def _ask(call: Call, intent: Json, return_url: str | None) -> Json:
    intent |= {
        "next_action": next_action(call, intent["id"], return_url),
        "status": "requires_action",
    }
    call.store.save(intent)
    call.emit("payment_intent.requires_action", intent)
    return intent


def next_action(call: Call, intent_id: str, return_url: str | None) -> Json:
    """Return the person's way to authenticate: a redirect, or a page Stripe.js would open."""
    page = f"{call.settings.public_url}/3ds/{intent_id}"
    if return_url:
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": return_url, "url": page},
        }
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }


def finish_authentication(call: Call, intent: Json, *, passed: bool) -> Json:
    """End 3-D Secure, passed or failed; a decline that follows is kept, not raised."""
    method = call.load("payment_method", intent["payment_method"])
    if passed:
        word = payment_methods.card_of(call, method).charge
        decline = scripts.outcome(word).decline
        if decline is None:
            return succeed(call, intent, method, authenticated=True)
        fail(call, intent, method, decline)
        return intent
    intent |= {
        "last_payment_error": authentication_failure("payment_intent", method),
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    call.store.save(intent)
    call.emit("payment_intent.payment_failed", intent)
    return intent


def authentication_failure(noun: str, method: Json) -> Json:
    """Return the error of an intent whose 3-D Secure step failed."""
    what = "PaymentIntent" if noun == "payment_intent" else "SetupIntent"
    refused = problems.ApiError(
        400,
        "The provided PaymentMethod has failed authentication. You can provide "
        f"payment_method_data or a new PaymentMethod to attempt to fulfill this {what} again.",
        code=f"{noun}_authentication_failure",
        payment_method=method,
    )
    error: Json = refused.body["error"]
    return error


def _process(call: Call, intent: Json, method: Json) -> Json:
    card = payment_methods.card_of(call, method)
    charge = charges.make(call, intent, method, card, status="pending")
    intent |= {
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "processing",
    }
    call.store.save(intent)
    call.emit("charge.pending", charge)
    call.emit("payment_intent.processing", intent)
    for complete in AFTER_DEBIT:
        complete(call, intent)
    return intent


def finish_processing(call: Call, intent: Json, word: str) -> Json:
    """End a pending charge: `succeed`, or a name from the table of declines."""
    charge = call.load("charge", intent["latest_charge"])
    method = call.load("payment_method", charge["payment_method"])
    decline = scripts.outcome(word).decline
    charge["status"] = "failed" if decline else "succeeded"
    if decline:
        charge |= {
            "failure_code": decline.code, "failure_message": decline.message, "paid": False,
        }  # fmt: skip
        call.store.save(charge)
        if bank_debits.blocks(payment_methods.card_of(call, method), decline.code):
            call.store.hide(method["id"], blocked=True)
        call.effect("charge.failed", charge, failure=decline.code)
        _failed(call, intent, method, decline, charge)
        return intent
    charge |= {"captured": True, "amount_captured": charge["amount"], "paid": True}
    call.store.save(charge)
    call.effect("charge.succeeded", charge, captured=True)
    _keep_card(call, intent, method)
    intent |= {"amount_received": intent["amount"], "status": "succeeded"}
    call.store.save(intent)
    call.emit("charge.succeeded", charge)
    settled(call, intent, charge)
    return intent
