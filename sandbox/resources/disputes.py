"""Disputes: what a disputed test card brings a moment after its charge, and how they end.

GET /v1/disputes and /v1/disputes/{dispute}; evidence is not taken.
"""

from sandbox import jobs, listing, problems
from sandbox.calls import Call, Routes
from sandbox.cards import CARDS
from sandbox.parameters import CREATED, PAGE, text
from sandbox.resources import balance_transactions
from sandbox.shapes import Json, new_id

routes = Routes()

OPEN = "dispute.open"
FEE = 1_500
EVIDENCE_DUE_SECONDS = 9 * 86_400
_FIRST_STATUS = {"inquiry": "warning_needs_response", "chargeback": "needs_response"}
"""The first status of a dispute by its type; every other type is prevented."""
_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy",
    "cancellation_policy_disclosure", "cancellation_rebuttal", "customer_communication",
    "customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature",
    "duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id",
    "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address",
    "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number",
    "uncategorized_file", "uncategorized_text",
)  # fmt: skip


@routes.get(
    "/v1/disputes",
    {**PAGE, "created": CREATED, "charge": text(), "payment_intent": text()},
)
def index(call: Call) -> Json:
    """Disputes, newest first."""
    filters = {
        "source": call.params.get("charge"),
        "payment_intent": call.params.get("payment_intent"),
    }
    return listing.page(call, "dispute", "/v1/disputes", filters)


@routes.get("/v1/disputes/{dispute}")
def retrieve(call: Call) -> Json:
    """One dispute."""
    return call.load("dispute", call.path["dispute"])


@jobs.verb(OPEN)
def open_dispute(call: Call, charge_id: str) -> None:
    """Dispute a charge as its issuer; an inquiry takes no money yet."""
    charge = call.store.get("charge", charge_id)
    if charge is None or charge["disputed"]:
        return
    token = call.store.hidden(charge["payment_method"]).get("card", "")
    reason = CARDS[token].dispute or "fraudulent"
    if reason == "inquiry":
        begin(call, charge, "general", "inquiry")
    else:
        begin(call, charge, reason, "chargeback")


def begin(call: Call, charge: Json, reason: str, case: str, amount: int | None = None) -> Json:
    """Open a dispute; its money is withdrawn, unless the issuer only asks or is stopped.

    A `resolution` is no chargeback: Stripe itself gives the payer the money, without a fee.
    """
    charge_id = charge["id"]
    now = call.now(charge["customer"])
    dispute = {**_body(charge, reason, now, case), "amount": amount or charge["amount"]}
    is_withdrawn = case in ("chargeback", "resolution")
    if is_withdrawn:
        fee = FEE if case == "chargeback" else 0
        movement = balance_transactions.record(
            call, {**dispute, "metadata": charge["metadata"]}, "adjustment", "dispute",
            -dispute["amount"], fee, at=now, description=f"Chargeback withdrawal for {charge_id}",
        )  # fmt: skip
        dispute["balance_transactions"] = [movement]
    call.store.insert(dispute)
    charge["disputed"] = True
    call.store.save(charge)
    owner = {**dispute, "customer": charge["customer"]}
    call.effect("dispute.created", owner, reason=dispute["reason"])
    call.emit("charge.dispute.created", dispute)
    if is_withdrawn:
        call.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def finish(call: Call, dispute_id: str, outcome: str, returned: int | None = None) -> Json:
    """End a dispute: `won` brings the money back, `lost` a part at most, also later; an inquiry
    just closes.

    A lost dispute may still be won.
    """
    dispute = call.load("dispute", dispute_id)
    before = dispute["status"]
    is_over = before in ("won", "warning_closed", "prevented")
    if is_over or (before == outcome and returned is None):
        raise problems.invalid(f"This dispute is already {before}.", param="dispute")
    charge = call.load("charge", dispute["charge"])
    inquiry = before.startswith("warning_")
    dispute["status"] = "warning_closed" if inquiry else outcome
    held = -sum(one["amount"] for one in dispute["balance_transactions"])
    back = min(held, held if outcome == "won" else returned or 0)
    if back > 0:
        movement = balance_transactions.record(
            call, {**dispute, "metadata": charge["metadata"]}, "adjustment", "dispute_reversal",
            back, at=call.now(charge["customer"]),
            description=f"Chargeback reversal for {charge['id']}",
        )  # fmt: skip
        dispute["balance_transactions"] = [*dispute["balance_transactions"], movement]
    call.store.save(dispute)
    owner = {**dispute, "customer": charge["customer"]}
    call.effect(f"dispute.{dispute['status']}", owner, reason=dispute["reason"])
    if back > 0:
        call.emit("charge.dispute.funds_reinstated", dispute)
    if dispute["status"] != before:
        call.emit("charge.dispute.closed", dispute, {"status": before})
    return dispute


def _body(charge: Json, reason: str, now: int, case: str) -> Json:
    return {
        "id": new_id("dp"),
        "object": "dispute",
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + EVIDENCE_DUE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": case in ("inquiry", "block"),
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        **_details(charge, case),
        "reason": reason,
        "status": _FIRST_STATUS.get(case, "prevented"),
    }


def _details(charge: Json, case_type: str) -> Json:
    """The details of a disputed card; a bank debit has none."""
    card = charge["payment_method_details"].get("card")
    if card is None:
        return {}
    case = {
        "brand": card["brand"],
        "case_type": case_type,
        "network": card["network"],
        "network_reason_code": "83",
    }
    return {"payment_method_details": {"card": case, "type": "card"}}
