"""Decisions that open payments and tries and record the provider's answers. Pure."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing.core import ids, keys
from billing.core.errors import NotFound
from billing.matters.agenda import Step
from billing.matters.effects import Announce, Facts, Rows, Work
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.rules import card_facts, named
from billing.money.payment_methods.schemas import Method
from billing.money.payments.owed import Owed
from billing.money.payments.rules import (
    CUSTOMER_GONE,
    FINAL_PAYMENT,
    CheckoutSession,
    Decline,
    Outcome,
)
from billing.money.payments.schemas import (
    LIVE,
    PAYPAL,
    UNCONFIRMED,
    Attempt,
    AttemptStatus,
    Payment,
    PaymentStatus,
)

ATTEMPT_RESULT: Final[dict[str, AttemptStatus]] = {
    "succeeded": "succeeded",
    "declined": "declined",
    "action": "action",
    "processing": "processing",
    "waiting": "unreached",
    "canceled": "unreached",
    "unreached": "unreached",
}


def asked_about(w: Work[Facts], step: Step) -> Payment | None:
    """Return the payment that the answer or the step's event is about, if it is known here."""
    if w.facts.answer is not None:
        return w.rows.get(Payment, w.facts.answer.call.payment.id)
    about = (one.about for one in w.rows.waiting_events if one.id == step.event)
    return w.rows.find(Payment, next(about, None))


def open_flow(
    w: Work[Facts], owed: Owed, flow: str, method_id: UUID | None, *, unattended: bool = False
) -> Payment:
    """Add the invoice's next payment; the database allows one live payment per invoice."""
    fields = new_payment(owed.invoice, len(owed.payments) + 1, flow, method_id, w.facts.at)
    return w.add(Payment(id=w.facts.new_id(), is_unattended=unattended, **fields))


def new_payment(
    invoice: Invoice, number: int, flow: str, method_id: UUID | None, at: datetime
) -> dict[str, Any]:
    """Return the fields of an invoice's payment that is asked for now, apart from its id."""
    return {
        "account_id": invoice.account_id,
        "invoice_id": invoice.id,
        "workflow_id": invoice.workflow_id,
        "flow": flow,
        "intent_key": keys.intent(invoice.id, number),
        "status": "pending",
        "amount_minor": invoice.remaining_minor,
        "currency": invoice.currency,
        "payment_method_id": method_id,
        "created_at": at,
    }


def begin_attempt(
    w: Work[Facts], owed: Owed, payment: Payment, key: str, method_id: UUID, slot: int | None
) -> tuple[Attempt, bool]:
    """Return the attempt to record before a card is tried, and whether it already existed."""
    before = next((one for one in owed.attempts if one.key == key), None)
    if before is not None:
        return before, True
    attempt = _new_try(
        w, payment.account_id, payment.invoice_id, key,
        payment_id=payment.id, slot=slot, payment_method_id=method_id, status="pending",
    )  # fmt: skip
    return w.add(attempt, once="key"), False


def skip_attempt(w: Work[Facts], owed: Owed, key: str, slot: int | None, reason: str) -> None:
    """Record that a due try was skipped, with the reason and the sum owed then, which no payment
    says.
    """
    attempt = _new_try(
        w, owed.invoice.account_id, owed.invoice_id, key,
        slot=slot, status="skipped", decline_code=reason,
        detail={"amount_minor": owed.invoice.remaining_minor}, finished_at=w.facts.at,
    )  # fmt: skip
    w.add(attempt, once="key")


def _new_try(
    w: Work[Facts], account_id: UUID, invoice_id: UUID, key: str, **fields: Any
) -> Attempt:
    """Return a try that begins now; the caller adds it."""
    return Attempt(
        id=w.facts.new_id(), account_id=account_id, invoice_id=invoice_id, key=key,
        started_at=w.facts.at, real_started_at=w.facts.real_at, **fields,
    )  # fmt: skip


def finish_attempt(w: Work[Facts], attempt: Attempt, outcome: Outcome) -> None:
    """Record an attempt's result; an undecided attempt stays `pending` and keeps its key.

    Its card is barred if the bank asks for that, whichever flow the payment has by now.
    """
    outcome = Owed(w.rows, attempt.invoice_id).result_of(attempt, outcome)
    decline = outcome.decline
    _bar(w, attempt, decline)
    w.change(
        attempt,
        status=ATTEMPT_RESULT[outcome.kind],
        decline_code=decline.reason if decline else None,
        decline_class=decline.decline_class if decline else None,
        message=decline.message if decline else None,
        detail=_proof(outcome),
        finished_at=w.facts.at,
    )


def finish_tries(w: Work[Facts], payment: Payment, outcome: Outcome) -> None:
    """Record the result of the tries of a payment that the provider's answer decides."""
    for attempt in Owed(w.rows, payment.invoice_id).decided_by(payment.id, outcome):
        finish_attempt(w, attempt, outcome)


def not_opened(why: Decline) -> Outcome:
    """Return the outcome of a try whose payment the provider did not open."""
    return Outcome(kind="declined" if why.code == CUSTOMER_GONE else "unreached", decline=why)


def record(w: Work[Facts], payment: Payment, outcome: Outcome) -> Payment:
    """Record the provider's answer on a payment; a final payment is never reopened.

    The answer also decides the payment's open attempt. A manual payment that waited for a now final
    one goes to the operators for approval.
    """
    if payment.status in ("succeeded", "refunded"):
        return payment
    if payment.status in FINAL_PAYMENT and outcome.kind != "succeeded":
        return payment
    owed = Owed(w.rows, payment.invoice_id)
    if owed.is_old_decline(payment.id, outcome):
        outcome = outcome.model_copy(update={"charge_id": None, "decline": None})
    changed = w.change(payment, **_fields(w, payment, outcome))
    finish_tries(w, payment, outcome)
    asked = owed.answered_by_payer(payment.id, outcome)
    is_another = _keep_payers_try(w, owed, payment, outcome, asked)
    if asked is not None:
        finish_attempt(w, asked, outcome)
    if outcome.kind == "succeeded":
        changed = w.change(changed, **_paid_with(w, owed, changed, outcome))
    if changed.status != payment.status or is_another or _is_new_decline(payment, changed, outcome):
        _announce_outcome(w, changed, outcome)
    if changed.status in FINAL_PAYMENT:
        send_waiting_to_approval(w, owed)
    return changed


def _paid_with(w: Work[Facts], owed: Owed, payment: Payment, outcome: Outcome) -> dict[str, Any]:
    """Return the fields that name the method that paid, as it is now."""
    method_id = _method_that_paid(w, owed, payment, outcome)
    method = w.rows.find(Method, method_id)
    shown = method.model_dump(include={"provider_kind", "brand", "last4"}) if method else None
    return {"payment_method_id": method_id, "paid_with": shown}


def _method_that_paid(
    w: Work[Facts], owed: Owed, payment: Payment, outcome: Outcome
) -> UUID | None:
    """Return the method that paid, maybe not the initial one; None: it is not saved."""
    used = named(w.rows.of(Method), outcome.card)
    if used is not None:
        return used.id
    paid = owed.paid_try(payment.id)
    if outcome.card is not None and (paid is None or paid.status != "succeeded"):
        return None
    return (paid or payment).payment_method_id


def _keep_payers_try(
    w: Work[Facts], owed: Owed, payment: Payment, outcome: Outcome, asked: Attempt | None
) -> bool:
    """Record a decline that the payer met in the browser, like one of our own tries.

    Returns True if it was not known. `asked` is our own try that the payer should confirm.
    """
    proof = _proof(outcome)
    if outcome.kind != "declined" or not proof:
        return False
    if any(proof.items() <= one.detail.items() for one in w.rows.of(Attempt)):
        return False
    if outcome.charge_id is None:
        is_payers = asked is None and owed.undecided is None
    else:
        is_payers = payment.flow in ("card", "checkout", PAYPAL)
    if not is_payers:
        return False
    [proven_by] = proof.values()
    key = keys.payers_try(payment.intent_key, proven_by)
    attempt = _new_try(
        w, payment.account_id, payment.invoice_id, key, payment_id=payment.id, status="declined"
    )
    finish_attempt(w, w.add(attempt, once="key"), outcome)
    return True


def _proof(outcome: Outcome) -> dict[str, str]:
    """Return what tells a try from others: its charge, or what it had instead of one."""
    unconfirmed = outcome.decline.unconfirmed if outcome.decline is not None else None
    if outcome.charge_id is not None:
        return {"charge_id": outcome.charge_id}
    return {UNCONFIRMED: unconfirmed} if unconfirmed is not None else {}


def _bar(w: Work[Facts], attempt: Attempt, decline: Decline | None) -> None:
    """Bar the card of a try on all flows if its bank asked never to try it again.

    A try that the payer made in the browser has no stored card.
    """
    card = w.rows.find(Method, attempt.payment_method_id)
    if decline is not None and decline.bars_card and card is not None and card.barred_at is None:
        announce_card(w, w.change(card, barred_at=w.facts.at), "barred")


def record_session(w: Work[Facts], payment: Payment, session: CheckoutSession) -> Payment:
    """Remember the hosted page, and the intent behind it once there is one."""
    return w.change(payment, **session_fields(payment, session))


def session_fields(payment: Payment, session: CheckoutSession) -> dict[str, Any]:
    """Return the fields of a payment that name its hosted page."""
    return {
        "stripe_checkout_session_id": session.session_id,
        "redirect_url": session.url or payment.redirect_url,
        "stripe_payment_intent_id": session.intent_id or payment.stripe_payment_intent_id,
    }


def close_unpaid(w: Work[Facts], payment: Payment, status: PaymentStatus) -> Payment:
    """Close a payment that brought no money, as `failed` or `canceled`.

    The payer is told of a transfer that nobody decided on.
    """
    if payment.status in FINAL_PAYMENT and payment.status != "canceled":
        return payment
    closed = w.change(payment, status=status, closed_at=w.facts.at)
    if payment.status == "pending_approval":
        announce(w, closed, status, failure_code=closed.failure_code)
    send_waiting_to_approval(w, Owed(w.rows, payment.invoice_id))
    return closed


def close_refused(w: Work[Facts], payment: Payment, why: Decline) -> Payment:
    """Close a payment that the provider did not open, with its words, which operators read."""
    said = {"failure_code": why.code, "failure_message": why.message}
    return close_unpaid(w, w.change(payment, **said), "failed")


def close_submissions(w: Work[Facts], invoice_id: UUID) -> None:
    """Cancel manual payments; the matter itself calls a card's payment back."""
    for one in Owed(w.rows, invoice_id).payments:
        if one.flow == "manual" and one.status in LIVE:
            close_unpaid(w, one, "canceled")


def close_flows(w: Work[Facts], invoice_id: UUID) -> None:
    """Cancel every payment of this invoice that may still bring money."""
    owed = Owed(w.rows, invoice_id)
    send_waiting_to_approval(w, owed)
    while owed.live is not None:
        close_unpaid(w, owed.live, "canceled")


def send_waiting_to_approval(w: Work[Facts], owed: Owed) -> Payment | None:
    """Send a manual payment to approval once the card's flow it waited for has ended."""
    waiting = owed.submission
    if waiting is None or owed.live is not None:
        return None
    taken = w.change(waiting, status="pending_approval")
    announce(w, taken, "submitted", reference=taken.transaction_reference)
    return taken


def announce(w: Work[Facts], payment: Payment, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.payment.*`."""
    w.do(announcement(payment, what, **detail))


def announcement(payment: Payment, what: str, **detail: Any) -> Announce:
    """Return the announcement of what happened to a payment."""
    subject = ids.encode(ids.PAYMENT, payment.id)
    facts = {
        "payment_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, payment.invoice_id),
        "amount_cents": payment.received_minor or payment.amount_minor,
        "currency": payment.currency,
        **detail,
    }
    return Announce(payment.account_id, f"payment.{what}", subject, facts)


def default_card(rows: Rows) -> Method | None:
    """Return the active default method."""
    return next((one for one in cards(rows) if one.is_default), None)


def charged_card(rows: Rows, own_card: UUID | None) -> Method | None:
    """Return the card chosen for this charge if it is usable, else the account's default."""
    own = (one for one in cards(rows) if one.id == own_card and one.barred_at is None)
    return next(own, None) or default_card(rows)


def named_card(rows: Rows, method_id: UUID) -> Method:
    """The active method with this id. Errors: PAYMENT_METHOD_NOT_FOUND."""
    card = next((one for one in cards(rows) if one.id == method_id), None)
    if card is None:
        raise NotFound("PAYMENT_METHOD_NOT_FOUND")
    return card


def cards(rows: Rows) -> list[Method]:
    """The account's active methods."""
    return [one for one in rows.of(Method) if one.status == "active"]


def announce_card(w: Work[Facts], method: Method, what: str) -> None:
    """Write one audit row and one `evt.billing.payment_method.*`."""
    facts = card_facts(method)
    w.announce(method.account_id, f"payment_method.{what}", facts["payment_method_id"], facts)


def _fields(w: Work[Facts], payment: Payment, outcome: Outcome) -> dict[str, Any]:
    """Fields of the payment's row that an outcome changes."""
    fields: dict[str, Any] = {
        "stripe_payment_intent_id": outcome.intent_id or payment.stripe_payment_intent_id,
        "client_secret": outcome.client_secret or payment.client_secret,
        "stripe_charge_id": outcome.charge_id or payment.stripe_charge_id,
        # A look that finds its order approved does not say that the capture was not sent.
        "capture_asked_at": payment.capture_asked_at if outcome.is_approved else None,
    }
    if payment.stripe_checkout_session_id is None:
        # The bank's page ends as soon as the bank has its answer.
        fields["redirect_url"] = outcome.redirect_url
    at = w.facts.at
    match outcome.kind:
        case "succeeded":
            fields |= {"status": "succeeded", "received_minor": outcome.received_minor}
            fields |= {"paid_at": at, "closed_at": at, **_failure(None)}
        case "processing":
            fields |= {"status": "processing", **_failure(None)}
        case "canceled":
            fields |= {"status": "canceled", "closed_at": at}
        case "declined" if outcome.is_over:
            fields |= {"status": "failed", "closed_at": at, **_failure(outcome)}
        case "declined":
            fields |= {"status": "pending", **_failure(outcome)}
        case _:
            fields |= {"status": "pending"}
    return fields


def _failure(outcome: Outcome | None) -> dict[str, Any]:
    decline = outcome.decline if outcome else None
    if outcome is not None and decline is None:
        return {}  # the earlier failure stays
    return {
        "failure_code": decline.reason if decline else None,
        "failure_message": decline.message if decline else None,
        "failure_class": decline.decline_class if decline else None,
    }


def _is_new_decline(before: Payment, after: Payment, outcome: Outcome) -> bool:
    """True for a decline not announced yet, however often the provider reports it."""
    known = (before.stripe_charge_id, before.failure_code)
    return outcome.kind == "declined" and (after.stripe_charge_id, after.failure_code) != known


def _announce_outcome(w: Work[Facts], payment: Payment, outcome: Outcome) -> None:
    what = "failed" if outcome.kind == "declined" else outcome.kind
    detail = dict[str, Any]()
    if what == "failed":
        tried = Owed(w.rows, payment.invoice_id).declined_try(payment.id, _proof(outcome))
        detail["attempt_id"] = ids.encode(ids.ATTEMPT, tried.id) if tried is not None else None
    if what in ("succeeded", "failed", "canceled", "processing"):
        announce(w, payment, what, failure_code=payment.failure_code, **detail)
