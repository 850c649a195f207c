"""`billing doctor`: makes all checks of the running stack, or of the servers that the settings
name, and shows their signs. A check that cannot be made counts as a failed one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import httpx2
import psycopg
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError, RPCStatusCode

from billing.core.database import open_database
from billing.core.errors import Unavailable
from billing.core.settings import Settings
from billing.insight.health.rules import page, unknown
from billing.insight.health.schemas import Sign
from cli.doctor_checks import CHECKS, Check, Patient, locks, reason
from cli.errors import StackError
from cli.pages import show_table
from workflows.client import connect

if TYPE_CHECKING:
    from devstack.stack import StackInfo

PATIENCE_SECONDS: Final = 20.0
"""A check that takes longer fails: something hangs."""
LONGER_SECONDS: Final = {"workflows": 1_800.0}
"""Time of checks that go through everything page by page; each of their calls has its own end."""
LOOK_SECONDS: Final = 1.0
"""Between two checks of the locks."""
_AWAY: Final = (
    StackError, OSError, psycopg.Error, SQLAlchemyError, RPCError, RuntimeError, Unavailable,
    httpx2.HTTPError, TimeoutError,
)  # fmt: skip
_MARKS: Final = {
    "healthy": Text("✓", "green"), "unhealthy": Text("✗", "red"), "unknown": Text("?", "yellow"),
}  # fmt: skip
PARTS: Final = {
    "database": "Postgres",
    "migrations": "Schema",
    "worker": "Workers",
    "api": "API",
    "settings": "Settings",
    "temporal": "Temporal",
    "namespace": "Namespace",
    "queues": "Temporal",
    "stripe": "Stripe",
}
"""The parts that `billing status` shows, by the name of their sign."""
ELSEWHERE: Final = frozenset({"temporal", "schedules", "workflows", "stripe", "products"})
"""Checks of servers other than Postgres; those of Postgres run one at a time."""


def examine(settings: Settings, stack: "StackInfo | None", console: Console) -> bool:
    """Print every sign; return True if all checks were made and passed."""
    found = asyncio.run(signs(settings, stack))
    rows = list[tuple[str | Text, str, str | Text]]()
    for sign in found:
        rows.append((_MARKS[sign.state], sign.name, sign.words))
        if sign.state != "healthy":
            rows.append(("", "", Text(sign.page, "dim")))
    show_table(console, rows)
    return all(sign.state == "healthy" for sign in found)


def show_parts(settings: Settings, stack: "StackInfo | None", console: Console) -> None:
    """Print a line for each part: healthy, unhealthy or unknown, and why."""
    found = asyncio.run(signs(settings, stack, ("database", "temporal", "stripe")))
    shown = [sign for sign in found if sign.name in PARTS]
    show_table(
        console,
        [(f"  {PARTS[one.name]}", _MARKS[one.state], one.state, one.words) for one in shown],
    )


async def signs(
    settings: Settings, stack: "StackInfo | None", only: Collection[str] = tuple(CHECKS)
) -> list[Sign]:
    """Return the signs of these checks in their order; slow servers are waited for in parallel."""
    turn = asyncio.Lock()

    async def ask(name: str, check: Check) -> Iterable[Sign]:
        async with nullcontext() if name in ELSEWHERE else turn:
            return await _asked(name, check, patient)

    async with _patient(settings, stack) as patient, asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(ask(name, check))
            for name, check in CHECKS.items()
            if check is not locks and name in only
        }
        found = {"locks": await _watched(patient, tasks.values())} if "locks" in only else {}
    found |= {name: task.result() for name, task in tasks.items()}
    return [sign for name in CHECKS for sign in found.get(name, ())]


async def _watched(
    patient: Patient, others: Collection[asyncio.Task[Iterable[Sign]]]
) -> Iterable[Sign]:
    """Watch the locks while the other checks run, because one of them may be blocked."""
    while True:
        found = list(await _asked("locks", locks, patient))
        is_over = all(one.done() for one in others)
        if is_over or any(sign.state == "unhealthy" for sign in found):
            return found
        await asyncio.wait(others, timeout=LOOK_SECONDS)


async def _asked(name: str, check: Check, patient: Patient) -> Iterable[Sign]:
    seconds = LONGER_SECONDS.get(name, PATIENCE_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            return await check(patient)
    except TimeoutError:
        return [unknown(name, f"no answer within {seconds:.0f} s")]
    except _AWAY as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
            words = f"Temporal is up, and limits our calls: {reason(error)}"
            return [unknown(name, words).model_copy(update={"page": page("temporal")})]
        return [unknown(name, f"could not be asked: {reason(error)}")]


@asynccontextmanager
async def _patient(settings: Settings, stack: "StackInfo | None") -> AsyncIterator[Patient]:
    async with open_database(settings) as opened:
        yield Patient(settings, opened, await connect(settings), stack)
