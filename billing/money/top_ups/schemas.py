"""Top-ups and their settings; credits are exact, money is in ISO minor units."""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.money.top_ups.rules import TopUpStatus


class WantedSettings(Frozen):
    """The setting of an account: buy `pack` when less than `threshold` is available."""

    is_enabled: bool
    threshold: Decimal
    pack: str
    payment_method_id: UUID | None = None
    monthly_cap_minor: int | None = None


class TopUpSettings(WantedSettings):
    """The stored setting; `stopped_at` is set after three failures in a row."""

    account_id: UUID
    failures: int
    stopped_at: AwareDatetime | None
    updated_at: AwareDatetime

    @property
    def active(self) -> bool:
        """True if packs are bought automatically."""
        return self.is_enabled and self.stopped_at is None


class TopUp(Frozen):
    """One time that credits were wanted, and the result."""

    id: UUID
    account_id: UUID
    status: TopUpStatus
    pack: str
    threshold: Decimal
    available: Decimal
    purchase_id: UUID | None
    amount_minor: int | None
    currency: str | None
    reason: str | None
    wanted_at: AwareDatetime
    decided_at: AwareDatetime | None
