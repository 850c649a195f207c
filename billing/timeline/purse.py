"""The credits that will lapse, as the projection goes on: those there now and those to be granted.

And the one shape every projected matter has: its next step, and what follows from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from billing.core.agenda import Step
from billing.timeline.schemas import Coming, Lapsing


class Purse:
    """Credits with an end, earliest first when asked."""

    def __init__(self, lapsing: Iterable[Lapsing]) -> None:
        self._parts = list(lapsing)
        self.converted = False
        """Whether a plan was paid for: a trial of credits then ends with it."""

    def add(self, name: str, credits: Decimal, expires_at: datetime) -> None:
        """A grant to come, as if nothing of it were used."""
        key = f"{name} until {expires_at.isoformat()}"
        self._parts.append(
            Lapsing(name=name, credits=credits, expires_at=expires_at, grant_key=key)
        )

    def next_expiry(self) -> datetime | None:
        """When the first of them ends."""
        return min((part.expires_at for part in self._parts), default=None)

    def end(self, at: datetime) -> list[Lapsing]:
        """Those that have ended by `at`; they are gone afterwards."""
        ended = [part for part in self._parts if part.expires_at <= at]
        self._parts = [part for part in self._parts if part.expires_at > at]
        return sorted(ended, key=lambda part: part.expires_at)

    def take(self, grant_key: str) -> Decimal:
        """End one lot by itself; its credits, or nothing."""
        found = [part for part in self._parts if part.grant_key == grant_key]
        self._parts = [part for part in self._parts if part.grant_key != grant_key]
        return sum((part.credits for part in found), Decimal(0))


class Future(ABC):
    """One matter, moved on step by step as if all went well."""

    rank: int
    """Order of two matters due at one instant: that of the clock's walk."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.born: list[Future] = []
        """Matters that its last step has brought into being."""

    @abstractmethod
    def head(self) -> Step | None:
        """The step to come first."""

    @abstractmethod
    def follow(self, step: Step, at: datetime) -> list[Coming]:
        """Do the step in mind: what a person will see of it; the state moves on."""
