"""A limit agreed with one account, in place of its plan's."""

from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billing.catalog.schemas import Limit

LIMIT_ID: Final = "lim"


class LimitOverride(BaseModel):
    """What an account has of one meter per allowance cycle, whatever its plan says [B10]."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    account_id: UUID
    limit: Limit
    effective_from: AwareDatetime
    effective_to: AwareDatetime | None
