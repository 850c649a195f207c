"""The result of a search."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Found(Frozen):
    """One object with the name that was searched for."""

    kind: str
    id: str
    account_id: UUID | None
    words: str
    status: str | None
    at: AwareDatetime
    """The object's creation or start, in the account's time."""
    matched: str
    """The field that has the name."""
