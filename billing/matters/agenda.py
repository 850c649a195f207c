"""The agenda of a matter: its steps with their due times, and the rules for late ones.

Every matter's plan is a pure function of its rows that returns steps; workflows wait for the
first, activities check against it, and the timeline shows them all.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, SerializerFunctionWrapHandler
from pydantic import model_serializer as serializer

from billing.core.frozen import Frozen


class Lean(Frozen):
    """The base of models sent through Temporal: histories omit fields at their defaults."""

    @serializer(mode="wrap")
    def _without_defaults(self, encode: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        encoded: dict[str, Any] = encode(self)
        return {
            name: value
            for name, value in encoded.items()
            if fields[name].is_required() or getattr(self, name) != fields[name].default
        }


class Step(Lean):
    """One thing to do: `key` names the business fact and is done at most once.

    The step's subjects are fields of their own, as external ids: no step gets them from its key.
    Parts of keys are read elsewhere, so none changes its form (docs/glossary.md#our-words).
    """

    name: str
    due: AwareDatetime
    key: str
    words: str = ""
    until: AwareDatetime | None = None
    """The step is not begun from then on: what follows it on the agenda is done instead."""
    invoice: str | None = None
    payment: str | None = None
    method: str | None = None
    """The card to charge; None: the one that its payment or its account names."""
    slot: int | None = None
    """The dunning slot that a charge uses up; None: no slot."""
    asked: bool = False
    """A person requested it and is present."""
    setup: str | None = None
    """The card that is being saved."""
    portal: str | None = None
    """The requested visit to the provider's portal."""
    top_up: str | None = None
    use: str | None = None
    """The use that a card should pay."""
    event: str | None = None
    """The provider's event to handle."""

    @property
    def is_planned(self) -> bool:
        """True if an agenda made the step; a step read from the register is only a name."""
        return bool(self.words)


def head(steps: Iterable[Step], now: datetime | None = None) -> Step | None:
    """Return the step to do first, of those not too late at `now` or when they are due.

    Of steps due at the same time, the one listed first comes first.
    """
    return min(
        (one for one in steps if one.until is None or max(one.due, now or one.due) < one.until),
        key=lambda step: step.due,
        default=None,
    )


CLOCK_SKEW: Final = timedelta(seconds=2)
"""The server's clock started the step; a worker's clock a little behind must not refuse it."""
EARLY: Final = f"interval '{CLOCK_SKEW.total_seconds()} seconds'"
"""The same in SQL: 0.1.0 dated what such a worker wrote before the period that it began."""


def now_after(last: datetime, now: datetime) -> datetime:
    """Return `now`, or `last` if that only seems to be still to come, because clocks differ."""
    return last if now < last <= now + CLOCK_SKEW else now


def due_head(plan: Iterable[Step], step: Step, now: datetime) -> Step | None:
    """Return `step` with its facts from the plan, if it is due and the head, events aside.

    An event that comes in while a step runs (often the echo of that step's own call) waits for
    its turn; else the step's result would be lost.
    """
    first = head((one for one in plan if one.key == step.key or one.event is None), now)
    if first is None or first.key != step.key or first.due > now + CLOCK_SKEW:
        return None
    return first


class State(Lean):
    """The state of one matter, read from its rows: its agenda and its words follow from it."""

    clock_at: AwareDatetime | None = None
    """The account's frozen test clock; None while the account is on real time."""
    status: str
    """For the search attribute BillingStatus: one word."""
    words: str = ""
    """The customer's state as a sentence for the Temporal UI."""
    plan: str | None = None
    """The plan that is sold, by its key, for the search attribute Plan."""
    rests: bool | None = None
    """The register has the matter as resting; None: of a kind that never rests, or read by an
    earlier release. Its run goes by that alone, because its own clock may say otherwise.
    """
