"""Refunds: money back from a charge, at once or later; some fail.

POST and GET /v1/refunds, GET/POST /v1/refunds/{refund}, POST …/cancel.
"""

from sandbox import amounts, jobs, listing, problems, scripts
from sandbox.calls import Call, Routes
from sandbox.cards import CARDS
from sandbox.parameters import (
    CREATED,
    METADATA,
    PAGE,
    clearable,
    integer,
    one_of,
    text,
)
from sandbox.resources import balance_transactions
from sandbox.shapes import Json, merge_metadata, new_id

routes = Routes()

SETTLES_AFTER_SECONDS = 0.5
SUCCEED, FAIL = "refund.succeed", "refund.fail"
LIVE = ("pending", "requires_action", "succeeded")


@routes.post(
    "/v1/refunds",
    {
        "amount": integer(1),
        "charge": text(),
        "payment_intent": text(),
        "metadata": clearable(METADATA),
        "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    },
)
def create(call: Call) -> Json:
    """Refund a charge, in whole or in part."""
    charge = _charge(call)
    amount = call.params.get("amount", charge["amount_captured"] - charge["amount_refunded"])
    amounts.demand_whole(amount, charge["currency"])
    demand_refundable(call, charge, amount)
    return give(call, charge, amount, call.params.get("reason"), call.params.get("metadata"))


def give(
    call: Call, charge: Json, amount: int, reason: str | None, metadata: Json | None = None
) -> Json:
    """Refund an amount of a charge, with the outcome of its card or script; emit the event."""
    word = _word(call, charge)
    if word == "refused":
        message = "Insufficient funds in your Stripe balance to refund this amount."
        raise problems.ApiError(400, message, code="balance_insufficient", executed=True)
    refund = make(call, charge, amount, word, reason)
    refund["metadata"] = merge_metadata({}, metadata or {})
    call.store.save(refund)
    call.effect(f"refund.{refund['status']}", _owned(refund, charge))
    call.emit("refund.created", refund)
    call.emit("charge.refunded", charge, {"amount_refunded": charge["amount_refunded"] - amount})
    if word in ("pending", "failed"):
        verb = SUCCEED if word == "pending" else FAIL
        jobs.later(call.store, SETTLES_AFTER_SECONDS, verb, refund["id"])
    return refund


def _charge(call: Call) -> Json:
    params = call.params
    if "charge" in params and "payment_intent" in params:
        message = "You may only specify one of these parameters: charge, payment_intent."
        raise problems.invalid(message, code="parameters_exclusive")
    if "charge" in params:
        return call.load("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise problems.missing_parameter("charge")
    intent = call.load("payment_intent", params["payment_intent"], "payment_intent")
    charge = intent["latest_charge"] and call.load("charge", intent["latest_charge"])
    if not charge or intent["status"] != "succeeded":
        raise problems.unexpected_state(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            "payment_intent",
            intent,
            param="payment_intent",
        )
    found: Json = charge
    return found


def demand_refundable(call: Call, charge: Json, amount: int) -> None:
    """Refuse to refund a charge not captured or disputed, or more than is left of it."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise problems.ApiError(
            400,
            f"Charge {charge['id']} cannot be refunded: it has not succeeded.",
            code="charge_not_refundable",
            executed=True,
        )
    if left == 0:
        raise problems.ApiError(
            400,
            f"Charge {charge['id']} has already been refunded.",
            code="charge_already_refunded",
            executed=True,
        )
    disputes = call.store.select("dispute", "AND source = ?", [charge["id"]])
    if not all(one["is_charge_refundable"] for one in disputes):
        raise problems.ApiError(
            400,
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
            executed=True,
        )
    if amount > left:
        asked, most = (amounts.shown(n, charge["currency"]) for n in (amount, left))
        raise problems.ApiError(
            400,
            f"Refund amount ({asked}) is greater than unrefunded amount on charge ({most})",
            param="amount",
            executed=True,
        )


def _word(call: Call, charge: Json) -> str:
    """Return the outcome of the refund: of the script, else of the card."""
    targets = [charge["payment_method"], charge["customer"]]
    word = scripts.next_word(call.store, "refund", targets)
    token = call.store.hidden(charge["payment_method"]).get("card")
    return word or (CARDS[token].refund if token in CARDS else "succeeded")


def make(call: Call, charge: Json, amount: int, word: str, reason: str | None) -> Json:
    """Insert a refund and take its amount from the charge and the balance."""
    now = call.now(charge["customer"])
    refund: Json = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded" if word == "failed" else word,
        "transfer_reversal": None,
    }
    movement = balance_transactions.record(
        call, refund, "refund", "refund", -amount, at=now,
        description=f"REFUND FOR CHARGE ({charge['description'] or charge['id']})",
    )  # fmt: skip
    refund["balance_transaction"] = movement["id"]
    call.store.insert(refund)
    _add(call, charge, amount)
    return refund


def release(call: Call, charge: Json) -> None:
    """Release an amount that was only set aside: the charge counts as refunded."""
    _add(call, charge, charge["amount"])
    call.effect("charge.released", charge)
    call.emit("charge.refunded", charge, {"amount_refunded": 0})


def _add(call: Call, charge: Json, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    call.store.save(charge)


def _owned(refund: Json, charge: Json) -> Json:
    """Add the customer for the journal: a refund does not name it, its charge does."""
    return {**refund, "customer": charge["customer"], "metadata": charge["metadata"]}


@routes.get(
    "/v1/refunds",
    {**PAGE, "created": CREATED, "charge": text(), "payment_intent": text()},
)
def index(call: Call) -> Json:
    """Refunds, newest first."""
    filters = {
        "source": call.params.get("charge"),
        "payment_intent": call.params.get("payment_intent"),
    }
    return listing.page(call, "refund", "/v1/refunds", filters)


@routes.get("/v1/refunds/{refund}")
def retrieve(call: Call) -> Json:
    """One refund."""
    return call.load("refund", call.path["refund"])


@routes.post("/v1/refunds/{refund}", {"metadata": clearable(METADATA)})
def update(call: Call) -> Json:
    """Change the metadata."""
    refund = call.load("refund", call.path["refund"])
    before = refund["metadata"]
    if "metadata" in call.params:
        refund["metadata"] = merge_metadata(before, call.params["metadata"])
        call.store.save(refund)
        call.emit("refund.updated", refund, {"metadata": before})
    return refund


@routes.post("/v1/refunds/{refund}/cancel")
def cancel(call: Call) -> Json:
    """Cancel a refund that waits for the customer; others cannot be canceled."""
    refund = call.load("refund", call.path["refund"])
    if refund["status"] != "requires_action":
        raise problems.ApiError(
            400,
            f"Refund {refund['id']} has a status of {refund['status']} and cannot be canceled. "
            "Only refunds with a status of requires_action can be canceled.",
            executed=True,
        )
    return _undo(call, refund, "canceled", "merchant_request")


@jobs.verb(SUCCEED)
def succeed(call: Call, refund_id: str) -> None:
    """Complete a pending refund."""
    refund = call.store.get("refund", refund_id)
    if refund is None or refund["status"] != "pending":
        return
    refund["status"] = "succeeded"
    call.store.save(refund)
    charge = call.load("charge", refund["charge"])
    call.effect("refund.succeeded", _owned(refund, charge))
    call.emit("refund.updated", refund, {"status": "pending"})


@jobs.verb(FAIL)
def fail(call: Call, refund_id: str) -> None:
    """Fail a refund, because the card was closed."""
    refund = call.store.get("refund", refund_id)
    if refund and refund["status"] in LIVE:
        _undo(call, refund, "failed", "expired_or_canceled_card")


def _undo(call: Call, refund: Json, status: str, reason: str) -> Json:
    """Return the money to the seller."""
    charge = call.load("charge", refund["charge"])
    before = refund["status"]
    movement = balance_transactions.record(
        call, refund, "refund_failure", "refund_failure", refund["amount"],
        at=call.now(charge["customer"]),
    )  # fmt: skip
    refund |= {
        "status": status,
        "failure_balance_transaction": movement["id"],
        "failure_reason": reason,
    }
    call.store.save(refund)
    _add(call, charge, -refund["amount"])
    call.effect(f"refund.{status}", _owned(refund, charge))
    call.emit("refund.failed" if status == "failed" else "refund.updated", refund,
              None if status == "failed" else {"status": before})  # fmt: skip
    return refund
