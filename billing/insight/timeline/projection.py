"""The base of projected matters: each names its next step and the entries that follow.

A provider's event that waits is mostly the echo of our own call: it is shown once it happened.
"""

from abc import ABC, abstractmethod
from datetime import datetime

from billing.insight.timeline.schemas import ComingEntry
from billing.matters.agenda import Step


class Projection(ABC):
    """One matter, moved on step by step as if all went well."""

    rank: int
    """Order of two matters due at one instant: that of the clock's walk."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.born: list[Projection] = []
        """Matters that its last step has brought into being."""

    @abstractmethod
    def head(self) -> Step | None:
        """The step to come first."""

    @abstractmethod
    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do the step in mind: what a person will see of it; the state moves on."""

    def plain(self, step: Step, at: datetime) -> ComingEntry:
        """A step that has nothing to show but its own words."""
        return ComingEntry(
            at=at, name=step.name, workflow_id=self.workflow_id, words=step.words, key=step.key
        )
