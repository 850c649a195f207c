"""The stored card that is charged for what is owed, and the one that stands in for it. Pure."""

from uuid import UUID

from billing.matters.effects import Rows
from billing.money.payment_methods.rules import can_pay
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed


def fit_card(rows: Rows, own_card: UUID | None, currency: str) -> Method | None:
    """The card charged in a currency: the backup where the first one cannot pay in it."""
    first = payments.charged_card(rows, own_card)
    if first is None or can_pay(first, currency):
        return first
    return _backup_of(rows, first, currency) or first


def collecting_card(rows: Rows, owed: Owed, own_card: UUID | None) -> Method | None:
    """The card charged for an invoice: after its hard decline the backup, unless that had one."""
    currency = owed.invoice.currency
    first = fit_card(rows, own_card, currency)
    if first is None or not owed.is_refused_for_good(first.id):
        return first
    backup = _backup_of(rows, first, currency)
    return first if backup is None or owed.is_refused_for_good(backup.id) else backup


def _backup_of(rows: Rows, first: Method, currency: str) -> Method | None:
    """The other card that pays in this currency where the first one does not."""
    others = (one for one in payments.cards(rows) if one.is_backup and one.id != first.id)
    return next((one for one in others if can_pay(one, currency)), None)
