"""A parking: a time in which nothing moves money."""

from uuid import UUID

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class Parking(Frozen):
    """One parking; without an end it is in force."""

    id: UUID
    reason: str
    data_until: AwareDatetime | None
    """The latest activity in the database when it was parked."""
    parked_at: AwareDatetime
    ended_at: AwareDatetime | None
