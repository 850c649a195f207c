"""Sessions of Postgres that others wait for, or may have to."""

from datetime import timedelta
from typing import Literal

from billing.core.frozen import Frozen


class Blocker(Frozen):
    """A session that blocks others; fields that our role may not read are None."""

    pid: int
    role: str | None
    program: str | None
    client: str | None
    state: str | None
    resting: timedelta | None
    """Time in this state."""
    waiting: int
    """Number of sessions that wait for this one."""
    longest: timedelta | None
    """The longest wait for this session."""
    place: str | None
    """A table that the others wait for, or that this session has locked."""
    holds: Literal["table", "rows", "reads"] | None = None
    """The locks of an idle transaction: a table, some rows, or only what it has read."""
