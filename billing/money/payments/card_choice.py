"""Choice of the stored card to charge: the chosen one or the backup card. Pure."""

from uuid import UUID

from billing.matters.effects import Rows
from billing.money.payment_methods.rules import can_pay
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed


def fit_card(rows: Rows, own_card: UUID | None, currency: str) -> Method | None:
    """Return the card to charge in a currency: the backup if the first cannot pay in it."""
    first = payments.charged_card(rows, own_card)
    if first is None or can_pay(first, currency):
        return first
    return _backup_of(rows, first, currency) or first


def collecting_card(rows: Rows, owed: Owed, own_card: UUID | None) -> Method | None:
    """Return the card to charge for an invoice.

    After a hard decline the default takes the place of the subscription's own card, and the backup
    that of the default, unless they were refused, too.
    """
    currency = owed.invoice.currency
    first = fit_card(rows, own_card, currency)
    if first is None:
        return None
    others = (fit_card(rows, None, currency), _backup_of(rows, first, currency))
    fit = (one for one in (first, *others) if one is not None and can_pay(one, currency))
    return next((one for one in fit if not owed.is_refused_for_good(one)), first)


def _backup_of(rows: Rows, first: Method, currency: str) -> Method | None:
    """Return a backup card other than `first` that can pay in this currency."""
    others = (one for one in payments.cards(rows) if one.is_backup and one.id != first.id)
    return next((one for one in others if can_pay(one, currency)), None)
