"""Figures of what waits, and the signs that they give."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from billing.core.frozen import Frozen
from billing.insight.integrity.schemas import Run
from billing.platform.parking.schemas import Parking
from billing.platform.processes.schemas import Process

State = Literal["well", "ill", "unknown"]


class Backlog(Frozen):
    """Rows that wait for something."""

    name: str
    label: str = ""
    """The kind of event, where events are counted."""
    count: int
    """Up to MOST; that many means: or more."""
    oldest: timedelta | None
    examples: tuple[str, ...]
    """Up to five of the oldest, in words."""


class Charges(Frozen):
    """Tries of a card that began within the last hour, with one outcome."""

    outcome: str
    decline_class: str
    count: int


class Figures(Frozen):
    """The rows, the processes and the schema, as one look at the database shows them."""

    at: datetime
    """The database's time."""
    backlogs: tuple[Backlog, ...]
    charges: tuple[Charges, ...]
    late: tuple[int, ...]
    """Steps of the last ten minutes, done or due, in the classes that LATE_SECONDS bound; or ()."""
    uncounted: tuple[str, ...] = ()
    """Backlogs, `charges` or `late` that could not be counted; there is nothing of them here."""
    processes: tuple[Process, ...]
    books: Run | None
    """The latest look at the books; None: there was none yet."""
    connections: int | None = None
    """As many as Postgres gives; None: not known."""
    taken: dict[str, int] = Field(default_factory=dict)
    """Of these, as many as are open, by role, most first."""
    role_limits: dict[str, int] = Field(default_factory=dict)
    """As many as Postgres gives the role of a pool, where somebody set a limit."""
    looked: dict[str, datetime] = Field(default_factory=dict)
    """Up to when each job that repeats has looked."""
    parking: Parking | None = None
    """The parking that goes on."""
    takes_writes: bool = True
    """False of a standby, and where transactions only read by default."""

    @property
    def free(self) -> int | None:
        """Connections that Postgres still gives to roles like ours; None: not known."""
        if self.connections is None:
            return None
        return max(0, self.connections - sum(self.taken.values()))

    def backlog(self, name: str) -> Backlog:
        """The backlog of this name; of events all kinds together."""
        found = [one for one in self.backlogs if one.name == name]
        return Backlog(
            name=name,
            count=sum(one.count for one in found),
            oldest=max((one.oldest for one in found if one.oldest is not None), default=None),
            examples=tuple(said for one in found for said in one.examples),
        )


class Sign(Frozen):
    """One thing that was looked at, in words; `page` is its section in docs/runbook.md."""

    name: str
    state: State
    words: str
    page: str
