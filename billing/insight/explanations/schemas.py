"""An explained entry of the ledger: its lots in the order they were taken, each with its reason."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.core.money import round_minor
from billing.ledger.credits.schemas import Transaction
from billing.metering.usage.schemas import BillingRecord

Because = Literal["scope", "priority", "expiry", "free_before_paid", "age", "held", "only"]


class LotFacts(Frozen):
    """The fields of a lot that decide the burn order, and the amount that the entry moved."""

    id: UUID
    kind: str
    scope: str | None
    priority: int
    is_paid: bool
    expires_at: AwareDatetime | None
    """Its end as of the entry; it may have moved since."""
    granted_seq: int
    created_at: AwareDatetime
    amount: Decimal | None
    """Signed like the entry; None: the lot was not touched."""
    bought_minor: int | None
    """Price of the pack that granted the lot, in minor units; `bought_credits` are its credits."""
    currency: str | None
    bought_credits: Decimal | None

    @property
    def value_minor(self) -> int | None:
        """Return `amount`'s part of the pack's price in minor units; None for free credits."""
        if self.bought_minor is None or not self.bought_credits or self.amount is None:
            return None
        return round_minor(abs(self.amount) * self.bought_minor / self.bought_credits)

    def rank(self) -> tuple[Any, ...]:
        """Return the sort key of SQL's credit_burn_order; a test compares the two."""
        ends = self.expires_at or datetime.max.replace(tzinfo=UTC)
        return (self.scope is None, self.priority, ends, self.is_paid, self.granted_seq)


class Share(Frozen):
    """One lot's part in an entry, and why it came at this place."""

    lot: LotFacts
    because: Because
    words: str


class Passed(Frozen):
    """A lot that had credits and was not used."""

    lot: LotFacts
    words: str


class PaidUse(Frozen):
    """One use behind an entry, with the arithmetic of its price."""

    record: BillingRecord
    words: str


class Explanation(Frozen):
    """One entry, its lots in the order they were taken, the lots passed over, and at most
    `MAX_USES` of the uses that it paid; `uses_total` counts them all.
    """

    entry: Transaction
    scope: str | None
    paid_only: bool
    words: str
    shares: tuple[Share, ...]
    passed: tuple[Passed, ...]
    uses: tuple[PaidUse, ...] = ()
    uses_total: int = 0
