"""A process of the product, and its figures."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from billing.core.frozen import Frozen

Kind = Literal["api", "worker"]
TAKEN: Final = "taken"
"""The outcome of a delivery that was stored."""
STRANGER: Final = "stranger"
"""That of one that anybody can send. Any other is the code of the refusal."""
FAILURES_SECONDS: Final = 300
"""For so long a process tells of an answer that was an error of ours."""


class Pool(Frozen):
    """Connections of one role: in use now, and how many there may be."""

    busy: int
    size: int


class Deliveries(Frozen):
    """Events of one provider with one outcome since the process began."""

    provider: str
    outcome: str
    count: int
    last_at: datetime


class Failures(Frozen):
    """Answers of one route in the last minutes, where some were errors of ours."""

    route: str
    answered: int
    # How many failed, by the code that was answered.
    codes: dict[str, int]
    # By the process's own clock: the last that failed, and the last good one after a failure.
    failed_at: datetime
    good_at: datetime | None = None

    @property
    def failed(self) -> int:
        """Those that failed."""
        return sum(self.codes.values())


class Figures(Frozen):
    """Figures that only the process itself knows."""

    pools: dict[str, Pool] = Field(default_factory=dict)
    deliveries: tuple[Deliveries, ...] = ()
    # Providers that refuse the process's key, by name, and since when by its own clock.
    refusals: dict[str, datetime] = Field(default_factory=dict)
    failures: tuple[Failures, ...] = ()


class Process(Frozen):
    """One process; its times are the database's."""

    id: UUID
    kind: Kind
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    clock_ahead: timedelta
    figures: Figures = Field(default_factory=Figures)

    @property
    def name(self) -> str:
        """As an operator finds it."""
        return f"{self.kind} {self.pid} on {self.host}"
