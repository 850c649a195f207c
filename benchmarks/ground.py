"""The ground for metering: one Postgres, ten thousand accounts, an API on each of two databases.

`small` starts with ten thousand rows of history, `large` with a million; both are copies of one
template made once.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import psutil
import psycopg

from benchmarks.callers import authorization
from benchmarks.wire import Wire
from billing.core import ids
from devstack.binaries import postgres_bin
from devstack.launch import launch
from devstack.options import POSTGRES_BUFFERS, ROOT, Options
from devstack.stack import StackInfo, dsn

ACCOUNTS: Final = 10_000
SMALL: Final = 10_000
LARGE: Final = 1_000_000
# Each client compiles the functions first: in a longer run that matters less.
PGBENCH_SECONDS: Final = 4
CLIENTS: Final = 32
PLENTY: Final = "100000000/minute"
READY_SECONDS: Final = 90
SQL: Final = Path(__file__).with_name("sql")


@dataclass(frozen=True)
class Fill:
    """The history of a database."""

    rows: int
    accounts: int = ACCOUNTS


@dataclass(frozen=True)
class Site:
    """One database and the API process that serves it."""

    name: str
    url: str
    app_url: str
    wire: Wire
    process: psutil.Process

    def pgbench(self, script: str, **values: object) -> float:
        """Return transactions per second of a script, prepared, by 32 clients as the app's role."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(_script(script, values))
            file.flush()
            known = psycopg.conninfo.conninfo_to_dict(self.app_url)
            words = ["-n", "-M", "prepared", "-c", CLIENTS, "-j", 2, "-T", PGBENCH_SECONDS]
            where = ["-h", known["host"], "-p", known["port"], "-U", known["user"]]
            done = subprocess.run(
                [str(one) for one in (postgres_bin() / "pgbench", *words, "-f", file.name, *where)]
                + [str(known["dbname"])],
                env={**os.environ, "PGPASSWORD": str(known["password"])},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        line = next(one for one in done.stdout.splitlines() if one.startswith("tps"))
        return float(line.split()[2])

    def memory_mib(self) -> float:
        """Return the memory of the API process."""
        return float(self.process.memory_info().rss) / 2**20


@dataclass(frozen=True)
class Ground:
    """Everything a measure of metering needs; `hot` holds a fifth of all history."""

    stack: StackInfo
    accounts: Sequence[UUID]
    small: Site
    large: Site

    @property
    def hot(self) -> UUID:
        """Return the account with a fifth of all history."""
        return self.accounts[0]

    def headers(self, account: UUID | None, role: str = "service") -> dict[str, str]:
        """Return a caller's authorization; a service names the account beside it, or None."""
        named = ids.encode(ids.ACCOUNT, account) if account else "*"
        beside = {"X-Account-Id": named} if account and role == "service" else {}
        acts_for = "*" if role == "service" else named
        return authorization(self.stack, acts_for, [role]) | beside


@asynccontextmanager
async def open_ground(
    history: str = "history",
    *,
    small: Fill = Fill(SMALL),
    large: Fill = Fill(LARGE),
    buffers: str = POSTGRES_BUFFERS,
) -> AsyncIterator[Ground]:
    """Open Postgres with both databases and an API on each, for one run. `history` fills them."""
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        options = Options(
            data=Path(folder) / "data",
            free_ports=True,
            ui=False,
            children=("postgres",),
            postgres_buffers=buffers,
            owner=os.getpid(),
        )
        running = await asyncio.to_thread(launch, options)
        stack = running.info
        started: list[subprocess.Popen[bytes]] = []
        try:
            fills = {"small": small, "large": large}
            accounts = await asyncio.to_thread(_fill, dsn(stack.superuser_url), history, fills)
            sites = []
            for name in ("small", "large"):
                port = stack.ports.api if name == "small" else stack.ports.sandbox
                started.append(_api(stack, name, port))
                sites.append(_site(stack, name, port, started[-1].pid))
            for site in sites:
                await _ready(site)
            yield Ground(stack, accounts, *sites)
            for site in sites:
                await site.wire.close()
        finally:
            for process in started:
                process.terminate()
                process.wait(READY_SECONDS)
            await asyncio.to_thread(running.stop)


@asynccontextmanager
async def open_twin(ground: Ground) -> AsyncIterator[Site]:
    """Start another API process on the small database; stopped afterwards."""
    port = ground.stack.ports.worker_metrics
    process = _api(ground.stack, "small", port)
    site = _site(ground.stack, "small", port, process.pid)
    try:
        await _ready(site)
        yield site
        await site.wire.close()
    finally:
        process.terminate()
        process.wait(READY_SECONDS)


def _fill(url: str, history: str, fills: Mapping[str, Fill]) -> list[UUID]:
    """Fill a template with accounts that have credits and an open period; copy it twice."""
    with psycopg.connect(url, autocommit=True) as connection:
        run_script(connection, "accounts", accounts=ACCOUNTS)
        found = connection.execute("SELECT id FROM bench_picks ORDER BY n").fetchall()
    for name, fill in fills.items():
        with psycopg.connect(_database(url, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE billing".encode())
        with psycopg.connect(_database(url, name), autocommit=True) as connection:
            run_script(connection, "more_accounts", first=ACCOUNTS + 1, accounts=fill.accounts)
            run_script(connection, history, rows=fill.rows, accounts=fill.accounts)
            connection.execute("VACUUM ANALYZE")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    return [row[0] for row in found]


def run_script(connection: psycopg.Connection, script: str, **values: int) -> None:
    """Run one of our scripts as the owner of everything."""
    connection.execute(_script(script, values).encode())


def _script(name: str, values: Mapping[str, object]) -> str:
    text = (SQL / f"{name}.sql").read_text()
    for place, value in values.items():
        text = text.replace(f"{{{place}}}", str(value))
    return text


def _site(stack: StackInfo, name: str, port: int, pid: int) -> Site:
    return Site(
        name,
        _database(dsn(stack.superuser_url), name),
        _database(dsn(stack.env["DATABASE_URL"]), name),
        Wire("127.0.0.1", port),
        psutil.Process(pid),
    )


def _api(stack: StackInfo, database: str, port: int) -> subprocess.Popen[bytes]:
    env: Mapping[str, str] = {
        **os.environ,
        **stack.env,
        "DATABASE_URL": _database(stack.env["DATABASE_URL"], database),
        "DATABASE_OPERATOR_URL": _database(stack.env["DATABASE_OPERATOR_URL"], database),
        # A few callers stand for many; metering runs under the delivered limits.
        "BILLING_RATE_LIMIT_MONEY": PLENTY,
        "BILLING_RATE_LIMIT_READS": PLENTY,
        "BILLING_API_METRICS_PORT": "0",
        "BILLING_LOG_LEVEL": "WARNING",
    }
    where = ("--host", "127.0.0.1", "--port", str(port), "--timeout-keep-alive", "600")
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "benchmarks.bench_api:app", *where, "--no-access-log"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def _ready(site: Site) -> None:
    for _ in range(READY_SECONDS * 10):
        with suppress(OSError, asyncio.IncompleteReadError):
            await site.wire.ask("GET", "/api/v1/meta/features", b"", {})
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the API did not start")


def _database(url: str, name: str) -> str:
    """Return the address of another database, with the same server and role."""
    return url.replace("/billing?", f"/{name}?")
