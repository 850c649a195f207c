"""A model of credits in plain Python: the oracle for the SQL functions.

Written from docs/rules/credits.md and not from the functions: whole lists, no locks, no shortcuts.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

ZERO = Decimal(0)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """The verb answers this code and changes nothing."""


@dataclass
class Lot:
    key: str
    amount: Decimal
    scope: str | None
    priority: int
    is_paid: bool
    expires_at: datetime | None
    order: int
    remaining: Decimal = ZERO
    held: Decimal = ZERO
    claimed: Decimal = ZERO
    clawed: Decimal = ZERO
    lost: Decimal = ZERO
    expired: Decimal = ZERO

    @property
    def free(self) -> Decimal:
        return self.remaining - self.held

    def ended(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at

    def burn_rank(self) -> tuple[object, ...]:
        end = self.expires_at or NEVER
        return (self.scope is None, self.priority, end, self.is_paid, self.order)

    def ending_rank(self) -> tuple[object, ...]:
        return (self.is_paid, self.expires_at or NEVER, self.order)


@dataclass
class Hold:
    parts: list[tuple[Lot, Decimal]]
    expires_at: datetime
    status: str = "open"
    captured: Decimal = ZERO

    @property
    def amount(self) -> Decimal:
        return sum((amount for _, amount in self.parts), ZERO)


@dataclass
class Debit:
    """A debit that may be given back, once."""

    amount: Decimal
    parts: list[tuple[Lot, Decimal]]
    payments_before: int
    """So many debts had been paid by then."""


@dataclass
class Payment:
    """Credits that paid what was owed, without what voids gave back of them."""

    lot: Lot
    amount: Decimal


@dataclass
class Ledger:
    lots: dict[str, Lot] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    debits: dict[str, Debit] = field(default_factory=dict)
    clawbacks: dict[str, tuple[Lot, Decimal, Decimal, Decimal]] = field(default_factory=dict)
    """Those not won back yet: the lot, and what was taken, claimed and lost."""
    payments: list[Payment] = field(default_factory=list)
    """Those that paid debts, in this order."""
    debt: Decimal = ZERO
    overdraft: Decimal = ZERO
    used: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        return sum((lot.remaining for lot in self.lots.values()), ZERO)

    @property
    def held(self) -> Decimal:
        return sum((lot.held for lot in self.lots.values()), ZERO)

    def expire_due(self, at: datetime) -> None:
        """End holds and lots in the order of their times; a hold before a lot of the same time."""
        due: list[tuple[datetime, int, Hold | Lot]] = []
        due += [(h.expires_at, 0, h) for h in self.holds.values() if h.status == "open"]
        due += [(lot.expires_at, 1, lot) for lot in self.lots.values() if lot.expires_at]
        for when, _, thing in sorted(due, key=lambda entry: entry[:2]):
            if when > at:
                break
            if isinstance(thing, Hold):
                self._give_back(thing.parts, when)
                thing.status = "expired"
            else:
                self._expire(thing, thing.free)

    def grant(self, lot: Lot, at: datetime) -> None:
        self.expire_due(at)
        lot.remaining = lot.amount
        self.lots[lot.key] = lot
        self._pay_debt(lot, lot.amount)
        self.expire_due(at)

    def pick(
        self, amount: Decimal, scope: str | None, paid_only: bool, room: Decimal = ZERO
    ) -> list[tuple[Lot, Decimal]]:
        """Lots in burn order; what they do not cover must be within `room`."""
        parts = []
        left = amount
        for lot in sorted(self.lots.values(), key=Lot.burn_rank):
            usable = lot.scope in (None, scope) and (lot.is_paid or not paid_only)
            take = min(left, lot.free) if usable else ZERO
            if take:
                parts.append((lot, take))
                left -= take
        if left > room:
            raise Refused("INSUFFICIENT_CREDITS", amount - left + room)
        return parts

    def debit(
        self,
        key: str,
        amount: Decimal,
        scope: str | None,
        paid_only: bool,
        force: bool,
        at: datetime,
    ) -> None:
        self.expire_due(at)
        room = max(self.overdraft - self.debt, ZERO) if force else ZERO
        parts = self.pick(amount, scope, paid_only, room)
        for lot, part in parts:
            lot.remaining -= part
        self.debt += amount - sum((part for _, part in parts), ZERO)
        self.used += amount
        self.debits[key] = Debit(amount, parts, len(self.payments))

    def void(self, key: str, new: Lot, at: datetime) -> None:
        """Give a debit back: to its lots, and to those that paid since what it left owed; what is
        still owed of that is canceled.
        """
        self.expire_due(at)
        debit = self.debits.pop(key)
        back = list(debit.parts)
        owing = debit.amount - sum((part for _, part in back), ZERO)
        for payment in self.payments[debit.payments_before :]:
            part = min(owing, payment.amount)
            payment.amount -= part
            owing -= part
            back.append((payment.lot, part))
        if owing:
            new.amount = owing
            self.lots[new.key] = new
            assert owing <= self.debt
            self.debt -= owing
        for lot in sorted({one.key: one for one, _ in back}.values(), key=Lot.ending_rank):
            part = sum((part for one, part in back if one is lot), ZERO)
            lot.remaining += part
            claim = min(lot.lost, part)
            lot.lost -= claim
            lot.clawed += claim
            lot.remaining -= claim
            if lot.ended(at):
                self._expire(lot, part - claim)
            else:
                self._pay_debt(lot, part - claim)
        self.used -= debit.amount

    def take(self, amount: Decimal, scope: str | None, at: datetime) -> None:
        self.expire_due(at)
        for lot, part in self.pick(amount, scope, paid_only=False):
            lot.remaining -= part

    def hold(
        self,
        key: str,
        amount: Decimal,
        scope: str | None,
        paid_only: bool,
        expires_at: datetime,
        at: datetime,
    ) -> None:
        self.expire_due(at)
        parts = self.pick(amount, scope, paid_only)
        for lot, part in parts:
            lot.held += part
        self.holds[key] = Hold(parts, expires_at)

    def capture(self, key: str, amount: Decimal, at: datetime) -> None:
        self.expire_due(at)
        hold = self.holds[key]
        if hold.status == "captured" and hold.captured == amount:
            return
        if hold.status != "open":
            raise Refused("HOLD_RESOLVED")
        if amount > hold.amount:
            raise Refused("HOLD_EXCEEDED")
        left, rest = amount, []
        for lot, part in hold.parts:
            take = min(left, part)
            left -= take
            lot.held -= take
            lot.remaining -= take
            unmet = max(lot.claimed - lot.held, ZERO)
            lot.claimed -= unmet
            lot.lost += unmet
            rest.append((lot, part - take))
        self._give_back(rest, at)
        self.used += amount
        hold.status, hold.captured = "captured", amount

    def release(self, key: str, at: datetime) -> None:
        self.expire_due(at)
        hold = self.holds[key]
        if hold.status == "released":
            return
        if hold.status != "open":
            raise Refused("HOLD_RESOLVED")
        self._give_back(hold.parts, at)
        hold.status = "released"

    def clawback(
        self, grant_key: str, key: str, amount: Decimal, at: datetime
    ) -> tuple[Decimal, ...]:
        self.expire_due(at)
        lot = self.lots[grant_key]
        asked = min(amount, lot.amount - lot.clawed - lot.claimed - lot.lost)
        taken = min(asked, lot.free)
        pending = min(asked - taken, lot.held - lot.claimed)
        lot.remaining -= taken
        lot.clawed += taken
        lot.claimed += pending
        lot.lost += asked - taken - pending
        self.clawbacks[key] = lot, taken, pending, asked - taken - pending
        return self.clawbacks[key][1:]

    def win(self, key: str, until: datetime, at: datetime) -> Decimal:
        """Give back what a clawback took; first nothing is waited for or lost by it any more."""
        self.expire_due(at)
        lot, taken, pending, loss = self.clawbacks.pop(key)
        unclaimed = min(lot.claimed, pending)
        lot.claimed -= unclaimed
        unlost = min(lot.lost, loss + pending - unclaimed)
        lot.lost -= unlost
        returned = min(lot.clawed, taken + pending + loss - unclaimed - unlost)
        lot.clawed -= returned
        if returned and lot.expires_at:
            lot.expires_at = max(lot.expires_at, until)
        lot.remaining += returned
        self._pay_debt(lot, returned)
        return returned

    def expire_lot(self, key: str, at: datetime) -> tuple[Decimal, Decimal]:
        self.expire_due(at)
        lot = self.lots[key]
        if not lot.ended(at):
            lot.expires_at = at
            self._expire(lot, lot.free)
        return lot.expired, lot.held

    def _give_back(self, parts: list[tuple[Lot, Decimal]], at: datetime) -> None:
        for lot, part in parts:
            claim = min(lot.claimed, part)
            lot.held -= part
            lot.claimed -= claim
            lot.clawed += claim
            lot.remaining -= claim
            if lot.ended(at):
                self._expire(lot, part - claim)

    def _pay_debt(self, lot: Lot, most: Decimal) -> None:
        paid = min(self.debt, most)
        self.payments.append(Payment(lot, paid))
        self.debt -= paid
        lot.remaining -= paid

    def _expire(self, lot: Lot, amount: Decimal) -> None:
        lot.remaining -= amount
        lot.expired += amount
