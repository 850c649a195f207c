"""The stack's own PostgreSQL 18: initialized once, roles set on each start, fast stop.

It listens on 127.0.0.1 and on a socket in a private folder; every connection needs a password.
"""

import asyncio
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cli.errors import StackError
from devstack.binaries import postgres_bin
from devstack.data_folder import DataFolder, Secrets
from devstack.environment import system_environment
from devstack.options import ROOT
from devstack.os_user import Identity, as_user, choose_identity
from devstack.ports import HOST
from devstack.process import Spec

SUPERUSER: Final = "postgres"
DATABASE: Final = "billing"
ROLES_FILE: Final = ROOT / "migrations" / "roles.sql"

# Two small cores and short statements: no JIT, room for every pool, durability as delivered. Each
# page is written whole once after a checkpoint: they come by time, not after each gigabyte of uses.
TUNING: Final = {
    "max_connections": "200",
    "max_wal_size": "4GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
    "unix_socket_permissions": "0700",
}

# The kernel may need a moment to let go of a killed server's memory.
TRANSIENT: Final = ("pre-existing shared memory block", "lock file", "the database system is")


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One server: its files, socket, port and logins."""

    folder: DataFolder
    sockets: Path
    port: int
    secrets: Secrets
    identity: Identity
    buffers: str

    @property
    def files(self) -> Path:
        """The cluster's files."""
        return self.folder.path / "postgres"

    def url(self, role: str, password: str, *, database: str = DATABASE) -> str:
        """Return the SQLAlchemy URL over the private socket, the fastest for our processes."""
        where = f"host={quote(str(self.sockets), safe='')}&port={self.port}"
        return f"postgresql+psycopg://{role}:{password}@/{database}?{where}"

    def tcp_url(self, role: str, password: str) -> str:
        """Return the SQLAlchemy URL over TCP, for other programs."""
        return f"postgresql+psycopg://{role}:{password}@{HOST}:{self.port}/{DATABASE}"

    @property
    def superuser_url(self) -> str:
        """The superuser's URL, for roles and tests only."""
        return self.url(SUPERUSER, self.secrets.superuser_password)

    def initialize(self) -> None:
        """Make the cluster on the first start; an incomplete one is never used.

        Errors: StackError with initdb's own last line.
        """
        self.identity.own(self.sockets)
        if self.files.exists():
            self.identity.own(self.files)
            return
        draft = self.files.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.identity.own(draft)
        password = self.sockets / "password"
        password.touch(mode=0o600)
        password.write_text(self.secrets.superuser_password)
        self.identity.own(password)
        try:
            made = self._initdb(draft, password)
        finally:
            password.unlink()
        (self.folder.logs / "initdb.log").write_text(made.stdout + made.stderr)
        if made.returncode != 0:
            said = (made.stderr.strip() or made.stdout.strip()).splitlines()[-1:]
            raise StackError(f"initdb could not make the database: {' '.join(said)}")
        draft.rename(self.files)

    def spec(self) -> Spec:
        """Return the process specification for the supervisor."""
        values = {**TUNING, "shared_buffers": self.buffers}
        tuning = [word for name, value in values.items() for word in ("-c", f"{name}={value}")]
        return Spec(
            name="postgres",
            argv=(
                *self.identity.prefix,
                *(str(postgres_bin() / "postgres"), "-D", str(self.files)),
                *("-p", str(self.port), "-k", str(self.sockets)),
                *("-c", f"listen_addresses={HOST}", *tuning),
            ),
            env=system_environment(),
            cwd=self.folder.path,
            probe=self._answers,
            stop_signal=signal.SIGINT,
            uid=self.identity.uid,
            transient=TRANSIENT,
        )

    async def set_roles(self) -> None:
        """Set up owner, app and operator with passwords and rights; repeatable.

        Errors: StackError with psql's last line.
        """
        process = await asyncio.create_subprocess_exec(
            *(str(postgres_bin() / "psql"), "--no-psqlrc", "--quiet", "--file", str(ROLES_FILE)),
            env=system_environment()
            | {
                "PGHOST": str(self.sockets),
                "PGPORT": str(self.port),
                "PGUSER": SUPERUSER,
                "PGDATABASE": "postgres",
                "PGPASSWORD": self.secrets.superuser_password,
                "DATABASE_OWNER_PASSWORD": self.secrets.owner_password,
                "DATABASE_APP_PASSWORD": self.secrets.app_password,
                "DATABASE_OPERATOR_PASSWORD": self.secrets.operator_password,
            },
            pass_fds=self.folder.inherited,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            said = output.decode(errors="replace").strip().splitlines()[-1:]
            raise StackError(f"the database roles could not be set: {' '.join(said)}")

    def _initdb(self, draft: Path, password: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self.identity.prefix,
                *(str(postgres_bin() / "initdb"), "-D", str(draft), "-U", SUPERUSER),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}"),
                "--no-instructions",
            ],
            env=system_environment(),
            cwd="/",
            **as_user(self.identity.uid),
            pass_fds=self.folder.inherited,
            capture_output=True,
            text=True,
            check=False,
        )

    async def _answers(self) -> bool:
        import psycopg  # the server starts while the driver loads

        connection = await psycopg.AsyncConnection.connect(
            host=str(self.sockets),
            port=self.port,
            user=SUPERUSER,
            password=self.secrets.superuser_password,
            dbname="postgres",
            connect_timeout=2,
        )
        async with connection:
            await connection.execute("SELECT 1")
        return True


def open_postgres(folder: DataFolder, sockets: Path, port: int, buffers: str) -> Postgres:
    """Return the server of a data folder. Errors: StackError if root cannot run it."""
    identity = choose_identity(postgres_bin(), folder.path, sockets.parent)
    return Postgres(
        folder=folder, sockets=sockets, port=port, secrets=folder.secrets(), identity=identity,
        buffers=buffers,
    )  # fmt: skip
