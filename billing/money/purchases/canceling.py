"""The cancel of a pending purchase by its buyer: asked for here, decided by the provider. Pure."""

from billing.core.errors import Conflict
from billing.matters.effects import Wake, Work
from billing.matters.kinds import PURCHASE
from billing.money.invoices.schemas import Invoice
from billing.money.payments.owed import Owed
from billing.money.purchases.outcomes import PurchaseFacts, purchase_of


def ask(w: Work[PurchaseFacts]) -> None:
    """Record that the buyer wants the purchase canceled; asked again, nothing changes.

    Errors: PURCHASE_STATE for one that has ended otherwise; PAYMENT_PENDING.
    """
    purchase = purchase_of(w)
    if purchase.status == "canceled":
        return
    if purchase.status != "pending":
        raise refusal(purchase.status)
    why = why_not_now(w)
    if why is not None:
        raise Conflict("PAYMENT_PENDING", why)
    if not is_asked(w):
        w.change(w.rows.get(Invoice, purchase.invoice_id), cancel_asked_at=w.facts.at)
    w.do(Wake(PURCHASE.workflow_id(purchase.id)))


def is_asked(w: Work[PurchaseFacts]) -> bool:
    """True if the buyer wants the purchase canceled."""
    return w.rows.get(Invoice, purchase_of(w).invoice_id).cancel_asked_at is not None


def why_not_now(w: Work[PurchaseFacts]) -> str | None:
    """Return why the payment cannot be called back; None: it can be, as far as is known."""
    owed = Owed(w.rows, purchase_of(w).invoice_id)
    if owed.submission is not None or (owed.live and owed.live.status == "pending_approval"):
        return "a manual payment of this purchase is awaiting approval"
    if owed.live is not None and owed.live.status == "processing":
        return "the bank is processing the payment of this purchase"
    return None


def drop_request(w: Work[PurchaseFacts]) -> None:
    """Forget that the buyer asked: a request that was refused leaves nothing behind."""
    invoice = w.rows.get(Invoice, purchase_of(w).invoice_id)
    w.change(invoice, cancel_asked_at=None)


def refusal(status: str) -> Conflict:
    """Return the error for a purchase that has ended otherwise."""
    return Conflict(
        "PURCHASE_STATE", f"a purchase that is {status} cannot be canceled", state=status
    )
