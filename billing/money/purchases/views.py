"""Read the state that the agenda of a purchase needs from its rows. Pure."""

from billing.core import ids
from billing.core.money import show_decimal, show_money
from billing.matters.effects import Rows
from billing.money.invoices.schemas import Invoice
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Payment, public_id
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.rules import PurchaseState, status_words
from billing.money.purchases.schemas import Purchase
from billing.money.purchases.transitions import newest_flow
from billing.platform.provider_inbox.rules import waiting_events


def view(rows: Rows, facts: PurchaseFacts) -> PurchaseState:
    """The state of the purchase, for its workflow."""
    purchase = rows.get(Purchase, facts.purchase_id)
    owed = Owed(rows, purchase.invoice_id)
    # A reported transfer may stand beside recorded money, or on an invoice that was voided.
    reported = next((one for one in rows.of(Payment) if one.status == "pending_approval"), None)
    newest = reported or newest_flow(owed)
    # Money may have come after its invoice was voided.
    unsettled = next((one for one in rows.of(Payment) if one.is_unbooked), None)
    state = PurchaseState(
        clock_at=facts.clock_at,
        status=purchase.status,
        purchase=ids.encode(ids.PURCHASE, purchase.id),
        flow="manual" if newest is not None and newest.flow == "manual" else purchase.flow,
        payment_status=newest.status if newest is not None else None,
        payment=public_id(newest),
        payment_at=newest.created_at if newest is not None else None,
        unsettled=public_id(unsettled),
        submission=public_id(owed.submission),
        cancel_asked_at=rows.get(Invoice, purchase.invoice_id).cancel_asked_at,
        unasked=public_id(_unasked(purchase, owed, reported or owed.live)),
        opened=newest is not None and newest.opened,
        undecided=purchase.payment_method_id is not None and owed.undecided is not None,
        created_at=purchase.created_at,
        expires_at=purchase.expires_at,
        checks=newest.checks if newest is not None else 0,
        last_check_at=newest.last_check_at if newest is not None else None,
        events=waiting_events(rows),
    )
    return state.model_copy(update={"words": status_words(state, _what(purchase))})


def _unasked(purchase: Purchase, owed: Owed, live: Payment | None) -> Payment | None:
    """Return the live payment if the purchase has ended, where its payer may still finish it, or an
    operator approve it; or if it asks for another amount than is owed, as a part was paid by hand.

    A payment that its bank is deciding cannot be called back; its money would be kept.
    """
    if live is None or live.status == "processing":
        return None
    if purchase.status == "pending" and (live.flow == "manual" or not owed.is_stale(live)):
        return None
    return live


def _what(purchase: Purchase) -> str:
    price = show_money(purchase.amount_minor, purchase.currency)
    return f"{show_decimal(purchase.credits)} credits ({purchase.pack_name}) for {price}"
