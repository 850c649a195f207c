"""Batches as real customers send them: events that come again, an account out of credits, quotas,
names.

A process that met a repeated event checks for more, so repeats go to an API process of their own:
batches without repeats are measured in a process that never saw one.
"""

import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.ground import Ground, open_twin, run_script
from benchmarks.harness import ROUNDS, Report
from benchmarks.loads import PAID, ROWS, Loads, event

BATCHES: Final = 9
REPEATS: Final = ROWS // 100
Ways = dict[str, Callable[[], Awaitable[float]]]
_COLUMNS: Final = (
    "product_id", "usage_amount", "user_id", "organization_id", "session_id", "request_id",
    "usage_details",
)  # fmt: skip


async def measure(ground: Ground, report: Report) -> None:
    """Measure each batch ÷ a plain one, or ÷ COPY of the same rows."""
    found: dict[str, list[float]] = {}
    async with open_twin(ground) as twin:
        mixed = Mixed(Loads(ground, ground.small), Loads(ground, twin))
        with psycopg.connect(ground.small.url, autocommit=True) as connection:
            run_script(connection, "subscribers")
            ways = mixed.ways(connection)
            await mixed.warm()
            for _ in range(ROUNDS):
                taken: dict[str, list[float]] = {}
                for _ in range(BATCHES):
                    for name, way in ways.items():
                        taken.setdefault(name, []).append(await way())
                rates = {name: statistics.median(values) for name, values in taken.items()}
                shown = ", ".join(f"{name} {value:.0f}/s" for name, value in rates.items())
                report.console.print(f"  rows: {shown}")
                for name, value in rates.items():
                    found.setdefault(name, []).append(value)
    for name, over, under, bar, stretch in (
        ("one_duplicate_vs_none", "one duplicate", "no duplicate", 0.85, 0.95),
        ("one_odd_account_vs_none", "one odd account", "no odd account", 0.85, 0.95),
        ("quoted_many_vs_none", "quotas", "no odd account", 0.7, 0.8),
        ("real_many_vs_copy", "real", "copy", 0.07, 0.12),
    ):
        pairs = zip(found[over], found[under], strict=True)
        report.add(name, [one / other for one, other in pairs], "ratio", bar, stretch)


class Mixed:
    """Accounts 2 to 1001 are subscribers, account 1002 has no credits left (subscribers.sql); the
    last thousand have quotas (accounts.sql).
    """

    def __init__(self, plain: Loads, repeating: Loads) -> None:
        self._plain, self._repeating = plain, repeating
        accounts = plain.accounts
        self._subscribers, self._broke = accounts[:ROWS], accounts[ROWS]
        self._others, self._quoted = accounts[ROWS + 1 :], plain.quoted
        self._sent: dict[UUID, dict[str, Any]] = {}
        self._known = event(PAID)

    def ways(self, connection: psycopg.Connection) -> Ways:
        """Return a call for each sort of batch; it returns rows per second of one batch."""
        return {
            "no duplicate": lambda: self._plain.one(PAID),
            "one duplicate": self._one_duplicate,
            "no odd account": lambda: self._paid(random.sample(self._others, ROWS)),
            "one odd account": lambda: self._paid(
                random.sample(self._others, ROWS - 1), self._broke
            ),
            "quotas": lambda: self._paid(self._quoted),
            "copy": lambda: self._copied(connection),
            "real": self._real,
        }

    async def warm(self) -> None:
        """Record the first uses of the subscribers, and those that will be repeated."""
        await self._repeating.own([self._known])
        await self._real()

    async def _one_duplicate(self) -> float:
        events = [event(PAID) for _ in range(ROWS - 1)] + [self._known]
        return await self._repeating.own(events, repeated=1)

    async def _paid(self, usual: Sequence[UUID], *odd: UUID) -> float:
        accounts = [*usual, *odd]
        return await self._plain.each([(one, event(PAID)) for one in accounts], refused=len(odd))

    async def _real(self) -> float:
        """Record a use of each subscriber; one in a hundred is a repeat."""
        known = random.sample(list(self._sent), min(REPEATS, len(self._sent)))
        new = {one: _named_event() for one in self._subscribers if one not in known}
        rows = [*new.items(), *((one, self._sent[one]) for one in known)]
        self._sent |= new
        return await self._repeating.each(rows, repeated=len(known))

    async def _copied(self, connection: psycopg.Connection) -> float:
        """Send such rows by COPY BINARY into a bare table; only the sending is measured."""
        with connection.cursor() as cursor:
            with cursor.copy("COPY bench_real FROM STDIN") as target:
                for account in self._subscribers:
                    one = _named_event()
                    values = [one[name] for name in _COLUMNS[:-1]]
                    target.write_row(
                        (account, one["event_id"], *values, Jsonb(one["usage_details"]))
                    )
            with cursor.copy("COPY bench_real TO STDOUT (FORMAT BINARY)") as source:
                rows = b"".join(bytes(part) for part in source)
            cursor.execute("TRUNCATE bench_real")
            began = perf_counter()
            with cursor.copy("COPY bench_real FROM STDIN (FORMAT BINARY)") as target:
                target.write(rows)
            taken = perf_counter() - began
            cursor.execute("TRUNCATE bench_real")
        return ROWS / taken


def _named_event() -> dict[str, Any]:
    return event(PAID) | {
        "user_id": f"user-{random.randrange(5)}",
        "organization_id": "org-1",
        "session_id": str(uuid4()),
        "request_id": str(uuid4()),
        "usage_details": {"note": "n" * 108},
    }
