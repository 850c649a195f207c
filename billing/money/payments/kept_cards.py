"""Keeping the card that a payer has just paid with. Pure.

`payment_methods.service` saves cards by the same rules, on the database: what changes here changes
there.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing.matters.effects import Do, WakeOpen, Watch, Work
from billing.matters.kinds import COLLECTORS
from billing.money.payment_methods.rules import (
    NEVER_CHOSEN,
    CardDetails,
    barred_since,
    card_given,
    card_updated,
    is_reissued,
    named,
    of_card,
    replaced,
)
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments

ANOTHER_CARD: Final = "another_card"
"""The verb that lets another default card be tried on unpaid uses."""


def keep_card(
    w: Work[Any], account_id: UUID, card: CardDetails, *, make_default: bool, by_link: bool = False
) -> None:
    """Keep the metadata of the card that has just paid; the first one becomes the default.

    `by_link`: its payer was shown one invoice, so nothing else is tried with it for that.
    """
    chosen_at = NEVER_CHOSEN if by_link else w.facts.at
    known = named(w.rows.of(Method), card.stripe_payment_method_id)
    if known is not None and known.status != "active":
        return  # a card that was detached can never be used again
    same = of_card(w.rows.of(Method), card)
    if known is None and same is not None:
        known, is_new = _replace(w, same, card, max(same.chosen_at, chosen_at)), True
    elif known is None:
        known, is_new = _add_card(w, account_id, card, chosen_at), False
        make_default = make_default or payments.default_card(w.rows) is None
    else:
        is_new = known.is_default and is_reissued(known, card)
        known = _refresh(w, known, card_updated(known, w.rows.of(Method), card, w.facts.at))
    if make_default and not known.is_default:
        _make_default(w, known, max(known.chosen_at, chosen_at))
        is_new = True
    if is_new and not by_link:
        _try(w, account_id)


def _add_card(w: Work[Any], account_id: UUID, card: CardDetails, chosen_at: datetime) -> Method:
    added = w.add(
        Method(
            id=w.facts.new_id(),
            account_id=account_id,
            created_at=w.facts.at,
            barred_at=barred_since(w.rows.of(Method), card),
            **card_given(card, chosen_at),
        )
    )
    payments.announce_card(w, added, "added")
    w.do(Watch(account_id))
    return added


def _refresh(w: Work[Any], method: Method, fields: dict[str, Any]) -> Method:
    if not fields:
        return method
    renewed = w.change(method, **fields)
    payments.announce_card(w, renewed, "updated")
    return renewed


def _replace(w: Work[Any], method: Method, card: CardDetails, chosen_at: datetime) -> Method:
    """Update a known card that was given again; the account's matter detaches the old one."""
    before = replaced(method, w.facts.new_id(), w.facts.at)
    renewed = w.change(method, **card_given(card, chosen_at))
    w.add(before)
    w.do(Watch(method.account_id, due=w.facts.at))
    payments.announce_card(w, renewed, "updated")
    return renewed


def _make_default(w: Work[Any], method: Method, chosen_at: datetime) -> None:
    """Make this method the default."""
    for other in w.rows.of(Method):
        if other.is_default and other.id != method.id:
            w.change(other, is_default=False)
    if method.is_backup:
        method = w.change(method, is_backup=False)
        payments.announce_card(w, method, "backup_ended")
    payments.announce_card(w, w.change(method, is_default=True, chosen_at=chosen_at), "chosen")


def _try(w: Work[Any], account_id: UUID) -> None:
    """Have overdue invoices and unpaid uses tried with the default at once."""
    w.do(Do(ANOTHER_CARD, {"account_id": account_id}))
    w.do(WakeOpen(account_id, COLLECTORS))
