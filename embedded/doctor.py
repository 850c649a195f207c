"""`billing doctor`: is everything this machine needs here, and is the running stack well.

Each check is one function that returns what it found or raises with what to do.
"""

import asyncio
import platform
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Table

from embedded.binaries import postgres_bin, temporal_program
from embedded.control import StackControl
from embedded.errors import StackError
from embedded.health import answers
from embedded.options import ChildName
from embedded.stack import StackInfo, read_stack

Check = Callable[[StackInfo], Awaitable[str]]

OLDEST_MATTERS: Final = 5


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
    async with await psycopg.AsyncConnection.connect(_dsn(info.operator_url)) as connection:
        found = await connection.execute(
            "SELECT workflow_id, words FROM matters WHERE status = 'halted' LIMIT %s",
            [OLDEST_MATTERS],
        )
        rows = await found.fetchall()
    if rows:
        named = "; ".join(f"{workflow_id}: {words}" for workflow_id, words in rows)
        raise StackError(f"halted, mend the cause and resume: {named}")
    return "none"


CHECKS: Final[dict[str, tuple[ChildName | None, Check]]] = {
    "parts": (None, children),
    "database": ("postgres", database),
    "API": ("api", service),
    "halted matters": ("postgres", halted),
}
"""Title, the part it needs, and the check."""


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
    except (StackError, OSError, psycopg.Error) as error:
        table.add_row("[red]✗[/]", title, str(error).strip())
        return False
    return True


def _said(program: Path, word: str) -> str:
    return subprocess.run(
        [program, word], capture_output=True, text=True, check=True
    ).stdout.strip()


def _dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
