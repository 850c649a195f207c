"""The one try of a purchase's saved card: if it may be made, its record and its result. Pure."""

from billing.core import ids, keys
from billing.matters.effects import Work
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_rules
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases.outcomes import PurchaseFacts, end_unpaid, purchase_of
from billing.money.purchases.schemas import Purchase


def refuses(w: Work[PurchaseFacts]) -> bool:
    """End a purchase whose card may no longer be tried; True if it was ended."""
    purchase = purchase_of(w)
    card = w.rows.find(Method, purchase.payment_method_id)
    if purchase.flow != "saved_card" or card is None or first_try(w) is not None:
        return False
    forbidden = card_rules.why_not(card, w.facts.declines.get(card.id, 0))
    if forbidden is None:
        return False
    owed = Owed(w.rows, purchase.invoice_id)
    payments.skip_attempt(w, owed, try_key(purchase), 0, forbidden)
    end_unpaid(w, "failed", code=forbidden, message=card_rules.WORDS[forbidden])
    w.result = forbidden
    return True


def first_try(w: Work[PurchaseFacts]) -> Attempt | None:
    """Return the try of the saved card, if the purchase is paid by one."""
    purchase = purchase_of(w)
    if purchase.flow != "saved_card":
        return None
    key = try_key(purchase)
    tries = Owed(w.rows, purchase.invoice_id).attempts
    return next((one for one in tries if one.key == key), None)


def try_key(purchase: Purchase) -> str:
    return keys.slot_attempt(ids.encode(ids.INVOICE, purchase.invoice_id), 0)


def try_card(w: Work[PurchaseFacts], payment: Payment, attempt: Attempt, *, again: bool) -> Call:
    """Return the call that tries the card."""
    asked_for = purchase_of(w).top_up_id is None
    return Call("try_card", payment, attempt, on_session=asked_for, again=again, save_card=False)


def tried(
    w: Work[PurchaseFacts], answer: Answer, attempt: Attempt, outcome: Outcome
) -> Outcome | None:
    """Record and return the try's result; None: without money, the intent is called back first."""
    outcome = of_try(answer, outcome)
    if outcome.kind in ("declined", "unreached") and not outcome.is_over:
        # Failed must mean proven not charged: nobody can confirm a canceled intent later.
        w.call = Call("call_back", answer.call.payment, tried=outcome)
        return None
    if outcome.kind == "canceled":
        outcome = outcome.model_copy(update={"kind": "unreached"})
    payments.finish_attempt(w, attempt, outcome)
    return outcome


def of_try(answer: Answer, outcome: Outcome) -> Outcome:
    """Return the result of the try itself where its intent was called back and canceled."""
    tried = answer.call.tried
    if tried is None or outcome.kind != "canceled":
        return outcome
    return tried.model_copy(update={"is_over": True})
