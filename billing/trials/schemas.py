"""A trial as the rest of the product reads it."""

from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Trial(BaseModel):
    """A row of `trials`; `credits` is what was granted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    account_id: UUID
    kind: str
    status: str
    credits: Decimal
    started_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None
