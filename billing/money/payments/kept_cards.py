"""Keeping the card that a payer has just paid with. Pure."""

from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from billing.matters.effects import Do, Operation, WakeOpen, Watch, Work
from billing.matters.kinds import RECOVERING
from billing.money.payment_methods.rules import CardDetails, keeping, replaced
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments


class CardToTry(TypedDict):
    """The account whose default card is another one."""

    account_id: UUID


ANOTHER_CARD: Final = Operation[CardToTry]("another_card")
"""The verb that lets another default card be tried on unpaid uses."""


def keep_card(
    w: Work[Any], account_id: UUID, card: CardDetails, *, make_default: bool, by_link: bool = False
) -> None:
    """Keep the metadata of the card that has just paid, by the rule of `keeping`."""
    methods = w.rows.of(Method)
    kept = keeping(methods, card, w.facts.at, make_default=make_default, by_link=by_link)
    if kept.method is None:
        method = _add(w, account_id, kept.fields)
    elif kept.is_given_again:
        method = _replace(w, kept.method, kept.fields)
    else:
        method = _refresh(w, kept.method, kept.fields)
    if kept.default_since is not None:
        method = _make_default(w, method, kept.default_since)
    if kept.is_new:
        w.do(WakeOpen(account_id, RECOVERING))
    if kept.is_new and method.is_default:
        w.do(Do(ANOTHER_CARD, CardToTry(account_id=account_id)))


def _add(w: Work[Any], account_id: UUID, fields: dict[str, Any]) -> Method:
    fields = {"id": w.facts.new_id(), "account_id": account_id, "created_at": w.facts.at, **fields}
    added = w.add(Method(**fields))
    payments.announce_card(w, added, "added")
    w.do(Watch(account_id))
    return added


def _replace(w: Work[Any], method: Method, fields: dict[str, Any]) -> Method:
    """Update a known card that was given again; the account's matter detaches the old one."""
    before = replaced(method, w.facts.new_id(), w.facts.at)
    renewed = _refresh(w, method, fields)
    w.add(before)
    w.do(Watch(method.account_id, due=w.facts.at))
    return renewed


def _refresh(w: Work[Any], method: Method, fields: dict[str, Any]) -> Method:
    if not fields:
        return method
    renewed = w.change(method, **fields)
    payments.announce_card(w, renewed, "updated")
    return renewed


def _make_default(w: Work[Any], method: Method, chosen_at: datetime) -> Method:
    for other in w.rows.of(Method):
        if other.is_default and other.id != method.id:
            w.change(other, is_default=False)
    if method.is_backup:
        method = w.change(method, is_backup=False)
        payments.announce_card(w, method, "backup_ended")
    chosen = w.change(method, is_default=True, chosen_at=chosen_at)
    payments.announce_card(w, chosen, "chosen")
    return chosen
