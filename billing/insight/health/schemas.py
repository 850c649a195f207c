"""Figures about backlogs and processes, and the health signs derived from them."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from billing.core.frozen import Frozen
from billing.insight.integrity.schemas import Run
from billing.platform.parking.schemas import Parking
from billing.platform.processes.schemas import Process

SignState = Literal["healthy", "unhealthy", "unknown"]


class Backlog(Frozen):
    """Rows that wait for something."""

    name: str
    label: str = ""
    """The event type, if events are counted."""
    count: int
    """At most MOST, which means that many or more."""
    oldest: timedelta | None
    examples: tuple[str, ...]
    """Up to five of the oldest, in words."""


class Charges(Frozen):
    """Card tries of one outcome that began within the last hour."""

    outcome: str
    decline_class: str
    count: int


class Figures(Frozen):
    """Figures about rows, processes and connections, read from the database at one time."""

    at: datetime
    """The database's time."""
    backlogs: tuple[Backlog, ...]
    charges: tuple[Charges, ...]
    late: tuple[int, ...]
    """Steps of the last ten minutes, done or due, in the classes that LATE_SECONDS bound; or ()."""
    uncounted: tuple[str, ...] = ()
    """Backlogs, `charges` or `late` that could not be counted and are missing here."""
    processes: tuple[Process, ...]
    books: Run | None
    """The latest hourly audit; None: there was none yet."""
    connections: int | None = None
    """Connections that Postgres allows; None: not known."""
    taken: dict[str, int] = Field(default_factory=dict)
    """Open connections by role, most first."""
    role_limits: dict[str, int] = Field(default_factory=dict)
    """The connection limit of each pool's role, if one is set."""
    looked: dict[str, datetime] = Field(default_factory=dict)
    """The time up to which each scheduled job has covered its data."""
    parking: Parking | None = None
    """The current parking, if billing is parked."""
    takes_writes: bool = True
    """False on a standby, and if transactions are read-only by default."""
    has_room: bool = True
    """False while the disk of Postgres is full."""

    @property
    def free(self) -> int | None:
        """Return the connections still free for roles like ours; None: not known."""
        if self.connections is None:
            return None
        return max(0, self.connections - sum(self.taken.values()))

    def backlog(self, name: str) -> Backlog:
        """Return the backlog of this name; events of all types are added up."""
        found = [one for one in self.backlogs if one.name == name]
        return Backlog(
            name=name,
            count=sum(one.count for one in found),
            oldest=max((one.oldest for one in found if one.oldest is not None), default=None),
            examples=tuple(said for one in found for said in one.examples),
        )


class Sign(Frozen):
    """One health check's result as text; `page` is its section in docs/runbook.md."""

    name: str
    state: SignState
    words: str
    page: str
