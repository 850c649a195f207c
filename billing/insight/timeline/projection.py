"""The base of projected matters: each returns its next step and the entries that follow.

A waiting provider event is usually the echo of our own call: it is shown once it is handled.
"""

from abc import ABC, abstractmethod
from datetime import datetime

from billing.insight.timeline.schemas import ComingEntry
from billing.matters.agenda import Step


class Projection(ABC):
    """One matter, projected step by step as if all went well."""

    rank: int
    """The sequence of matters due at the same instant, as in the clock's walk."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.born: list[Projection] = []
        """Matters that the last step has created."""

    @abstractmethod
    def head(self) -> Step | None:
        """Return the next step."""

    @abstractmethod
    def follow(self, step: Step, at: datetime) -> list[ComingEntry]:
        """Do the step in memory; return the entries to show for it."""

    def plain(self, step: Step, at: datetime) -> ComingEntry:
        """Return the entry of a step that shows only its own text."""
        return ComingEntry(
            at=at, name=step.name, workflow_id=self.workflow_id, words=step.words, key=step.key
        )
