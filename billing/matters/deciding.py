"""The rules of one kind of matter, and a step of it carried out in memory. Pure.

The executor, the timeline and the random lives share them, so that planning is defined once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from billing.matters.agenda import State, Step, due_head, now_after
from billing.matters.effects import Effect, Facts, Rows, Work

S = TypeVar("S", bound=State)
F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, slots=True)
class Course(Generic[F]):
    """The result of a step, with all its provider calls."""

    rows: Rows
    """The rows after the step."""
    facts: F
    """The facts of its last decision."""
    step: Step
    """The step with its facts, as it was planned."""
    effects: tuple[Effect, ...]
    calls: tuple[Any, ...]
    """The calls that were made to the provider."""
    result: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules(Generic[S, F]):
    """The pure functions of one kind of matter."""

    view: Callable[[Rows, F], S]
    agenda: Callable[[S], list[Step]]
    transition: Callable[[Work[F], Step], None]
    begun: Callable[[Rows, F, Step], bool] = lambda *_: False
    """True if a step's work at the provider is not recorded yet."""

    def plan(self, rows: Rows, facts: F) -> list[Step]:
        """Return all open steps."""
        return self.agenda(self.view(rows, facts))

    def planned(self, rows: Rows, facts: F, step: Step) -> Step | None:
        """Return the step with its facts if it is the due head, or was begun and has its answer.

        With the answer it stays due as it was before its call: one that was begun may be planned
        for another time.
        """
        found = due_head(self.plan(rows, facts), step, facts.at)
        if facts.answer is not None and found is not None:
            found = found.model_copy(update={"due": step.due})
        if found is None and facts.answer is not None and self.begun(rows, facts, step):
            return step
        return found

    def decide(self, rows: Rows, facts: F, step: Step) -> tuple[Step, Work[F]] | None:
        """Decide a step; return it as planned, and its work. None: it is not due.

        A worker whose clock is slightly behind decides at the time at which the step is due: what
        it writes for a new period is never dated before that period.
        """
        planned = self.planned(rows, facts, step)
        if planned is None:
            return None
        due = max(step.due, planned.due)  # what was begun may be planned for an earlier time
        work = Work(rows, replace(facts, at=now_after(due, facts.at)))
        self.transition(work, planned)
        return planned, work

    def carry_out(
        self,
        rows: Rows,
        step: Step,
        facts_of: Callable[[Rows, Any], F],
        answer: Callable[[Any], Any],
    ) -> Course[F]:
        """Do a step over a copy of the rows; `answer` stands in for the provider."""
        rows, effects, calls, said = rows.copy(), list[Effect](), list[Any](), None
        first: Step | None = None
        while True:
            decided = self.decide(rows, facts_of(rows, said), step)
            if decided is None:
                raise LookupError(f"{step.key} is not due")
            planned, work = decided
            first = first or planned
            effects += work.effects
            if work.call is None:
                return Course(rows, work.facts, first, tuple(effects), tuple(calls), work.result)
            calls.append(work.call)
            said = answer(work.call)
