"""Scripts: the outcomes of the next charges, refunds or amounts of one card or one customer.

One outcome is consumed per attempt; afterwards the last one stays, or the card behaves
as usual again.
"""

from dataclasses import dataclass
from typing import Literal

from sandbox import plans, problems
from sandbox.declines import DECLINES, REFUSED, Decline
from sandbox.shapes import Json
from sandbox.store import Store

OutcomeKind = Literal["succeed", "authenticate", "process", "decline"]
WORDS: dict[str, OutcomeKind] = {
    "succeed": "succeed",
    "authentication_required": "authenticate",
    "processing": "process",
}
REFUND_WORDS = ("succeeded", "pending", "failed", "requires_action", "refused")
AMOUNT_WORDS = ("amount_too_small", "amount_too_large")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one charge attempt."""

    kind: OutcomeKind
    decline: Decline | None = None


def known(word: str, purpose: str) -> bool:
    """True if a script for this purpose may use the word."""
    if purpose == "charge":
        return word in WORDS or word in DECLINES or word in REFUSED
    return word in (REFUND_WORDS if purpose == "refund" else AMOUNT_WORDS)


def outcome(word: str) -> Outcome:
    """Return the outcome named by a word of a script or a test card. Errors: 400 for REFUSED."""
    if word in REFUSED:
        raise problems.invalid(REFUSED[word], "payment_method", word)
    kind = WORDS.get(word)
    return Outcome(kind) if kind else Outcome("decline", DECLINES[word])


def write(store: Store, target: str, purpose: str, outcomes: list[str], then: str) -> int:
    """Replace the script of a card or customer for a purpose (charge, refund, amount)."""
    for order in plans.all_of(store, "script"):
        if (order.body["target"], order.body["purpose"]) == (target, purpose):
            plans.remove(store, "script", order.id)
    body: Json = {"target": target, "purpose": purpose, "outcomes": outcomes, "then": then}
    return plans.add(store, "script", body) if outcomes else 0


def next_word(store: Store, purpose: str, targets: list[str | None]) -> str | None:
    """Consume the next word written for the first target that has a script left."""
    orders = [o for o in plans.all_of(store, "script") if o.body["purpose"] == purpose]
    for target in targets:
        for order in orders:
            if order.body["target"] != target:
                continue
            words = order.body["outcomes"]
            spent = order.seen >= len(words)
            if spent and order.body["then"] == "normal":
                continue
            plans.count(store, order, hit=not spent)
            return str(words[min(order.seen, len(words) - 1)])
    return None
