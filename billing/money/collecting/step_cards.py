"""The card that a step of collecting tries, and the reasons not to try it. Pure."""

from uuid import UUID

from billing.core import ids
from billing.core.currencies import chargeable
from billing.matters.agenda import Step
from billing.matters.effects import Work
from billing.money.collecting.facts import CollectFacts
from billing.money.collecting.rules import PROVIDER_DOWN_TRIES, first_key
from billing.money.dunning import cases
from billing.money.payment_methods.rules import takes
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_choice, card_rules
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed


def undecided(owed: Owed, step: Step) -> UUID | None:
    """Return the card of this step's try whose result is not known.

    The provider must be asked for the result, whatever happened to the card since.
    """
    tries = (one for one in owed.attempts if one.key == step.key and one.status == "pending")
    return next((one.payment_method_id for one in tries), None)


def chosen(w: Work[CollectFacts], owed: Owed, step: Step) -> Method | None:
    """Return the step's card: the new one, the requested one, the payment's, or the charged one."""
    named = None
    if step.method is not None:
        named = ids.decode(ids.PAYMENT_METHOD, step.method)
    elif step.asked:
        named = owed.invoice.pay_method_id
    elif owed.invoice.status == "draft" and owed.live is not None:
        named = owed.live.payment_method_id
    if named is None:
        return card_choice.collecting_card(w.rows, owed, w.facts.own_card)
    return next((one for one in payments.cards(w.rows) if one.id == named), None)


def why_not(w: Work[CollectFacts], owed: Owed, card: Method | None, step: Step) -> str | None:
    """Return the reason not to try this card now; None: try it."""
    if owed.invoice.collection == "send_invoice" and not step.asked:
        return "paid_by_transfer"
    if card is None:
        return "no_payment_method"
    currency = owed.invoice.currency
    if not chargeable(currency) or not takes(card, currency):
        return "currency_not_charged"
    forbidden = card_rules.why_not(card, w.facts.declines.get(card.id, 0))
    if forbidden == "card_barred":
        return forbidden
    unfit = card_rules.unfit(card, owed, w.rows.of(Method), cases.slots_of(w, owed))
    if unfit is not None:
        return unfit
    if step.slot is not None and owed.is_refused_for_good(card):
        return "hard_decline_before"
    first = first_key(step.key)
    tries = [one for one in owed.attempts if first_key(one.key) == first]
    # Not one after which an operator ordered the next: orders shorten no day, and use up no slot.
    hourly = sum(one.status == "unreached" and one.again_at is None for one in tries)
    if hourly >= PROVIDER_DOWN_TRIES:
        return "provider_down"
    return forbidden
