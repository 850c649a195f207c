"""Judgement of the processes: who is missing, silent, or has a clock of its own. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from billing.platform.processes.schemas import Deliveries, Failures, Process

BEAT: Final = timedelta(seconds=10)
SILENT: Final = timedelta(seconds=30)
"""Three signs of life were missed: the process hangs, was killed, or cannot write."""
MISSED: Final = timedelta(minutes=10)
"""For so long a silent process is missed: it may have been replaced on another host."""
FAILED_SHARE: Final = 0.1
"""Of a route's answers; more is no bad luck of single requests."""
QUIET: Final = timedelta(seconds=30)
"""A route that answers well for so long after its last failure is well."""
CLOCKS_APART: Final = timedelta(seconds=2)


def alive(found: Sequence[Process], kind: str, now: datetime) -> list[Process]:
    """Processes of a kind that showed themselves lately."""
    return [one for one in found if one.kind == kind and now - one.seen_at < SILENT]


def silent(found: Sequence[Process], kind: str, now: datetime) -> list[Process]:
    """Processes that stopped of late without leaving, and that none on their host replaces."""
    return [
        one
        for one in found
        if one.kind == kind
        and SILENT <= now - one.seen_at < MISSED
        and not any(
            later.kind == kind and later.host == one.host and later.started_at > one.seen_at
            for later in found
        )
    ]


def astray(found: Sequence[Process], now: datetime) -> list[Process]:
    """Living processes whose clock is not the database's."""
    return [
        one for one in found if now - one.seen_at < SILENT and abs(one.clock_ahead) > CLOCKS_APART
    ]


def crowded(found: Sequence[Process], now: datetime) -> list[tuple[Process, str]]:
    """Living processes with a pool whose connections are all in use, and its name."""
    return [
        (one, name)
        for one in found
        if now - one.seen_at < SILENT
        for name, pool in one.figures.pools.items()
        if pool.size and pool.busy >= pool.size
    ]


def refused(found: Sequence[Process], now: datetime) -> list[tuple[Process, str, datetime]]:
    """Living processes whose key a provider refuses: which provider, and since when."""
    return [
        (one, provider, since)
        for one in found
        if now - one.seen_at < SILENT
        for provider, since in sorted(one.figures.refusals.items())
    ]


def wanted(found: Sequence[Process], now: datetime) -> tuple[int, int]:
    """Number of living processes, and of connections that their pools may take."""
    living = [one for one in found if now - one.seen_at < SILENT]
    sizes = [pool.size for one in living for pool in one.figures.pools.values()]
    return len(living), sum(sizes)


def wanted_of(found: Sequence[Process], now: datetime, pool: str) -> int:
    """Connections that the pools of this name may take in all living processes."""
    living = [one.figures.pools for one in found if now - one.seen_at < SILENT]
    return sum(pools[pool].size for pools in living if pool in pools)


def deliveries(found: Iterable[Process]) -> dict[tuple[str, str], Deliveries]:
    """Events by provider and outcome, of all processes together."""
    sums: dict[tuple[str, str], Deliveries] = {}
    for told in (told for process in found for told in process.figures.deliveries):
        key = (told.provider, told.outcome)
        known = sums.get(key)
        sums[key] = (
            told
            if known is None
            else told.model_copy(
                update={
                    "count": known.count + told.count,
                    "last_at": max(known.last_at, told.last_at),
                }
            )
        )
    return sums


def failing(found: Iterable[Process], now: datetime) -> list[Failures]:
    """Routes of the living processes that fail many who ask, the worst first."""
    known: dict[str, Failures] = {}
    for process in found:
        if now - process.seen_at < SILENT:
            for one in process.figures.failures:
                known[one.route] = _together(known[one.route], one) if one.route in known else one
    many = [one for one in known.values() if _fails_many(one, now)]
    return sorted(many, key=lambda one: (-one.failed, one.route))


def _fails_many(one: Failures, now: datetime) -> bool:
    is_well = (
        one.good_at is not None and one.good_at > one.failed_at and now - one.failed_at > QUIET
    )
    return not is_well and one.failed > FAILED_SHARE * one.answered


def _together(one: Failures, other: Failures) -> Failures:
    good = [at for at in (one.good_at, other.good_at) if at is not None]
    return Failures(
        route=one.route,
        answered=one.answered + other.answered,
        codes=dict(Counter(one.codes) + Counter(other.codes)),
        failed_at=max(one.failed_at, other.failed_at),
        good_at=max(good, default=None),
    )
