"""The steps of a purchase as decisions over its rows; `outcomes.py` decides the result. Pure.

A step that needs the provider is decided twice: first the records and the call, then, with the
answer, the result.
"""

from datetime import datetime
from typing import Final

from billing.core import ids
from billing.core.errors import Conflict
from billing.core.money import show_decimal
from billing.matters.agenda import Step
from billing.matters.effects import Heard, Rows, Work
from billing.money.payments import captures
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import CUSTOMER_GONE, NOT_ASKED, NOT_OPENED, Decline, Outcome
from billing.money.payments.schemas import LIVE, Payment
from billing.money.purchases import canceling, saved_card
from billing.money.purchases.outcomes import (
    EndedUnpaid,
    PurchaseFacts,
    end_unpaid,
    fulfil,
    purchase_of,
)
from billing.money.purchases.rules import HOSTED
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds

_FAILED: Final = "PLATFORM_ERROR"
_UNREACHED: Final = Outcome(kind="unreached")


def transition(w: Work[PurchaseFacts], step: Step) -> None:
    """Decide one step of a purchase."""
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
            end_uncharged(w, "expired")
        case "cancel":
            cancel(w)
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
    """Create the intent or page; try a saved card after its attempt is on record."""
    answer = w.facts.answer
    if answer is None:
        if saved_card.refuses(w):
            return
        w.call = _begin(w)
        if w.call is None:
            w.result = "opened"
    elif answer.refusal is not None:
        _not_opened(w, w.rows.get(Payment, answer.call.payment.id), answer.refusal)
    elif answer.session is not None:
        payments.record_session(w, w.rows.get(Payment, answer.call.payment.id), answer.session)
        w.result = "opened"
    elif (attempt := saved_card.first_try(w)) is None:
        _opened(w, answer, answer.outcome or _UNREACHED)
    elif answer.call.what == "open":
        payment = w.rows.get(Payment, answer.call.payment.id)
        is_wanted = Owed(w.rows, payment.invoice_id).may_capture(payment)
        payment = payments.record(w, payment, answer.outcome or _UNREACHED)
        # What was asked for or paid by hand meanwhile comes first.
        if is_wanted:
            w.call = saved_card.try_card(w, payment, attempt, again=answer.call.again)
    else:
        outcome = saved_card.tried(w, answer, attempt, answer.outcome or _UNREACHED)
        if outcome is not None:
            _opened(w, answer, outcome)


def _not_opened(w: Work[PurchaseFacts], payment: Payment, why: Decline) -> None:
    """End a purchase whose payment the provider did not open."""
    tried = saved_card.first_try(w)
    if tried is not None and tried.status == "pending":
        payments.finish_attempt(w, tried, payments.not_opened(why))
    payments.close_refused(w, payment, why)
    code, words = (_FAILED, NOT_OPENED) if why.code != CUSTOMER_GONE else (why.code, why.message)
    end_unpaid(w, "failed", code=code, message=words)
    w.result = "refused"


def check(w: Work[PurchaseFacts], step: Step) -> None:
    """Query a payment's status, prompted by an event or by the schedule."""
    answer = w.facts.answer
    payment = payments.asked_about(w, step)
    if payment is None:
        payment = newest_flow(Owed(w.rows, purchase_of(w).invoice_id))
    if answer is None and payment is not None and payment.opened and payment.settled_at is None:
        w.call = Call("look", payment, save_card=False)
        return
    if captures.begin(w, answer) or _ends_in_vain(w, answer):
        return
    _hear(w, step, payment, w.facts.looked_at)
    if payment is not None and step.event is None:
        payment = _count_check(w, payment)
    w.result = NOT_ASKED if answer is None else "waiting"
    if payment is not None and answer is not None and answer.outcome is not None:
        outcome = saved_card.of_try(answer, answer.outcome)
        w.result = outcome.kind
        _follow(w, payment, outcome)


def _hear(w: Work[PurchaseFacts], step: Step, payment: Payment | None, until: datetime) -> None:
    """Mark the event handled, and all of the payment's until then: another payment's say more."""
    if step.event is not None:
        w.do(Heard(event_id=step.event, until=until))
    covered = {
        one.object_id: one.id
        for one in w.rows.waiting_events
        if payment is not None and one.about == payment.id and one.received_at <= until
    }
    for event_id in covered.values():
        w.do(Heard(event_id=event_id, until=until))


def _ends_in_vain(w: Work[PurchaseFacts], answer: Answer | None) -> bool:
    """True if the deciding bank declined: call the intent back before the purchase ends."""
    if answer is None or answer.outcome is None or answer.call.what != "look":
        return False
    payment = w.rows.get(Payment, answer.call.payment.id)
    said_no = answer.outcome.kind == "declined" and not answer.outcome.is_over
    if not said_no or payment.flow != "saved_card" or payment.status != "processing":
        return False
    w.call = Call("call_back", payment, tried=answer.outcome)
    return True


def retire(w: Work[PurchaseFacts]) -> None:
    """Call the open payment back for a manual one, or because the purchase, or a part of it, is
    already paid; book money that arrived nonetheless.
    """
    called = _call_back(w)
    if called is None:
        return
    payment, outcome = called
    if payment is not None:
        _follow(w, payment, outcome)
    payments.send_waiting_to_approval(w, Owed(w.rows, purchase_of(w).invoice_id))
    if outcome.kind in ("canceled", "succeeded"):
        w.result = outcome.kind


def remind(w: Work[PurchaseFacts], step: Step) -> None:
    """Ask the operators again to decide on the payment by hand."""
    payment = w.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or ""))
    payment = _count_check(w, payment)
    payments.announce(w, payment, "awaits_approval", reference=payment.transaction_reference)
    w.result = "reminded"


def cancel(w: Work[PurchaseFacts]) -> None:
    """Cancel the purchase for its buyer, or drop the request where the money is on its way."""
    if w.facts.answer is None and canceling.why_not_now(w) is not None:
        canceling.drop_request(w)
    else:
        end_uncharged(w, "canceled")


def end_uncharged(w: Work[PurchaseFacts], status: EndedUnpaid) -> None:
    """End the purchase once its open payment, if any, is canceled at the provider; else follow the
    provider's answer.
    """
    called = _call_back(w)
    if called is None:
        return
    payment, outcome = called
    if payment is not None and outcome.kind != "canceled":
        _follow(w, payment, outcome)
        w.result = outcome.kind if outcome.kind == "succeeded" else None
        return
    if payment is not None:
        payments.finish_tries(w, payment, outcome)
    end_unpaid(w, status)
    w.result = status


def newest_flow(owed: Owed) -> Payment | None:
    """The payment that may still bring money; else the newest that does not wait for another to
    end.
    """
    flows = [one for one in owed.payments if not one.waits_for_its_turn]
    return owed.live or (flows[-1] if flows else None)


def _begin(w: Work[PurchaseFacts]) -> Call | None:
    """Return the first call; None if the payer already has the page."""
    purchase = purchase_of(w)
    owed = Owed(w.rows, purchase.invoice_id)
    payment = owed.live
    if payment is None or payment.status not in LIVE:
        raise Conflict("PAYMENT_STATE", "the purchase has no open payment")
    what = f"{purchase.pack_name} ({show_decimal(purchase.credits)} credits)"
    if purchase.flow in HOSTED:
        url = purchase.return_url
        page = Call("open_page", payment, description=what, return_url=url, refusable=True)
        return None if payment.opened else page
    again, method_id = False, purchase.payment_method_id
    if purchase.flow == "saved_card" and method_id is not None:
        key = saved_card.try_key(purchase)
        attempt, again = payments.begin_attempt(w, owed, payment, key, method_id, slot=0)
        if payment.opened:
            return saved_card.try_card(w, payment, attempt, again=again)
    return Call(
        "open", payment, again=again, description=what, save_card=False, refusable=True
    )  # fmt: skip


def _opened(w: Work[PurchaseFacts], answer: Answer, outcome: Outcome) -> None:
    payment = w.rows.get(Payment, answer.call.payment.id)
    _follow(w, payment, outcome)
    if outcome.kind == "succeeded" and outcome.intent_id is not None:
        # Last, because events received until now only echo the charge itself.
        w.do(Heard(object_id=outcome.intent_id))
    w.result = outcome.kind


def _call_back(w: Work[PurchaseFacts]) -> tuple[Payment | None, Outcome] | None:
    """Return the open payment and the provider's answer; None: it must be called first."""
    answer = w.facts.answer
    if answer is not None:
        payment = w.rows.get(Payment, answer.call.payment.id)
        return payment, answer.outcome or Outcome(kind="canceled")
    live = Owed(w.rows, purchase_of(w).invoice_id).live
    if live is not None and live.opened:
        w.call = Call("call_back", live, save_card=False)
        return None
    return live, Outcome(kind="canceled")


def _count_check(w: Work[PurchaseFacts], payment: Payment) -> Payment:
    return w.change(payment, checks=payment.checks + 1, last_check_at=w.facts.at)


def _follow(w: Work[PurchaseFacts], payment: Payment, outcome: Outcome) -> None:
    """Apply the consequences of the provider's answer."""
    payment = payments.record(w, payment, outcome)
    if outcome.kind == "unreached" and payment.status in LIVE:
        payment = payments.close_unpaid(w, payment, "failed")
    decline, owed = outcome.decline, Owed(w.rows, payment.invoice_id)
    # If the payer has meanwhile chosen to pay by hand, that payment collects now; if a part was
    # paid so, the rest may come the same way until the purchase expires.
    is_last = owed.live is None and not owed.invoice.amount_paid_minor
    if outcome.kind == "succeeded" and payment.settled_at is None:
        refunds.take_early(w, payment, outcome.given_back)
        fulfil(w, payment)
    elif outcome.kind == "declined" and outcome.is_over and is_last and decline is not None:
        end_unpaid(w, "failed", code=decline.reason, message=decline.message)
    elif outcome.kind == "unreached" and is_last:
        # The provider's own words may be of our account, and its buyer sees this.
        known = "failed or could not be reached, and knows of no charge"
        why = known if decline is None else "refused the charge"
        end_unpaid(w, "failed", code=_FAILED, message=f"the provider {why}")
    elif outcome.kind == "canceled" and is_last:
        _end_canceled(w)


def _end_canceled(w: Work[PurchaseFacts]) -> None:
    """End a purchase whose payment is canceled: for its buyer, if that was asked for and the event
    of it came before the answer; as expired, if the provider has ended the page at that time.
    """
    if canceling.is_asked(w):
        end_unpaid(w, "canceled")
    elif w.facts.at >= purchase_of(w).expires_at:
        end_unpaid(w, "expired")
    else:
        end_unpaid(w, "failed", code="PAYMENT_CANCELED", message="the payment was canceled")
