"""A trial as the rest of the product reads it."""

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from billing.matters.effects import Row


class Trial(Row):
    """A row of `trials`; `credits` is what was granted."""

    TABLE: ClassVar[str] = "trials"

    account_id: UUID
    kind: str
    status: str
    credits: Decimal
    started_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None = None
