"""Counts recent 5xx answers of this process; its heartbeat reports them."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Final

from billing.core.clock import real_now
from billing.platform.parking.service import CODE as PARKED
from billing.platform.processes.schemas import FAILURES_SECONDS, Failures

SLOT_SECONDS: Final = 15
SLOTS: Final = FAILURES_SECONDS // SLOT_SECONDS
MOST: Final = 20
"""The maximum number of routes reported: those that fail most."""
_OWN: Final = ("/health", "/health/detailed")
"""Routes whose answers do not go to customers."""


@dataclass
class _Slot:
    answered: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Counter[str]] = field(default_factory=dict)


class FailureCount:
    """The answers of this process by route, and the codes of the failed ones."""

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._failed_at: dict[str, datetime] = {}
        self._good_at: dict[str, datetime] = {}

    def note(self, method: str, route: str, status: int, code: str | None) -> None:
        """Count an answer, except a refusal because billing is parked, which is intended."""
        if route in _OWN or code == PARKED:
            return
        name = f"{method} {route}"
        slot = self._slot()
        slot.answered[name] += 1
        if status >= 500:
            slot.failed.setdefault(name, Counter())[code or str(status)] += 1
            self._failed_at[name] = real_now()
        elif name in self._failed_at:
            self._good_at[name] = real_now()

    def counts(self) -> tuple[Failures, ...]:
        """Return the routes with failures, the worst first."""
        self._forget()
        answered: Counter[str] = Counter()
        codes: dict[str, Counter[str]] = {}
        for slot in self._slots.values():
            answered.update(slot.answered)
            for name, found in slot.failed.items():
                codes.setdefault(name, Counter()).update(found)
        worst = sorted(codes, key=lambda name: -codes[name].total())[:MOST]
        return tuple(
            Failures(
                route=name,
                answered=answered[name],
                codes=dict(codes[name]),
                failed_at=self._failed_at[name],
                good_at=self._good_at.get(name),
            )
            for name in worst
        )

    def _slot(self) -> _Slot:
        now = int(monotonic() / SLOT_SECONDS)
        if now not in self._slots:
            self._forget()
            self._slots[now] = _Slot()
        return self._slots[now]

    def _forget(self) -> None:
        oldest = int(monotonic() / SLOT_SECONDS) - SLOTS
        self._slots = {at: slot for at, slot in self._slots.items() if at > oldest}
        failed = {name for slot in self._slots.values() for name in slot.failed}
        for known in (self._failed_at, self._good_at):
            for name in known.keys() - failed:
                del known[name]


def code_in(body: bytes) -> str | None:
    """Return the code of a problem; None where the body is something else."""
    try:
        code = json.loads(body)["code"]
    except (ValueError, TypeError, KeyError):
        return None
    return code if isinstance(code, str) else None
