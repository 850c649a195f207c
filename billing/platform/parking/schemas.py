"""A time in which nothing moves money."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Parking(Frozen):
    """One parking; it goes on while it has no end."""

    id: UUID
    reason: str
    data_until: AwareDatetime | None
    """The last that the database told of when it was parked."""
    parked_at: AwareDatetime
    ended_at: AwareDatetime | None
