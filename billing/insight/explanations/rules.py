"""Explanation of a ledger entry: the lots in burn order, and the reason for each.

The reasons use the lots as they were at the time, so that anybody can check them by hand
(docs/rules/proof.md).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing.core.money import show_decimal
from billing.insight.explanations.schemas import (
    Because,
    Explanation,
    LotFacts,
    PaidUse,
    Passed,
    Share,
)
from billing.ledger.credits.schemas import Transaction
from billing.metering.usage.schemas import BillingRecord

_WORDS: Final[dict[str, str]] = {
    "grant": "credits arrived as one lot",
    "debit": "credits were spent, lot after lot in burn order",
    "capture": "what a hold had set aside was spent, in the order the hold took its lots",
    "expire": "what was neither spent nor held of a lot ended with it",
    "debt": "a grant paid first what was owed",
    "clawback": "credits of a grant were taken back",
    "void": "a use was taken back: its credits went back to the lots that paid for it",
    "adjustment": "an operator took credits away, lot after lot in burn order",
}
# Entries that choose among all lots by the burn order; the others have one fixed reason.
ORDERED: Final = ("debit", "adjustment")
_BOUND: Final[dict[str, tuple[Because, str]]] = {
    "grant": ("only", "the credits arrived as this lot"),
    "capture": ("held", "a hold is paid from the lots it holds: this is one of them"),
    "expire": ("only", "its end had come"),
    "debt": ("only", "the credits that had just arrived pay first what is owed"),
    "void": ("only", "it had paid the use that was taken back, or what that use left owed"),
    "clawback": ("only", "its credits came with the grant that was taken back"),
}

AVERAGE_DECIMALS: Final = 12
"""Decimals of the unit price of a use priced by tiers, which is their average."""


def explain(
    entry: Transaction,
    found: Sequence[LotFacts],
    uses: Sequence[BillingRecord] = (),
    total: int = 0,
) -> Explanation:
    """Return the lots that the entry took, in order and with reasons, and the uses it paid."""
    lots = sorted(found, key=LotFacts.rank)
    used, passed = (
        lot_choices(lots, entry.scope, paid_only=entry.paid_only)
        if entry.kind in ORDERED
        else (bound(entry, lots), ())
    )
    return Explanation(
        entry=entry,
        scope=entry.scope,
        paid_only=entry.paid_only,
        words=_words(entry),
        shares=used,
        passed=passed,
        uses=tuple(PaidUse(record=use, words=price(use)) for use in uses),
        uses_total=total,
    )


def price(use: BillingRecord) -> str:
    """Describe the arithmetic of a use's price: units, included units, and the rest's price."""
    sign = -1 if use.voids else 1
    units, included = use.charged_units * sign, use.included_units * sign
    total, unit = use.total_amount * sign, use.unit_price
    words = f"{show_decimal(units)} x {show_decimal(unit)} = {show_decimal(total)}"
    if units and units * unit != total and unit == round(total / units, AVERAGE_DECIMALS):
        words = (
            f"{show_decimal(units)} units cost {show_decimal(total)} by the terms of their price"
        )
    if included:
        words = f"{show_decimal(included)} included in the plan; {words}"
    return f"taken back: {words}" if use.voids else words


def bound(entry: Transaction, lots: Sequence[LotFacts]) -> tuple[Share, ...]:
    """Return the lots of an entry that has no choice of lots, each with its fixed reason."""
    because, words = _BOUND[entry.kind]
    return tuple(Share(lot=lot, because=because, words=words) for lot in lots)


def lot_choices(
    lots: Sequence[LotFacts], scope: str | None, *, paid_only: bool
) -> tuple[tuple[Share, ...], tuple[Passed, ...]]:
    """Return the lots used, with reasons, and those passed over; `lots` are in burn order."""
    usable = [lot for lot in lots if lot.scope in (None, scope) and (lot.is_paid or not paid_only)]
    usable += [lot for lot in lots if lot.amount is not None and lot not in usable]
    usable.sort(key=LotFacts.rank)
    used = [place for place, lot in enumerate(usable) if lot.amount is not None]
    last = max(used, default=-1)
    shares = tuple(_share(usable[place], usable[place + 1 :]) for place in used)
    passed = [Passed(lot=lot, words=_barred(lot, scope)) for lot in lots if lot not in usable]
    passed += [
        Passed(lot=lot, words="all of it was held, or spent, at the time")
        for lot in usable[:last]
        if lot.amount is None
    ]
    passed += [Passed(lot=lot, words="its turn comes later") for lot in usable[last + 1 :] if used]
    return shares, tuple(passed)


def _share(lot: LotFacts, later: Sequence[LotFacts]) -> Share:
    because, words = compare(lot, later[0]) if later else ("only", "no other lot could be used")
    return Share(lot=lot, because=because, words=words)


def compare(lot: LotFacts, other: LotFacts) -> tuple[Because, str]:
    """Return the first rule of the burn order that puts `lot` before `other`."""
    if (lot.scope is None) != (other.scope is None):
        return "scope", f"it may be spent on {lot.scope} only, so it goes before general credits"
    if lot.priority != other.priority:
        return "priority", f"its priority {lot.priority} goes before {other.priority}"
    if lot.expires_at != other.expires_at:
        return "expiry", f"it ends {_end(lot.expires_at)}, the next one {_end(other.expires_at)}"
    if lot.is_paid != other.is_paid:
        return "free_before_paid", "free credits go before paid ones"
    return "age", f"it is older: granted by entry {lot.granted_seq}, not {other.granted_seq}"


def _barred(lot: LotFacts, scope: str | None) -> str:
    if lot.scope not in (None, scope):
        return f"it may be spent on {lot.scope} only"
    return "only credits that were paid for could be spent"


def _end(at: datetime | None) -> str:
    return f"on {at:%Y-%m-%d %H:%M} UTC" if at else "never"


def _words(entry: Transaction) -> str:
    words = _WORDS[entry.kind]
    if entry.kind != "debit" or not entry.debt:
        return words
    owed = show_decimal(entry.debt)
    if not entry.lots:
        return f"no credits could be spent; all {owed} are owed now"
    return f"{words}; {owed} more than could be spent are owed now"
