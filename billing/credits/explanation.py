"""Why an entry of the ledger took what it took: the lots in burn order, and what put each there.

The rule is told from the lots as they stood, so that anybody can follow it by hand (product.md
§15).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.money import round_minor, show_decimal
from billing.credits import store
from billing.credits.schemas import Fact, Transaction

Because = Literal["scope", "priority", "expiry", "free_before_paid", "age", "held", "only"]
MAX_LOTS: Final = 100
"""Lots looked at beside those that were used."""


class LotFacts(Fact):
    """A lot as far as the order of burning goes, and what the entry took of it or gave to it."""

    id: UUID
    kind: str
    scope: str | None
    priority: int
    is_paid: bool
    expires_at: AwareDatetime | None
    granted_seq: int
    created_at: AwareDatetime
    amount: Decimal | None
    """Signed like the entry; None: the lot was not touched."""
    bought_minor: int | None
    """What the pack that brought it cost, and how many credits it had."""
    currency: str | None
    bought_credits: Decimal | None

    @property
    def value_minor(self) -> int | None:
        """The part of the pack's price that `amount` is, in minor units; None for free credits."""
        if self.bought_minor is None or not self.bought_credits or self.amount is None:
            return None
        return round_minor(abs(self.amount) * self.bought_minor / self.bought_credits)

    def rank(self) -> tuple[Any, ...]:
        """Burn order: scoped, priority, earliest end, free before paid, oldest."""
        ends = (self.expires_at is None, self.expires_at or self.created_at)
        return (self.scope is None, self.priority, *ends, self.is_paid, self.granted_seq)


class Share(Fact):
    """One lot's part in an entry, and why it came at this place."""

    lot: LotFacts
    because: Because
    words: str


class Passed(Fact):
    """A lot that had credits and was not used."""

    lot: LotFacts
    words: str


class Explanation(Fact):
    """One entry, its lots in the order they were taken, and those that were passed over."""

    entry: Transaction
    scope: str | None
    paid_only: bool
    words: str
    shares: tuple[Share, ...]
    passed: tuple[Passed, ...]


_WORDS: Final[dict[str, str]] = {
    "grant": "credits arrived as one lot",
    "debit": "credits were spent, lot after lot in burn order",
    "capture": "what a hold had set aside was spent, in the order the hold took its lots",
    "lapse": "what was neither spent nor held of a lot ended with it",
    "debt": "a grant paid first what was owed",
    "clawback": "credits of a grant were taken back",
    "adjustment": "an operator took credits away, lot after lot in burn order",
}
# Entries that choose among all lots by the burn order; of the others, why it was this lot.
_ORDERED: Final = ("debit", "adjustment")
_BOUND: Final[dict[str, tuple[Because, str]]] = {
    "grant": ("only", "the credits arrived as this lot"),
    "capture": ("held", "a hold is paid from the lots it holds: this is one of them"),
    "lapse": ("only", "its end had come"),
    "debt": ("only", "the credits that had just arrived pay first what is owed"),
    "clawback": ("only", "its credits came with the grant that was taken back"),
}
# What the lots were at the time: those with something left, whatever became of them after. A lot
# only ever loses credits, so one with any now, or with a later entry, had some then.
_LOTS: Final = text(
    """
    SELECT l.id, l.kind, l.scope, l.priority, l.is_paid, l.expires_at, l.granted_seq, l.created_at,
           own.amount, p.amount_minor AS bought_minor, p.currency, p.credits AS bought_credits
    FROM credit_lots l
    LEFT JOIN credit_transaction_lots own ON own.lot_id = l.id AND own.transaction_id = :id
    LEFT JOIN purchases p
           ON p.account_id = l.account_id AND l.grant_key = public_id('pur', p.id) || '/grant'
    WHERE l.account_id = :account_id AND l.granted_seq <= :seq
      AND (own.lot_id IS NOT NULL OR (
          :ordered AND l.granted_seq < :seq AND (l.expires_at IS NULL OR l.expires_at > :at)
          AND (l.is_open OR EXISTS (
              SELECT FROM credit_transaction_lots o JOIN credit_transactions t
                  ON t.id = o.transaction_id
              WHERE o.lot_id = l.id AND t.seq > :seq))))
    ORDER BY own.lot_id IS NULL, l.granted_seq DESC
    LIMIT :limit
    """
)


async def explain(
    connection: AsyncConnection, account_id: UUID, transaction_id: UUID
) -> Explanation:
    """Which lots an entry took, in order, and why. Errors: NOT_FOUND."""
    entry = await store.transaction(connection, transaction_id)
    facts = {
        "id": entry.id, "account_id": account_id, "seq": entry.seq, "at": entry.at,
        "ordered": entry.kind in _ORDERED,
        "limit": MAX_LOTS + len(entry.lots),
    }  # fmt: skip
    rows = (await connection.execute(_LOTS, facts)).mappings()
    lots = sorted((LotFacts.model_validate(dict(row)) for row in rows), key=LotFacts.rank)
    scope, paid_only = entry.scope, entry.paid_only
    used, passed = (
        tell(lots, scope, paid_only=paid_only)
        if entry.kind in _ORDERED
        else (bound(entry, lots), ())
    )
    return Explanation(
        entry=entry,
        scope=scope,
        paid_only=paid_only,
        words=_words(entry),
        shares=used,
        passed=passed,
    )


def bound(entry: Transaction, lots: Sequence[LotFacts]) -> tuple[Share, ...]:
    """The lots of an entry that has no choice of lots, each with its one reason."""
    because, words = _BOUND[entry.kind]
    return tuple(Share(lot=lot, because=because, words=words) for lot in lots)


def tell(
    lots: Sequence[LotFacts], scope: str | None, *, paid_only: bool
) -> tuple[tuple[Share, ...], tuple[Passed, ...]]:
    """The lots used, each with its reason, and those passed over; `lots` are in burn order."""
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
    """The first rule of the burn order that puts `lot` before `other`."""
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
