"""A purchase is paid and granted once, or it ends, proven not charged. Pure.

A step that needs the provider is decided twice: first what must be on record and what to ask,
then, with the answer, what it came to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing.core import ids, keys
from billing.core.errors import Conflict
from billing.core.money import show_decimal
from billing.matters.agenda import Step
from billing.matters.effects import Do, Heard, Rows, Work
from billing.matters.kinds import PURCHASE
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice, Line, NewInvoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import LIVE, Attempt, Payment
from billing.money.purchases.schemas import Purchase

GRANT: Final = "grant"
TOP_UP_COMPLETED: Final = "top_up_completed"
TOP_UP_FAILED: Final = "top_up_failed"
_FAILED: Final = "PLATFORM_ERROR"
_UNREACHED: Final = Outcome(kind="unreached")


@dataclass(slots=True)
class PurchaseFacts(InvoiceFacts):
    """The facts of a purchase beside its rows."""

    answer: Answer | None = None
    purchase_id: UUID = field(kw_only=True)
    clock_at: datetime | None = None
    """The account's frozen test clock."""


def start(w: Work[Any], row: Mapping[str, Any], issuer_id: UUID | None) -> Purchase:
    """A pending purchase with its draft and, unless it is paid by hand, its payment."""
    invoice = invoices.draft(w, invoice_of(row, issuer_id))
    purchase = w.add(Purchase.model_validate({**row, "invoice_id": invoice.id}))
    if purchase.flow != "manual":
        owed = Owed(w.rows, invoice.id)
        payments.open_flow(w, owed, purchase.flow, purchase.payment_method_id)
    _announce(w, purchase, "created")
    return purchase


def transition(w: Work[PurchaseFacts], step: Step) -> None:
    """One step of a purchase."""
    match step.name:
        case "open":
            open_payment(w)
        case "check":
            check(w, step)
        case "fulfil":
            paid = w.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or ""))
            w.result = fulfil(w, paid).status
        case "retire":
            retire(w)
        case "remind":
            remind(w, step)
        case "expire":
            expire(w)
        case _:
            raise ValueError(f"a purchase has no step {step.name!r}")


def begun(rows: Rows, facts: PurchaseFacts, step: Step) -> bool:
    """True if what opening did at the provider is not recorded yet."""
    purchase = rows.get(Purchase, facts.purchase_id)
    owed = Owed(rows, purchase.invoice_id)
    if step.name != "open" or purchase.status != "pending" or owed.live is None:
        return False
    return owed.undecided is not None or not owed.live.opened


def open_payment(w: Work[PurchaseFacts]) -> None:
    """Make the intent or page; a saved card is tried on it, after its try is on record."""
    answer = w.facts.answer
    if answer is None:
        w.call = _begin(w)
        if w.call is None:
            w.result = "opened"
    elif answer.refusal is not None:
        end_unpaid(w, "failed", code=_FAILED, message=answer.refusal)
        w.result = "refused"
    elif answer.session is not None:
        payments.record_session(w, w.rows.get(Payment, answer.call.payment.id), answer.session)
        w.result = "opened"
    elif (attempt := _first_try(w)) is None:
        _opened(w, answer, answer.outcome or _UNREACHED)
    elif answer.call.what == "open":
        payment = w.rows.get(Payment, answer.call.payment.id)
        payment = payments.record(w, payment, answer.outcome or _UNREACHED)
        w.call = _try(w, payment, attempt, again=answer.call.again)
    else:
        _tried(w, answer, attempt)


def check(w: Work[PurchaseFacts], step: Step) -> None:
    """Ask where a payment stands, told by an event or by the calendar."""
    answer, payment = w.facts.answer, _asked_about(w, step)
    if answer is None and payment is not None and payment.opened and payment.settled_at is None:
        w.call = Call("look", payment, save_card=False)
        return
    until = answer.asked_at if answer is not None else w.facts.real_at
    matter_id = PURCHASE.workflow_id(w.facts.purchase_id)
    w.do(Heard(event_id=step.event, until=until, workflow_id=matter_id))
    if payment is not None and step.event is None:
        payment = _count_check(w, payment)
    w.result = "nothing to ask about"
    if payment is not None and answer is not None and answer.outcome is not None:
        w.result = answer.outcome.kind
        _follow(w, payment, answer.outcome, saved_card=False)


def retire(w: Work[PurchaseFacts]) -> None:
    """Call the open payment back for the one by hand; money that came all the same is booked."""
    called = _call_back(w)
    if called is None:
        return
    payment, outcome = called
    if payment is not None:
        _follow(w, payment, outcome, saved_card=False)
    payments.make_way(w, Owed(w.rows, _purchase(w).invoice_id))
    if outcome.kind in ("canceled", "succeeded"):
        w.result = outcome.kind


def remind(w: Work[PurchaseFacts], step: Step) -> None:
    """Ask the operators again to decide on the payment by hand."""
    payment = w.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or ""))
    payment = _count_check(w, payment)
    payments.announce(w, payment, "awaits_approval", reference=payment.transaction_reference)
    w.result = "reminded"


def expire(w: Work[PurchaseFacts]) -> None:
    """The payer's time is up; the provider's word on an open payment comes first."""
    called = _call_back(w)
    if called is None:
        return
    payment, outcome = called
    if payment is not None and outcome.kind != "canceled":
        _follow(w, payment, outcome, saved_card=False)
        w.result = outcome.kind if outcome.kind == "succeeded" else None
        return
    end_unpaid(w, "expired")
    w.result = "expired"


def fulfil(w: Work[PurchaseFacts], payment: Payment) -> Purchase:
    """Book the money of `payment`; when the invoice is covered, grant the credits, once [E17].

    Money that came after the purchase had ended is granted all the same, on an invoice anew.
    """
    purchase = _purchase(w)
    payment = w.change(payment, settled_at=w.facts.at)
    if purchase.status in ("completed", "refunded"):
        invoice = w.rows.get(Invoice, purchase.invoice_id)
        invoices.keep_money(w, invoice, payment.id, payment.received_minor)
        return purchase
    invoice = _payable_invoice(w, purchase)
    if payment.received_minor < invoice.remaining_minor:
        invoices.receive(w, invoice, payment.received_minor)
        return purchase
    w.do(_grant_of(purchase))
    done = w.change(
        purchase, status="completed", completed_at=w.facts.at, closed_at=w.facts.at,
        invoice_id=invoice.id, failure_code=None, failure_message=None,
    )  # fmt: skip
    _announce(w, done, "completed", type="evt.billing.credits.purchased")
    if done.top_up_id is not None:
        w.do(Do(TOP_UP_COMPLETED, {"top_up_id": done.top_up_id}))
    invoices.receive(w, invoice, payment.received_minor)
    return done


def end_unpaid(
    w: Work[PurchaseFacts], status: str, *, code: str | None = None, message: str | None = None
) -> Purchase:
    """`failed` or `expired`, proven not charged: the draft becomes void, the payment closed."""
    purchase = _purchase(w)
    if purchase.status != "pending":
        return purchase
    live = Owed(w.rows, purchase.invoice_id).live
    if live is not None:
        payments.close_unpaid(w, live, "failed" if status == "failed" else "canceled")
    ended = w.change(
        purchase, status=status, closed_at=w.facts.at, failure_code=code, failure_message=message
    )
    _announce(w, ended, status, code=code)
    if ended.top_up_id is not None:
        w.do(Do(TOP_UP_FAILED, {"top_up_id": ended.top_up_id, "reason": code or status}))
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    if invoice.status == "draft":
        invoices.void(w, invoice, f"purchase {status}")
    return ended


def newest_flow(owed: Owed) -> Payment | None:
    """The newest payment that does not wait for another to end."""
    flows = [one for one in owed.payments if not one.waits_for_its_turn]
    return flows[-1] if flows else None


def invoice_of(row: Mapping[str, Any], issuer_id: UUID | None, *, late: bool = False) -> NewInvoice:
    """The invoice of a purchase's row, with one line for the pack; `late`: the one made anew."""
    stem = ids.encode(ids.PURCHASE, row["id"])
    return NewInvoice(
        account_id=row["account_id"],
        issuer_id=issuer_id,
        workflow_id=PURCHASE.workflow_id(row["id"]),
        fact_key=f"{stem}/invoice-late" if late else f"{stem}/invoice",
        currency=row["currency"],
        purchase_id=row["id"],
        # What a payer writes on a bank transfer; short enough to be copied by hand.
        payment_reference=None if late else row["id"].hex[-12:].upper(),
        lines=(
            Line(
                kind="pack",
                description=f"{row['pack_name']}: {show_decimal(row['credits'])} credits",
                unit_amount=Decimal(row["amount_minor"]),
                amount_minor=row["amount_minor"],
                detail={"pack": row["pack"]},
            ),
        ),
    )


def _begin(w: Work[PurchaseFacts]) -> Call | None:
    """The first call; None: the payer has the page already."""
    purchase = _purchase(w)
    owed = Owed(w.rows, purchase.invoice_id)
    payment = owed.live
    if payment is None or payment.status not in LIVE:
        raise Conflict("PAYMENT_STATE", "the purchase has no live payment")
    what = f"{purchase.pack_name} ({show_decimal(purchase.credits)} credits)"
    if purchase.flow == "checkout":
        url = purchase.return_url
        page = Call("open_page", payment, description=what, return_url=url, refusable=True)
        return None if payment.opened else page
    again, method_id = False, purchase.payment_method_id
    if purchase.flow == "saved_card" and method_id is not None:
        key = keys.slot_attempt(purchase.invoice_id, 0)
        attempt, again = payments.begin_attempt(w, owed, payment, key, method_id, slot=0)
        if payment.opened:
            return _try(w, payment, attempt, again=again)
    return Call(
        "open", payment, again=again, description=what, save_card=False, refusable=True
    )  # fmt: skip


def _try(w: Work[PurchaseFacts], payment: Payment, attempt: Attempt, *, again: bool) -> Call:
    asked_for = _purchase(w).top_up_id is None
    return Call("try_card", payment, attempt, on_session=asked_for, again=again, refusable=True)


def _first_try(w: Work[PurchaseFacts]) -> Attempt | None:
    """The try of the saved card, if the purchase is paid by one."""
    purchase = _purchase(w)
    if purchase.flow != "saved_card":
        return None
    key = keys.slot_attempt(purchase.invoice_id, 0)
    tries = Owed(w.rows, purchase.invoice_id).attempts
    return next((one for one in tries if one.key == key), None)


def _tried(w: Work[PurchaseFacts], answer: Answer, attempt: Attempt) -> None:
    """The try's result; without money the intent is called back before that is believed."""
    outcome = answer.outcome or _UNREACHED
    tried = answer.call.tried
    if tried is not None and outcome.kind not in ("succeeded", "processing"):
        outcome = tried
    elif tried is None and outcome.kind in ("declined", "unreached"):
        # Failed must mean proven not charged: nobody can confirm a canceled intent later.
        w.call = Call("call_back", answer.call.payment, tried=outcome, refusable=True)
        return
    payments.finish_attempt(w, attempt, outcome)
    _opened(w, answer, outcome)


def _opened(w: Work[PurchaseFacts], answer: Answer, outcome: Outcome) -> None:
    payment = w.rows.get(Payment, answer.call.payment.id)
    _follow(w, payment, outcome, saved_card=True)
    if outcome.kind == "succeeded" and outcome.intent_id is not None:
        # Last: events that come until now are the echo of the charge itself.
        w.do(Heard(object_id=outcome.intent_id))
    w.result = outcome.kind


def _call_back(w: Work[PurchaseFacts]) -> tuple[Payment | None, Outcome] | None:
    """The open payment and the provider's word on it; None: it is asked now."""
    answer = w.facts.answer
    if answer is not None:
        payment = w.rows.get(Payment, answer.call.payment.id)
        return payment, answer.outcome or Outcome(kind="canceled")
    live = Owed(w.rows, _purchase(w).invoice_id).live
    if live is not None and live.opened:
        w.call = Call("call_back", live)
        return None
    return live, Outcome(kind="canceled")


def _asked_about(w: Work[PurchaseFacts], step: Step) -> Payment | None:
    """The payment an event speaks of, else the newest that does not wait for another to end."""
    if w.facts.answer is not None:
        return w.rows.get(Payment, w.facts.answer.call.payment.id)
    event = next((one for one in w.rows.waiting_events if one.id == step.event), None)
    about = w.rows.find(Payment, event.about) if event is not None else None
    return about or newest_flow(Owed(w.rows, _purchase(w).invoice_id))


def _count_check(w: Work[PurchaseFacts], payment: Payment) -> Payment:
    return w.change(payment, checks=payment.checks + 1, last_check_at=w.facts.at)


def _follow(
    w: Work[PurchaseFacts], payment: Payment, outcome: Outcome, *, saved_card: bool
) -> None:
    """The consequences of the provider's word."""
    payment = payments.record(w, payment, outcome)
    decline = outcome.decline
    if outcome.kind == "succeeded" and payment.settled_at is None:
        fulfil(w, payment)
    elif outcome.kind == "declined" and saved_card and decline is not None:
        end_unpaid(w, "failed", code=decline.reason, message=decline.message)
    elif outcome.kind == "unreached":
        end_unpaid(w, "failed", code=_FAILED, message="the provider could not be reached")
    elif outcome.kind == "canceled" and Owed(w.rows, payment.invoice_id).live is None:
        end_unpaid(w, "failed", code="PAYMENT_CANCELED", message="the payment was canceled")


def _payable_invoice(w: Work[PurchaseFacts], purchase: Purchase) -> Invoice:
    """The purchase's draft; after expiry voided it, a new one for the money that came late."""
    invoice = w.rows.get(Invoice, purchase.invoice_id)
    if invoice.status != "void":
        return invoice
    return invoices.draft(w, invoice_of(purchase.model_dump(), invoice.issuer_id, late=True))


def _announce(
    w: Work[Any], purchase: Purchase, what: str, *, type: str | None = None, **detail: Any
) -> None:
    """One audit row and one `evt.billing.purchase.*`, or the event that `type` names."""
    subject = ids.encode(ids.PURCHASE, purchase.id)
    facts = {
        "purchase_id": subject,
        "pack": purchase.pack,
        "credits": show_decimal(purchase.credits),
        "amount_cents": purchase.amount_minor,
        "currency": purchase.currency,
        **detail,
    }
    w.announce(purchase.account_id, f"purchase.{what}", subject, facts, type=type)


def _grant_of(purchase: Purchase) -> Do:
    return Do(
        GRANT,
        {
            "account_id": purchase.account_id,
            "amount": purchase.credits,
            "kind": "purchase",
            "key": keys.purchase_grant(purchase.id),
            "is_paid": True,
            "reason": f"purchase of {purchase.pack_name}",
            "subject": ids.encode(ids.PURCHASE, purchase.id),
        },
    )


def _purchase(w: Work[PurchaseFacts]) -> Purchase:
    return w.rows.get(Purchase, w.facts.purchase_id)
