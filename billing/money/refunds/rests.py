"""Refunds of what is paid and not used, at an end that asks for it: at once, and of money that a
payment under way brings afterwards. Pure.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from billing.core import ids, keys
from billing.matters.effects import Facts, Work
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments.schemas import LIVE, Payment
from billing.money.refunds.transitions import return_balance

NOT_USED: Final = "time not used"
"""The reason of such a refund, and of the note that credits the time."""


def promise(w: Work[Facts], ended: Mapping[str, Any]) -> None:
    """Note the end on each payment under way. `ended` are the fields that the events of its
    subscription have; whoever collects the payment later does not read that.

    A transfer that is reported has no card to refund.
    """
    for one in w.rows.of(Payment):
        if (one.status in LIVE or one.is_unbooked) and one.flow != "manual":
            w.change(one, rest_refund=dict(ended))


def give(w: Work[InvoiceFacts], payment: Payment, subscription_id: UUID, most_minor: int) -> int:
    """Refund money on the money balance over the payment that brought it, once per subscription;
    return the sum.
    """
    key = keys.end_refund(subscription_id, payment.id)
    return return_balance(w, payment, key=key, most_minor=most_minor, reason=NOT_USED)


def give_surplus(w: Work[InvoiceFacts], payment: Payment, surplus_minor: int) -> int:
    """Refund what a payment has brought beyond what was owed, if its subscription ended with a
    refund meanwhile; return the sum.
    """
    ended = payment.rest_refund
    if ended is None or surplus_minor <= 0:
        return 0
    subscription_id = ids.decode(ids.SUBSCRIPTION, ended["subscription_id"])
    refunded = give(w, payment, subscription_id, surplus_minor)
    announce(w, payment.account_id, ended, surplus_minor, refunded, payment.currency)
    return refunded


def announce(
    w: Work[Facts],
    account_id: UUID,
    ended: Mapping[str, Any],
    credited_minor: int,
    refunded_minor: int,
    currency: str,
) -> None:
    """Write one audit row and one `evt.billing.subscription.rest_refunded`."""
    facts = {
        **ended,
        "credited_cents": credited_minor,
        "refunded_cents": refunded_minor,
        "balance_cents": credited_minor - refunded_minor,
        "currency": currency,
    }
    w.announce(account_id, "subscription.rest_refunded", ended["subscription_id"], facts)
