"""The translation of Stripe's objects into the product's."""

from datetime import UTC, datetime
from typing import Final, Literal

import stripe

from billing.core.currencies import from_provider
from billing.money.payment_methods.rules import CardDetails, SetupOutcome
from billing.money.payments.rules import Charge, CheckoutSession, Decline, Outcome, OutcomeKind
from billing.money.refunds.rules import DisputeOutcome, RefundOutcome
from gateways.money_lists import REFUND_ENDS, is_withdrawn, returned

_INTENT_KINDS: Final[dict[str, OutcomeKind]] = {
    "requires_confirmation": "waiting",
    "requires_action": "action",
    "processing": "processing",
    "requires_capture": "processing",
    "succeeded": "succeeded",
    "canceled": "canceled",
}
_UNCONFIRMED: Final = "payment_intent_authentication_failure"
"""The code of a try whose payer failed 3-D Secure."""
_SETUP_STATES: Final = {
    "requires_confirmation": "waiting",
    "requires_action": "action",
    "processing": "processing",
    "succeeded": "succeeded",
    "canceled": "canceled",
}


def refund_outcome(refund: stripe.Refund) -> RefundOutcome:
    """Return a refund's outcome; `requires_action` and `pending` both mean processing.

    A canceled refund has failed: its money stays here. Stripe may omit fields without a value.
    """
    said = refund.to_dict()
    status: Literal["processing", "succeeded", "failed"]
    status = REFUND_ENDS.get(said.get("status") or "", "processing")
    return RefundOutcome(
        refund_id=refund.id,
        status=status,
        failure=said.get("failure_reason") if status == "failed" else None,
        amount_minor=from_provider(refund.amount, refund.currency.upper()),
        name=(said.get("metadata") or {}).get("refund"),
        reason=said.get("reason"),
    )


def dispute_outcome(dispute: stripe.Dispute) -> DisputeOutcome:
    """Return a dispute's outcome, with the provider's own status."""
    said = dispute.to_dict()
    due = (said.get("evidence_details") or {}).get("due_by")
    return DisputeOutcome(
        dispute_id=dispute.id,
        status=dispute.status,
        amount_minor=from_provider(dispute.amount, dispute.currency.upper()),
        currency=dispute.currency.upper(),
        reason=dispute.reason,
        evidence_due_at=datetime.fromtimestamp(due, UTC) if due else None,
        is_withdrawn=is_withdrawn(said),
        returned_minor=from_provider(returned(said), dispute.currency.upper()),
    )


def card_details(method: stripe.PaymentMethod) -> CardDetails:
    """Return the details we store of a card, a bank account or another method."""
    # Only the part that is named as its type exists: of Link it has no number.
    part = method.to_dict().get(method.type) or {}
    return CardDetails(
        stripe_payment_method_id=method.id,
        kind="card" if method.type == "card" else "other",
        provider_kind=method.type,
        brand=part.get("brand") or part.get("bank_name"),
        last4=part.get("last4"),
        exp_month=part.get("exp_month"),
        exp_year=part.get("exp_year"),
        fingerprint=part.get("fingerprint"),
        country="US" if method.type == "us_bank_account" else part.get("country"),
    )


def default_card(customer: stripe.Customer) -> str | None:
    """Return the customer's default card; a deleted one has none."""
    settings = customer.to_dict().get("invoice_settings") or {}
    method: str | None = settings.get("default_payment_method")
    return method


def checkout_session(session: stripe.checkout.Session) -> CheckoutSession:
    """Return the state of a hosted page."""
    intent = session.payment_intent
    return CheckoutSession(
        session_id=session.id,
        url=session.url,
        status=session.status or "open",  # type: ignore[arg-type]
        intent_id=intent if isinstance(intent, str) or intent is None else intent.id,
    )


def setup_outcome(intent: stripe.SetupIntent) -> SetupOutcome:
    """Return the outcome of saving a card; it is canceled if the card was removed at once."""
    status = _SETUP_STATES.get(intent.status, "waiting")
    if intent.status == "requires_payment_method" and intent.last_setup_error is not None:
        status = "failed"
    method, card = intent.payment_method, None
    if status == "succeeded" and method is not None and not isinstance(method, str):
        if method.customer is None:
            status = "canceled"
        else:
            card = card_details(method)
    return SetupOutcome(
        setup_intent_id=intent.id,
        status=status,  # type: ignore[arg-type]
        client_secret=intent.client_secret,
        card=card,
    )


def intent_outcome(intent: stripe.PaymentIntent) -> Outcome:
    """Return an intent's outcome; a decline is its latest try's."""
    failure = intent.last_payment_error
    kind: OutcomeKind = _INTENT_KINDS.get(intent.status, "waiting")
    if intent.status == "requires_payment_method" and failure is not None:
        kind = "declined"
    action = intent.next_action
    redirect = action.to_dict().get("redirect_to_url") if action is not None else None
    charge, method = intent.latest_charge, intent.payment_method
    decline = _decline(failure) if kind == "declined" and failure is not None else None
    if decline is not None and decline.unconfirmed is not None:
        charge = None  # the latest one, if any, is of an earlier try
    return Outcome(
        kind=kind,
        intent_id=intent.id,
        client_secret=intent.client_secret,
        received_minor=from_provider(intent.amount_received or 0, intent.currency.upper()),
        charge_id=charge if isinstance(charge, str) or charge is None else charge.id,
        card=method if isinstance(method, str) or method is None else method.id,
        redirect_url=redirect["url"] if redirect is not None else None,
        keeps_card=intent.setup_future_usage is not None,
        decline=decline,
        is_over=kind == "canceled",
    )


def _decline(failure: stripe.StripeObject) -> Decline:
    """Return a failed intent's decline; codes that the bank did not give are absent."""
    said = failure.to_dict()
    method = said.get("payment_method") if said.get("code") == _UNCONFIRMED else None
    return Decline(
        code=said.get("code") or "card_declined",
        decline_code=said.get("decline_code"),
        message=said.get("message") or "The card was declined.",
        advice=said.get("advice_code"),
        unconfirmed=method.get("id") if isinstance(method, dict) else method,
    )


def charge_of(charge: stripe.Charge) -> Charge:
    """Return one charge, with its decline if it failed."""
    outcome = charge.outcome
    return Charge(
        charge_id=charge.id,
        created_at=datetime.fromtimestamp(charge.created, UTC),
        paid=charge.paid,
        payment_method_id=charge.payment_method,
        decline=None
        if charge.paid
        else Decline(
            code=charge.failure_code or "card_declined",
            decline_code=outcome.reason if outcome is not None else None,
            message=charge.failure_message or "The card was declined.",
            advice=outcome.to_dict().get("advice_code") if outcome is not None else None,
        ),
    )
