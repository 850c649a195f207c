"""Charges: one try to move money, succeeded or failed, each with its outcome.

GET /v1/charges and /v1/charges/{charge}; they are made by confirming intents only.
"""

from sandbox import amounts, listing
from sandbox.calls import Call, Routes
from sandbox.cards import TestCard
from sandbox.declines import Decline
from sandbox.parameters import CREATED, PAGE, text
from sandbox.resources import balance_transactions, bank_debits
from sandbox.shapes import Json, new_id

routes = Routes()


@routes.get(
    "/v1/charges",
    {
        **PAGE,
        "created": CREATED,
        "customer": text(),
        "payment_intent": text(),
        "transfer_group": text(),
    },
)
def index(call: Call) -> Json:
    """Charges, newest first."""
    names = ("customer", "payment_intent", "transfer_group")
    filters = {name: call.params.get(name) for name in names}
    return listing.page(call, "charge", "/v1/charges", filters)


@routes.get("/v1/charges/{charge}")
def retrieve(call: Call) -> Json:
    """One charge."""
    return call.load("charge", call.path["charge"])


_FROM_INTENT = (
    "amount", "currency", "customer", "description", "metadata", "receipt_email", "shipping",
    "statement_descriptor", "statement_descriptor_suffix", "transfer_group",
)  # fmt: skip
_BLANK: Json = {
    "amount_refunded": 0,
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "fraud_details": {},
    "livemode": False,
    "on_behalf_of": None,
    "radar_options": {},
    "receipt_number": None,
    "receipt_url": None,
    "refunded": False,
    "review": None,
    "source": None,
    "source_transfer": None,
    "transfer_data": None,
}
"""Fields that are equal on every new one; nothing in it is changed in place."""


def make(
    call: Call,
    intent: Json,
    method: Json,
    card: TestCard,
    *,
    status: str,
    decline: Decline | None = None,
    captured: bool = False,
    authenticated: bool = False,
) -> Json:
    """A new charge of an intent: succeeded, pending or failed."""
    succeeded = status == "succeeded"
    charge: Json = {
        **_BLANK,
        **{name: intent[name] for name in _FROM_INTENT},
        "id": new_id("ch"),
        "object": "charge",
        "amount_captured": intent["amount"] if captured else 0,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX" if succeeded else None,
        "captured": captured,
        "created": call.now(intent["customer"]),
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "outcome": _outcome(status, decline),
        "paid": status != "failed",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(intent, method, card, authenticated),
        "status": status,
    }
    if succeeded:
        charge["receipt_url"] = f"{call.settings.public_url}/receipts/{charge['id']}"
    call.store.insert(charge)
    call.effect(f"charge.{status}", charge, captured=captured, failure=charge["failure_code"])
    return charge


def book(call: Call, charge: Json) -> Json:
    """Book a captured charge on the balance, as Stripe does a moment after the charge."""
    movement = balance_transactions.record(
        call,
        charge,
        "charge",
        "charge",
        charge["amount_captured"],
        amounts.fee(charge["amount_captured"]),
        at=call.now(charge["customer"]),
        description=charge["description"],
    )
    charge["balance_transaction"] = movement["id"]
    call.store.save(charge)
    call.emit("charge.updated", charge, {"balance_transaction": None})
    return charge


_AUTHENTICATED: Json = {
    "authentication_flow": "challenge",
    "electronic_commerce_indicator": "05",
    "exemption_indicator": None,
    "result": "authenticated",
    "result_reason": None,
    "transaction_id": None,
    "version": "2.2.0",
}


def _outcome(status: str, decline: Decline | None) -> Json | None:
    if status == "pending":
        return None
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 20,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline.advice,
        "network_advice_code": None,
        "network_decline_code": decline.network_code,
        "network_status": "not_sent_to_network" if decline.blocked else "declined_by_network",
        "reason": decline.blocked or decline.decline_code or decline.code,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "blocked" if decline.blocked else "issuer_declined",
    }


def _details(intent: Json, method: Json, card: TestCard, authenticated: bool) -> Json:
    if card.debit is not None:
        return {card.debit: bank_debits.charged(card), "type": card.debit}
    if card.is_link:
        return {"link": {"country": card.country}, "type": "link"}
    shown = method["card"]
    return {
        "card": {
            "amount_authorized": intent["amount"],
            "authorization_code": None,
            "brand": card.brand,
            "checks": shown["checks"],
            "country": card.country,
            "exp_month": shown["exp_month"],
            "exp_year": shown["exp_year"],
            "extended_authorization": {"status": "disabled"},
            "fingerprint": card.fingerprint,
            "funding": card.funding,
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "last4": card.last4,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card.brand,
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {
                "maximum_amount_capturable": intent["amount"],
                "status": "unavailable",
            },
            "regulated_status": "unregulated",
            "three_d_secure": _AUTHENTICATED if authenticated else None,
            "wallet": None,
        },
        "type": "card",
    }
