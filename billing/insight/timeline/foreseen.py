"""The facts of an account that its matters share while they are projected in memory. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from billing.core import keys
from billing.core.money import ZERO
from billing.insight.timeline.schemas import Expiring
from billing.ledger.credits.schemas import Kept
from billing.matters.effects import Change, Effect, Rows
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.schemas import DECLINED, Attempt

_FIRST_ID: Final = 1 << 127


class ForeseenCredits:
    """Credits that expire: existing ones and those that will be granted."""

    def __init__(self, expiring: Iterable[Expiring], granted: Iterable[str]) -> None:
        self._parts = list(expiring)
        self._granted = set(granted)
        self.converted = False
        """True once a plan was paid for, which ends a trial of credits."""

    def arrive(self, lot: Mapping[str, Any]) -> bool:
        """Add a future grant, with the part that rolls over; False: granted before."""
        name, kept = f"{lot['kind']} credits", lot.get("kept")
        if kept is not None:
            rest = lot["amount"] - kept.amount
            is_new = self.grant(lot["key"], name, kept.amount, kept.until, kept)
            if is_new:
                self._end_without_room(kept, lot["expires_at"])
            if is_new and rest:
                self.grant(keys.not_kept(lot["key"]), name, rest, lot["expires_at"])
            return is_new
        return self.grant(lot["key"], name, lot["amount"], lot["expires_at"])

    def grant(
        self, key: str, name: str, credits: Decimal, expires_at: datetime, kept: Kept | None = None
    ) -> bool:
        """Add a future grant, assumed unused; False: the key was granted before."""
        if key in self._granted:
            return False
        self._granted.add(key)
        lot = Expiring(name=name, credits=credits, expires_at=expires_at, grant_key=key)
        if kept is not None:
            end = kept.cycle_end
            lot = lot.model_copy(update={"kept_from": end, "cycle_end": end, "cap": kept.cap})
        self._parts.append(lot)
        return True

    def roll_over(self, cycle: Mapping[str, Any]) -> None:
        """Move kept credits on with their cycle, as the ledger does (`credits.rollover`)."""
        before, start, end, begins = (cycle[one] for one in ("before", "start", "end", "begins"))
        until = cycle["until"] or end
        mine = [one for one in self._parts if _follows(one, before, start if begins else None)]
        others = [one for one in self._parts if one not in mine]
        live = list[Expiring]()
        cap = max((one.cap for one in mine), default=ZERO)
        for one in _first_to_roll(mine, before):
            moved = {"kept_from": end if cycle["until"] else None, "expires_at": until}
            if begins:
                left = min(one.credits, cap)
                if left < one.credits:
                    gone = {"credits": one.credits - left, "expires_at": start, "kept_from": None}
                    others.append(one.model_copy(update=gone))
                cap, moved = cap - left, moved | {"credits": left}
            elif one.cycle_end == before:
                moved["cycle_end"] = end
            if moved.get("credits", one.credits):
                live.append(one.model_copy(update=moved))
        self._parts = others + live[::-1]

    def _end_without_room(self, kept: Kept, end: datetime) -> None:
        """End credits that rolled over before with the cycle if others fill the cap."""
        mine = [one for one in self._parts if one.kept_from == kept.cycle_end]
        room = max(one.cap for one in mine)
        for one in _first_to_roll(mine, kept.cycle_end):
            if room <= 0:
                moved = {"kept_from": kept.cycle_start, "expires_at": end}
                self._parts[self._parts.index(one)] = one.model_copy(update=moved)
            room -= one.credits

    def next_expiry(self) -> datetime | None:
        """Return the earliest expiry."""
        return min((part.expires_at for part in self._parts), default=None)

    def end(self, at: datetime) -> list[Expiring]:
        """Remove and return the credits that have ended by `at`."""
        ended = [part for part in self._parts if part.expires_at <= at]
        self._parts = [part for part in self._parts if part.expires_at > at]
        return sorted(ended, key=lambda part: part.expires_at)

    def take(self, grant_key: str) -> Decimal:
        """End one lot; return its credits, or 0."""
        found = [part for part in self._parts if part.grant_key == grant_key]
        self._parts = [part for part in self._parts if part.grant_key != grant_key]
        return sum((part.credits for part in found), ZERO)


def _follows(lot: Expiring, before: datetime, start: datetime | None) -> bool:
    """Return True if credits follow a cycle, or roll over into the one that begins at `start`."""
    known = lot.kept_from
    if known is None or known > before:
        return False
    return known == before if start is None else start <= known < lot.expires_at


def _first_to_roll(lots: Iterable[Expiring], end: datetime) -> list[Expiring]:
    """Sort credits, oldest first, as they use the cap: those of the cycle that ends at `end`, then
    those of a higher cap, then newer ones.
    """
    newest = list(lots)[::-1]
    return sorted(newest, key=lambda one: (one.cycle_end == end, one.cap), reverse=True)


class ForeseenDeclines:
    """The number of declines of each card in the 30 days before any future instant."""

    def __init__(self, now: datetime) -> None:
        self._known: dict[UUID, list[datetime]] = {}
        self._now = now

    def begin(self, rows: Rows, declines: Mapping[UUID, int]) -> None:
        """Take in past declines; those without rows here count as if they were of today."""
        for card, number in declines.items():
            if card not in self._known:
                known = [
                    one.started_at
                    for one in rows.of(Attempt)
                    if one.payment_method_id == card
                    and one.status in DECLINED
                    and one.started_at >= self._now - ATTEMPT_WINDOW
                ]
                self._known[card] = known + [self._now] * (number - len(known))

    def follow(self, rows: Rows, effects: Iterable[Effect], at: datetime) -> None:
        """Count the tries that failed in these effects."""
        for effect in effects:
            if isinstance(effect, Change) and effect.row_type is Attempt:
                card = rows.get(Attempt, effect.row_id).payment_method_id
                if effect.fields.get("status") in DECLINED and card is not None:
                    self._known.setdefault(card, []).append(at)

    def at(self, at: datetime) -> dict[UUID, int]:
        """Return the number of each card's declines at that instant."""
        since = at - ATTEMPT_WINDOW
        return {card: sum(one >= since for one in known) for card, known in self._known.items()}


class ForeseenFacts:
    """The projected facts that the matters of one account share."""

    def __init__(
        self, now: datetime, expiring: Iterable[Expiring] = (), granted: Iterable[str] = ()
    ) -> None:
        self.credits = ForeseenCredits(expiring, granted)
        self.declines = ForeseenDeclines(now)
        self._ids: Iterator[int] = count(_FIRST_ID)

    def new_id(self) -> UUID:
        """Return the id of a projected row; repeated projections give the same ids."""
        return UUID(int=next(self._ids))
