"""The failed steps of one run, each with its own next try, so that no other step waits for them.

A new run forgets them and begins their rounds anew. A timer of the workflow starts a try, never a
comparison of times: so a release may change the pauses, and recorded runs still replay. The tries
of a round are counted here, so another number of them needs a patch.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from billing.matters.agenda import Step
from workflows.policies import POLICIES


@dataclass(frozen=True, slots=True)
class _Failure:
    """The tries of a step, those of its present round, and the next one.

    A step whose round is over has no tries in the next one yet.
    """

    tries: int
    in_round: int
    again_at: datetime
    is_ready: bool = False


class FailedSteps:
    """The failed steps by key. The times are Temporal's: a test clock delays no try."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    def __bool__(self) -> bool:
        return bool(self._failures)

    def __contains__(self, key: str) -> bool:
        return key in self._failures

    def has_any(self, stem: str) -> bool:
        """True if a step whose key begins with `stem` has failed."""
        return any(key.startswith(stem) for key in self._failures)

    def tries(self, key: str) -> int:
        """Return how often a step has failed in this run."""
        known = self._failures.get(key)
        return known.tries if known else 0

    def add(self, key: str, now: datetime, *, is_final: bool) -> bool:
        """Note a failed try; return True if its round is over.

        After a failure that no repetition helps, a step is tried once more with newly read rows.
        """
        known = self._failures.get(key) or _Failure(0, 0, now)
        in_round = known.in_round + 1
        is_over = in_round >= POLICIES.round_tries or (is_final and in_round > 1)
        pause = POLICIES.halt_pause if is_over else POLICIES.pause_after(in_round)
        self._failures[key] = _Failure(known.tries + 1, 0 if is_over else in_round, now + pause)
        return is_over

    def keep(self, keys: Collection[str | None]) -> None:
        """Forget all other steps: they were done, or are no longer planned."""
        self._failures = {key: one for key, one in self._failures.items() if key in keys}

    def ready(self, plan: Iterable[Step]) -> list[Step]:
        """Return the planned steps without those that wait for their next try."""
        waiting = {key for key, one in self._failures.items() if not one.is_ready}
        return [step for step in plan if step.key not in waiting]

    def next_try(self) -> datetime | None:
        """Return when the first waiting step is to be tried; None if none waits."""
        first = self._first()
        return None if first is None else self._failures[first].again_at

    def release_first(self) -> None:
        """Have the first waiting step tried: its time has come."""
        first = self._first()
        if first is not None:
            self._failures[first] = replace(self._failures[first], is_ready=True)

    def has_ended_round(self) -> bool:
        """True if a step waits after the end of its round."""
        return any(not one.in_round and not one.is_ready for one in self._failures.values())

    def hurry(self) -> None:
        """Have all of them tried at once."""
        self._failures = {key: replace(one, is_ready=True) for key, one in self._failures.items()}

    def _first(self) -> str | None:
        waiting = (key for key, one in self._failures.items() if not one.is_ready)
        return min(waiting, key=lambda key: self._failures[key].again_at, default=None)
