"""`billing doctor`: is everything this machine needs here, and is the running stack well.

Each check is one function that returns what it found or raises with what to do.
"""

import asyncio
import platform
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.integrity import service as integrity_service
from billing.matters import sweeps
from devstack.binaries import postgres_bin, temporal_program
from devstack.control import StackControl
from devstack.errors import StackError
from devstack.health import answers
from devstack.options import ChildName
from devstack.stack import StackInfo, read_stack

Check = Callable[[StackInfo], Awaitable[str]]

NOT_RUN: Final = (
    "late, is the worker running? else see in worker.log what fails, or run billing rebuild"
)
OLDEST_MATTERS: Final = 5
LATE: Final = timedelta(minutes=3)
"""The sweeper has told a late matter again by then: its step fails, or nobody runs it."""


def installed() -> str:
    """Versions of what came with the lock. Errors: StackError when a binary is missing."""
    postgres = _said(postgres_bin() / "postgres", "--version")
    temporal = _said(temporal_program(), "--version")
    return f"Python {platform.python_version()}, {postgres}, {temporal}, stripe {version('stripe')}"


async def children(info: StackInfo) -> str:
    """Every part is ready."""
    status = await StackControl(info.control).status()
    if unwell := [f"{name} is {s.state}" for name, s in status.items() if s.state != "ready"]:
        raise StackError(f"{', '.join(unwell)}: see {info.logs}")
    deaths = sum(child.restarts for child in status.values())
    return f"{', '.join(status)} ready; restarted {deaths} times"


async def database(info: StackInfo) -> str:
    """The app role is let in, and which migration it finds."""
    async with await psycopg.AsyncConnection.connect(_dsn(info.owner_url)) as connection:
        found = await connection.execute("SELECT version_num FROM alembic_version")
        row = await found.fetchone()
    return f"migrated to {row[0]}" if row else "no migration yet"


async def service(info: StackInfo) -> str:
    """The API calls itself healthy."""
    if not await answers(info.ports.api, "/health"):
        raise StackError(f"the API is up but not healthy: open {info.api_url}/health/detailed")
    return f"healthy on {info.api_url}"


async def halted(info: StackInfo) -> str:
    """No matter waits for an operator."""
    return await _none_of(
        info,
        "SELECT workflow_id || ': ' || words FROM matters WHERE status = 'halted'",
        "mend the cause and resume",
    )


async def parked(info: StackInfo) -> str:
    """No event from Stripe is put aside because nobody knows whose it is."""
    return await _none_of(
        info,
        "SELECT stripe_event_id || ' (' || type || ')' FROM stripe_webhook_events"
        " WHERE status = 'parked' ORDER BY received_at",
        "look into them and replay",
    )


async def overdue(info: StackInfo) -> str:
    """Every step of an account in real time runs when it is due."""
    async with _books(info) as database, database.operator() as connection:
        late = await sweeps.overdue(connection, real_now() - LATE, OLDEST_MATTERS)
    if late:
        named = "; ".join(one.workflow_id for one in late)
        raise StackError(f"{NOT_RUN}: {named}")
    return "none"


async def integrity(info: StackInfo) -> str:
    """Every invariant of the books holds."""
    async with _books(info) as database:
        report = await integrity_service.examine(database)
    if report.wrong:
        named = "; ".join(f"{one.sentence} ({one.violations})" for one in report.wrong)
        raise StackError(f"not so, see billing verify: {named}")
    return f"{len(report.checks)} checks hold"


CHECKS: Final[dict[str, tuple[ChildName | None, Check]]] = {
    "parts": (None, children),
    "database": ("postgres", database),
    "API": ("api", service),
    "halted matters": ("postgres", halted),
    "parked webhooks": ("postgres", parked),
    "overdue steps": ("postgres", overdue),
    "books": ("postgres", integrity),
}
"""Title, the part it needs, and the check."""


async def _none_of(info: StackInfo, query: LiteralString, remedy: str) -> str:
    """The query finds nothing; else how much it found, the first few, and what to do."""
    async with await psycopg.AsyncConnection.connect(_dsn(info.operator_url)) as connection:
        found = await connection.execute(query)
        rows = await found.fetchall()
    if rows:
        named = "; ".join(name for (name,) in rows[:OLDEST_MATTERS])
        raise StackError(f"{len(rows)}, {remedy}: {named}")
    return "none"


@asynccontextmanager
async def _books(info: StackInfo) -> AsyncIterator[Database]:
    settings = Settings.model_validate(
        {"database_url": info.app_url, "database_operator_url": info.operator_url}
    )
    database = open_database(settings)
    try:
        yield database
    finally:
        await database.close()


def examine(data: Path, console: Console) -> bool:
    """Print every check; true when all are well."""
    table = Table.grid(padding=(0, 2))
    well = _row(table, "installed", installed)
    try:
        info = read_stack(data)
    except StackError as absent:
        table.add_row("-", "stack", str(absent))
    else:
        for title, (part, check) in CHECKS.items():
            if part is None or part in info.children:
                well &= _row(table, title, partial(_ask, check, info))
    console.print(table)
    return well


def _ask(check: Check, info: StackInfo) -> str:
    async def asked() -> str:
        return await check(info)

    return asyncio.run(asked())


def _row(table: Table, title: str, check: Callable[[], str]) -> bool:
    try:
        table.add_row("[green]✓[/]", title, check())
    except (StackError, OSError, psycopg.Error, SQLAlchemyError) as error:
        table.add_row("[red]✗[/]", title, str(error).strip())
        return False
    return True


def _said(program: Path, word: str) -> str:
    return subprocess.run(
        [program, word], capture_output=True, text=True, check=True
    ).stdout.strip()


def _dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
