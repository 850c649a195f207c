"""The objects that move money, as Stripe lists them: read as JSON, for the comparison with rows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from billing.core.currencies import chargeable, from_provider
from billing.money.disputes.rules import state_of
from billing.money.reconciliations.schemas import (
    AtStripe,
    MoneyPage,
    MoneyState,
    ObjectKind,
    Side,
)

Listed = Mapping[str, Any]
PATHS: Final[Mapping[ObjectKind, str]] = {
    "payment": "/v1/payment_intents",
    "refund": "/v1/refunds",
    "dispute": "/v1/disputes",
}
EXPANDED: Final[Mapping[ObjectKind, list[str]]] = {
    "payment": ["data.latest_charge.balance_transaction"],
    "refund": ["data.payment_intent", "data.charge", "data.failure_balance_transaction"],
    "dispute": ["data.payment_intent"],
}
"""The objects that each list includes: they tell an object's account and its time."""
REFUND_ENDS: Final[Mapping[str, Literal["succeeded", "failed"]]] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}


def is_withdrawn(dispute: Listed) -> bool:
    """True if the payer's bank has the money: withdrawals are negative, and may be in another
    currency than the dispute.
    """
    moved: int = sum(one["amount"] for one in dispute.get("balance_transactions") or ())
    return moved < 0


def returned(dispute: Listed) -> int:
    """Return the part of a dispute that was withdrawn and is back, in the provider's unit: the
    movements may be in another currency, so only their ratio counts.
    """
    moves = [one["amount"] for one in dispute.get("balance_transactions") or ()]
    taken = -min(moves, default=0)
    if taken <= 0:
        return 0
    back = min(taken, max(0, taken + sum(moves)))
    part: int = dispute["amount"] * back // taken
    return part


def page(kind: ObjectKind, body: Any) -> MoneyPage:
    """Return a page of Stripe's list."""
    return MoneyPage(
        objects=tuple(read(kind, one) for one in body["data"]), has_more=body["has_more"]
    )


def expanded_alone(kind: ObjectKind) -> list[str]:
    """Return the objects that an answer about a single one includes."""
    return [one.removeprefix("data.") for one in EXPANDED[kind]]


def read(kind: ObjectKind, one: Any) -> AtStripe:
    """Return one object of Stripe's list, or of an answer about it alone."""
    intent = one if kind == "payment" else _expanded(one, "payment_intent")
    charge = _expanded(one, "latest_charge" if kind == "payment" else "charge")
    metadata = intent.get("metadata") or {}
    currency = one["currency"].upper()
    paid = kind == "payment" and one["status"] == "succeeded"
    amount = one["amount_received"] if paid else one["amount"]
    state = _STATES[kind](one)
    # One in another currency than its payment's is not booked here, nor what is back of it.
    is_lost = state == "lost" and one["currency"] == intent.get("currency")
    back = returned(one) if is_lost else 0
    return AtStripe(
        object_id=one["id"],
        intent_id=intent.get("id"),
        account=metadata.get("account"),
        payment=metadata.get("payment"),
        customer=intent.get("customer"),
        side=Side(
            # In a currency that nobody can pay in here the object is of another product.
            # Each part is rounded as where it is booked.
            amount_minor=from_provider(amount, currency) - from_provider(back, currency)
            if chargeable(currency)
            else amount - back,
            currency=currency,
            state=state,
        ),
        created_at=_instant(one["created"]),
        changed_at=_instant(max(at["created"] for at in (one, *_moves(one, charge)))),
        is_returned=charge.get("refunded", False),
    )


def _moves(one: Listed, charge: Listed) -> list[Listed]:
    """Return what tells of a later change: a debit's money comes days after its charge."""
    found = (
        charge,
        _expanded(charge, "balance_transaction"),
        _expanded(one, "failure_balance_transaction"),
        *(one.get("balance_transactions") or ()),
    )
    return [move for move in found if move]


def _payment_state(intent: Listed) -> MoneyState:
    return "paid" if intent["status"] == "succeeded" else "unpaid"


def _refund_state(refund: Listed) -> MoneyState:
    return REFUND_ENDS.get(refund.get("status") or "", "under_way")


def _dispute_state(dispute: Listed) -> MoneyState:
    state = state_of(dispute["status"], is_withdrawn=is_withdrawn(dispute))
    # An inquiry is as undecided as an open dispute.
    return "open" if state == "inquiry" else state


_STATES: Final[Mapping[ObjectKind, Callable[[Listed], MoneyState]]] = {
    "payment": _payment_state,
    "refund": _refund_state,
    "dispute": _dispute_state,
}


def _expanded(one: Listed, name: str) -> Listed:
    """Return the expanded object; nothing of one that is not there or that is only an id."""
    found = one.get(name)
    return found if isinstance(found, dict) else {}


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
