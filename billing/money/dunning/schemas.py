"""Models of dunning cases."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from billing.catalog.plans.schemas import DunningPolicy
from billing.core.frozen import Frozen
from billing.matters.effects import Row
from billing.money.dunning.rules import Case


class DunningCase(Row):
    """A row of `dunning_cases`."""

    TABLE: ClassVar[str] = "dunning_cases"

    account_id: UUID
    invoice_id: UUID
    subscription_id: UUID | None = None
    status: str
    policy: dict[str, Any]
    zone: str
    day_zero_at: AwareDatetime
    last_slot: int
    last_slot_ran_at: AwareDatetime
    last_true_attempt_at: AwareDatetime
    extended_days: int = 0
    postponed_until: AwareDatetime | None = None
    paused_at: AwareDatetime | None = None
    is_paused_with_all: bool = False
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    close_reason: str | None = None

    @property
    def terms(self) -> DunningPolicy:
        """The policy of the time when the case opened."""
        return DunningPolicy.model_validate(self.policy)

    @property
    def agenda_case(self) -> Case:
        """The case as its agenda sees it."""
        return Case(
            status="paused" if self.status == "paused" else "open",
            policy=self.terms,
            zone=self.zone,
            day_zero_at=self.day_zero_at,
            last_slot=self.last_slot,
            last_slot_ran_at=self.last_slot_ran_at,
            last_true_attempt_at=self.last_true_attempt_at,
            extended_days=self.extended_days,
            postponed_until=self.postponed_until,
            pursued=self.day_zero_at > self.opened_at,
            ends_by_slots=True,
        )

    @property
    def is_open(self) -> bool:
        """True while recovery goes on, paused or not."""
        return self.status in ("open", "paused")


class CustomerPause(Frozen):
    """An operator's pause of all of one account's recovery, that to come included."""

    account_id: UUID
    reason: str
    paused_at: AwareDatetime
