"""Parts that every benchmark shares: interleaved rounds, medians, one table.

All parts of one ratio are measured in one run, turn by turn, so that a busy machine hits both.
"""

import asyncio
import json
import random
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

ROUNDS: Final = 3
RESULTS: Final = Path("build/bench.json")
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Result:
    """One line of the table; `value` is the median of `samples`."""

    name: str
    value: float
    unit: str
    bar: float
    stretch: float
    better: Better
    samples: list[float]
    commit: str
    seed: int

    @property
    def passed(self) -> bool:
        """True if the bar is met."""
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar


class Report:
    """Collects results, prints them as they come, and writes build/bench.json."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed if seed is not None else random.randrange(1 << 30)
        self.results: list[Result] = []
        self.console = Console()
        self._commit = _commit()

    def add(
        self, name: str, samples: Sequence[float], unit: str, bar: float, stretch: float,
        better: Better = "higher",
    ) -> None:  # fmt: skip
        """Record one measure; its value is the median of the samples."""
        value = statistics.median(samples)
        result = Result(
            name, round(value, 4), unit, bar, stretch, better, [round(s, 4) for s in samples],
            self._commit, self.seed,
        )  # fmt: skip
        self.results.append(result)
        self.console.print(f"  {name}: {value:.3g} {unit}")

    def finish(self) -> int:
        """Print the table, write the file; return the number of missed bars."""
        table = Table("name", "value", "bar", "stretch", "samples", title=f"seed {self.seed}")
        for result in self.results:
            mark = "green" if result.passed else "red"
            sign = ">=" if result.better == "higher" else "<="
            table.add_row(
                result.name,
                f"[{mark}]{result.value:.3g}[/] {result.unit}",
                f"{sign} {result.bar:g}",
                f"{result.stretch:g}",
                " ".join(f"{sample:.3g}" for sample in result.samples),
            )
        self.console.print(table)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps([asdict(result) for result in self.results], indent=1))
        return sum(not result.passed for result in self.results)


async def rate(count: int, at_once: int, once: Callable[[], Awaitable[object]]) -> float:
    """Return calls finished per second, of `count` calls, `at_once` in flight."""
    began = perf_counter()
    await spread(count, at_once, once)
    return count / (perf_counter() - began)


async def pace(seconds: float, at_once: int, once: Callable[[], Awaitable[object]]) -> float:
    """Return calls finished per second, `at_once` in flight, over about `seconds`."""
    began = perf_counter()

    async def lane() -> int:
        done = 0
        while perf_counter() - began < seconds:
            await once()
            done += 1
        return done

    done = sum(await asyncio.gather(*(lane() for _ in range(at_once))))
    return done / (perf_counter() - began)


async def latencies(count: int, at_once: int, once: Callable[[], Awaitable[object]]) -> list[float]:
    """Return the seconds that each of `count` calls took, sorted."""
    taken: list[float] = []

    async def timed() -> None:
        began = perf_counter()
        await once()
        taken.append(perf_counter() - began)

    await spread(count, at_once, timed)
    return sorted(taken)


async def spread(count: int, at_once: int, once: Callable[[], Awaitable[object]]) -> None:
    """Run `once` `count` times, `at_once` in flight."""
    left = iter(range(count))

    async def lane() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(lane() for _ in range(at_once)))


async def slowest(calls: Sequence[Callable[[], Awaitable[object]]], turns: int) -> list[float]:
    """Return the 95th percentile in seconds of each call; a turn makes each of them once."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(turns):
        for call, seconds in zip(calls, taken, strict=True):
            began = perf_counter()
            await call()
            seconds.append(perf_counter() - began)
    return [percentile(sorted(one), 0.95) for one in taken]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _commit() -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        words = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"
