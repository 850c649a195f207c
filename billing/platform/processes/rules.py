"""Health of the processes: which are missing or silent, or have a wrong clock. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from billing.platform.processes.schemas import (
    ACCOUNT,
    MODE,
    STRANGER,
    SWITCH,
    TAKEN,
    Deliveries,
    Failures,
    Pool,
    Process,
    ProcessKind,
)

BEAT: Final = timedelta(seconds=10)
SILENT: Final = timedelta(seconds=30)
"""Three heartbeats were missed: the process hangs, was killed, or cannot write."""
MISSED: Final = timedelta(minutes=10)
"""The time for which a silent process is reported: another host may have replaced it."""
FAILED_SHARE: Final = 0.1
"""Share of a route's answers above which failures are not isolated."""
QUIET: Final = timedelta(seconds=30)
"""A route with only good answers for this long after its last failure is healthy."""
CLOCKS_APART: Final = timedelta(seconds=2)
CLOCK_TOLERANCE: Final = timedelta(minutes=1)
"""The default of how far a process's clock may be from the database's while it writes."""
IDLES: Final[dict[ProcessKind, str]] = {"worker": "takes no work", "api": "changes nothing"}
"""The consequence of a clock that is further away."""
REFUSED_LATELY: Final = timedelta(hours=1)


def living(found: Iterable[Process], now: datetime) -> list[Process]:
    """Return the processes with a recent heartbeat."""
    return [one for one in found if now - one.seen_at < SILENT]


def alive(found: Sequence[Process], kind: str, now: datetime) -> list[Process]:
    """Return the living processes of a kind."""
    return [one for one in living(found, now) if one.kind == kind]


def silent(found: Sequence[Process], kind: str, now: datetime) -> list[Process]:
    """Return processes that recently stopped without leaving, and have no successor on the host."""
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
    """Return living processes whose clock differs from the database's."""
    return [one for one in living(found, now) if abs(one.clock_ahead) > CLOCKS_APART]


def strayed(process: Process) -> str:
    """Return a process, how far its clock is from the database's, and what follows, as text."""
    idles = f", and {IDLES[process.kind]}" if process.figures.has_wrong_clock else ""
    return f"{process.name} by {process.clock_ahead.total_seconds():+.1f} s{idles}"


def idle(found: Sequence[Process], kind: ProcessKind, now: datetime) -> list[Process]:
    """Return living processes of a kind that do nothing because of their clock."""
    return [one for one in alive(found, kind, now) if one.figures.has_wrong_clock]


def crowded(found: Sequence[Process], now: datetime) -> list[tuple[Process, str]]:
    """Return living processes with a full connection pool, and the pool's name."""
    return [
        (one, name)
        for one in living(found, now)
        for name, pool in one.figures.pools.items()
        if pool.size and pool.busy >= pool.size
    ]


def refused(found: Sequence[Process], now: datetime) -> list[tuple[Process, str, datetime]]:
    """Return living processes whose key a provider refuses: (process, provider, since)."""
    return [
        (one, provider, since)
        for one in living(found, now)
        for provider, since in sorted(one.figures.refusals.items())
    ]


def unknown(process: Process, provider: str) -> str:
    """Return what Stripe does not know under a process's key, and the account that this key names,
    as text; empty if it knows all that it was asked for.
    """
    own = process.figures
    if provider != "stripe" or own.unknown_object is None:
        return ""
    account, mode = own.agreed.get(ACCOUNT), own.agreed.get(MODE)
    its = f" It is of {account}, mode {mode}" if account else ""
    return f" (it does not know our {own.unknown_object}: is it another account's?{its})"


def bereft(found: Sequence[Process], now: datetime) -> list[Process]:
    """Return living processes that have committed what the database lacks."""
    return [one for one in living(found, now) if one.figures.lacks_commits]


def differing(found: Sequence[Process], now: datetime) -> dict[str, dict[str, list[Process]]]:
    """Return the settings in which living processes differ: the processes by their value."""
    values: dict[str, dict[str, list[Process]]] = {}
    for one in living(found, now):
        for name, value in one.figures.agreed.items():
            values.setdefault(name, {}).setdefault(value, []).append(one)
    return {name: by_value for name, by_value in sorted(values.items()) if len(by_value) > 1}


def switched_off(found: Sequence[Process], now: datetime) -> list[Process]:
    """Return living processes in which billing is switched off."""
    return [one for one in living(found, now) if one.figures.agreed.get(SWITCH) == "false"]


def wanted(found: Sequence[Process], now: datetime) -> tuple[int, int]:
    """Return the number of living processes, and of connections that their pools may open in
    Postgres: none behind a pooler.
    """
    running = living(found, now)
    sizes = [pool.size for one in running for pool in _opened(one).values()]
    return len(running), sum(sizes)


def wanted_of(found: Sequence[Process], now: datetime, pool: str) -> int:
    """Return the connections that all pools of this name may open in Postgres, in living
    processes.
    """
    opened = [_opened(one) for one in living(found, now)]
    return sum(pools[pool].size for pools in opened if pool in pools)


def _opened(process: Process) -> dict[str, Pool]:
    return {} if process.figures.behind_pooler else process.figures.pools


def refusing(found: Sequence[Process], now: datetime) -> list[tuple[Process, Deliveries]]:
    """Return living processes that lately refused a provider's delivery, and took none since."""
    return [
        (process, one)
        for process in living(found, now)
        for one in process.figures.deliveries
        if one.outcome not in (TAKEN, STRANGER)
        and now - one.last_at < REFUSED_LATELY
        and not any(
            other.outcome == TAKEN
            and other.provider == one.provider
            and other.last_at >= one.last_at
            for other in process.figures.deliveries
        )
    ]


def last_taken(found: Iterable[Process]) -> dict[str, datetime]:
    """Return the last delivery of each provider that any process took."""
    taken = [one for process in found for one in process.figures.deliveries if one.outcome == TAKEN]
    return {one.provider: one.last_at for one in sorted(taken, key=lambda one: one.last_at)}


def failing(found: Iterable[Process], now: datetime) -> list[Failures]:
    """Return routes of living processes with many failures, the worst first."""
    known: dict[str, Failures] = {}
    for process in living(found, now):
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
