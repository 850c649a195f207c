"""Migration requests, as the rest of the product reads them."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen

Environment = Literal["sandbox", "production"]
Status = Literal["queued", "handled"]


class MigrationRequest(Frozen):
    """One migration request [P12]; `comment` says what the operator did."""

    id: UUID
    account_id: UUID
    environment: Environment
    notes: str
    requested_by: str
    created_at: AwareDatetime
    handled_at: AwareDatetime | None = None
    handled_by: str | None = None
    comment: str | None = None

    @property
    def status(self) -> Status:
        """Return `handled` once an operator has acted on it."""
        return "queued" if self.handled_at is None else "handled"
