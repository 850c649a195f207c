"""A process of the product, and its figures."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from billing.core.frozen import Frozen

ProcessKind = Literal["api", "worker"]
TAKEN: Final = "taken"
"""The outcome of a delivery that was stored."""
STRANGER: Final = "stranger"
"""The outcome of one that anybody could have sent. Any other outcome is the refusal's code."""
SWITCH: Final = "BILLING_ENABLED"
"""The setting that switches billing on, `true` or `false`."""
MODE: Final = "the mode of Stripe's key"
ACCOUNT: Final = "the account of Stripe's key"
FAILURES_SECONDS: Final = 300
"""The time for which a process reports a 5xx answer."""


class Pool(Frozen):
    """Connections of one role: in use, and the maximum."""

    busy: int
    size: int


class Deliveries(Frozen):
    """Events of one provider with one outcome since the process began."""

    provider: str
    outcome: str
    count: int
    last_at: datetime


class Failures(Frozen):
    """Answers of one route in the last minutes, some of them 5xx."""

    route: str
    answered: int
    # The number of failures by error code.
    codes: dict[str, int]
    # By the process's own clock: the last failure, and the last good answer after a failure.
    failed_at: datetime
    good_at: datetime | None = None

    @property
    def failed(self) -> int:
        """The number of failures."""
        return sum(self.codes.values())


class Figures(Frozen):
    """Figures that only the process itself knows."""

    pools: dict[str, Pool] = Field(default_factory=dict)
    # True if its connections are those of a pooler, which opens its own to Postgres.
    behind_pooler: bool = False
    deliveries: tuple[Deliveries, ...] = ()
    # Providers that refuse the process's key, and since when by its own clock.
    refusals: dict[str, datetime] = Field(default_factory=dict)
    # An object of ours that Stripe does not know under its key.
    unknown_object: str | None = None
    failures: tuple[Failures, ...] = ()
    # True while its clock is farther from the database's than BILLING_CLOCK_TOLERANCE_SECONDS.
    has_wrong_clock: bool = False
    # True once the database lacked commits that the process had made.
    lacks_commits: bool = False
    # Its values of the settings in which all processes must agree.
    agreed: dict[str, str] = Field(default_factory=dict)


class Process(Frozen):
    """One process; its times are in the database's clock."""

    id: UUID
    kind: ProcessKind
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    clock_ahead: timedelta
    figures: Figures = Field(default_factory=Figures)

    @property
    def name(self) -> str:
        """The name shown to operators."""
        return f"{self.kind} {self.pid} on {self.host}"
