"""Sessions of Postgres that others wait for."""

from datetime import timedelta

from billing.core.frozen import Frozen


class Blocker(Frozen):
    """A session that holds what others need; what its role may not be asked is None."""

    pid: int
    role: str | None
    program: str | None
    client: str | None
    state: str | None
    resting: timedelta | None
    """For so long it is in this state."""
    waiting: int
    """Sessions that wait for it."""
    longest: timedelta | None
    """The longest wait for it."""
    place: str | None
    """A table that they wait for, or that it has locked."""
