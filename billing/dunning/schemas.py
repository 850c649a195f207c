"""A dunning case as rows read."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.dunning.rules import Policy


class DunningCase(BaseModel):
    """A row of `dunning_cases`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    account_id: UUID
    invoice_id: UUID
    subscription_id: UUID | None
    status: str
    policy: dict[str, Any]
    zone: str
    day_zero_at: AwareDatetime
    last_slot: int
    last_slot_ran_at: AwareDatetime
    last_true_attempt_at: AwareDatetime
    extended_days: int
    paused_at: AwareDatetime | None
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None
    close_reason: str | None

    @property
    def terms(self) -> Policy:
        """The policy as it stood when the case opened."""
        return Policy.model_validate(self.policy)

    @property
    def is_open(self) -> bool:
        """Whether recovery still goes on, paused or not."""
        return self.status in ("open", "paused")
