"""An answer of the search."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Found(Frozen):
    """One thing that has the name that was searched for."""

    kind: str
    id: str
    account_id: UUID | None
    words: str
    status: str | None
    at: AwareDatetime
    """Its beginning, in the account's time."""
    matched: str
    """The field that has the name."""
