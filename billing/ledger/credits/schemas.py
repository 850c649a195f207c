"""Results of the credit operations: frozen facts about balances, grants, debits and holds.

Amounts are exact decimals of credits; instants are UTC.
"""

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Balance(Frozen):
    """An account's credits at one instant, less everything expired by then."""

    account_id: UUID
    balance: Decimal
    held: Decimal
    debt: Decimal
    overdraft: Decimal
    used: Decimal
    """Credits ever used, debits and captures together."""
    currency: str | None
    """Fixed by the first payment."""
    period_id: UUID | None
    seq: int
    next_expiry: AwareDatetime | None
    """Earliest instant at which a lot or hold may expire; may be early, never late."""

    @property
    def available(self) -> Decimal:
        """The credits that a general debit or hold may still take, scoped lots included."""
        return self.balance - self.held


class CreditOverview(Frozen):
    """The balance with related sums, at the account's own time."""

    balance: Decimal
    held: Decimal
    debt: Decimal
    overdraft: Decimal
    paid: Decimal
    """The part of `balance` that was paid for."""
    used_this_month: Decimal
    """Credits used since the month began in the account's zone."""
    plan_monthly_credits: Decimal
    expiring: Decimal
    """Free credits of lots that end soon, and when the first of them does."""
    expiring_at: AwareDatetime | None
    currency: str | None
    as_of: AwareDatetime


class SplitPart(Frozen):
    """The part of a transaction on one lot; signed like the transaction."""

    lot_id: UUID
    amount: Decimal


class Transaction(Frozen):
    """One entry of the ledger."""

    id: UUID
    seq: int
    kind: str
    amount: Decimal
    debt: Decimal
    """Change of what the account owes: more by a forced debit, less by the grant that pays it."""
    balance_after: Decimal
    scope: str | None
    paid_only: bool
    reason: str
    subject: str | None
    detail: dict[str, Any]
    at: AwareDatetime
    lots: tuple[SplitPart, ...] = ()


class Grant(Frozen):
    """Credits that arrived together as one lot."""

    lot_id: UUID
    transaction_id: UUID
    amount: Decimal
    balance: Decimal
    """The balance right after this grant and the debt it paid."""
    debt_paid: Decimal
    replayed: bool
    """True when the key had been granted before: nothing changed now."""


class Debit(Frozen):
    """Credits spent, split over lots in burn order."""

    transaction_id: UUID
    amount: Decimal
    balance: Decimal
    debt: Decimal
    """The part that no lot covered and the account now owes; only by force."""
    replayed: bool
    top_up: bool
    """The account now wants credits bought: notify its matter after the commit."""


class Hold(Frozen):
    """Credits set aside from named lots until captured, released or expired."""

    hold_id: UUID
    amount: Decimal
    expires_at: AwareDatetime
    status: str
    """`open` when it was just made; for a replay, the current status."""
    captured: Decimal
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None
    replayed: bool
    top_up: bool
    """The account now wants credits bought: notify its matter after the commit."""


class Capture(Frozen):
    """A hold turned into a debit; what was not captured went back to its lots."""

    hold_id: UUID
    transaction_id: UUID
    captured: Decimal
    released: Decimal
    balance: Decimal
    replayed: bool


class Release(Frozen):
    """A released hold."""

    hold_id: UUID
    released: Decimal
    replayed: bool


class StoredHold(Frozen):
    """A hold as it stands at one instant: past its end it reads as expired."""

    id: UUID
    status: str
    amount: Decimal
    captured: Decimal
    scope: str | None
    paid_only: bool
    reason: str
    subject: str | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    resolved_at: AwareDatetime | None


class Adjustment(Frozen):
    """An operator's correction; `amount` is negative where credits were taken."""

    adjustment_id: UUID
    account_id: UUID
    transaction_id: UUID
    amount: Decimal
    debt_paid: Decimal
    balance: Decimal
    reason: str


class Taken(Frozen):
    """Credits taken away by an operator."""

    transaction_id: UUID
    amount: Decimal
    balance: Decimal
    replayed: bool


class Expired(Frozen):
    """The lots and holds that one expiry run ended."""

    credits: Decimal
    holds: int
    next_expiry: AwareDatetime | None


class LotExpiry(Frozen):
    """The end of one lot: all that has expired of it so far, and what open holds still keep."""

    expired: Decimal
    held: Decimal


class Clawback(Frozen):
    """Credits clawed back: from the lot now, from its held part later, or lost as already spent."""

    transaction_id: UUID
    taken: Decimal
    pending: Decimal
    """Held at the moment; taken if the hold is released, lost if it is captured."""
    loss: Decimal
    replayed: bool


class Returned(Frozen):
    """Credits returned from a clawback; none if none had been taken."""

    transaction_id: UUID | None
    returned: Decimal
    expires_at: AwareDatetime | None


class Kept(Frozen):
    """The part of a cycle's credits that rolls over into the next one."""

    amount: Decimal
    cap: Decimal
    """The plan's maximum of one cycle's credits that rolls over."""
    cycle_start: AwareDatetime
    cycle_end: AwareDatetime
    """The end of the cycle, which may come later than that of its other credits."""
    until: AwareDatetime
    """The end of the next cycle, as far as it is known."""
