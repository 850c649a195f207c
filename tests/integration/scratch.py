"""A database beside the stack's, migrated by the code, for tests that change tables or compare."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from devstack.options import ROOT
from devstack.stack import StackInfo, dsn


@contextmanager
def scratch_database(stack: StackInfo, code: Path = ROOT) -> Iterator[dict[str, str]]:
    """The environment of a fresh database on the stack's server, migrated by the project `code`."""
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(dsn(stack.superuser_url), autocommit=True) as superuser:
        superuser.execute(f"CREATE DATABASE {name} OWNER billing_owner")
        try:
            env = stack.env | {
                key: url_of(stack.env[key], name)
                for key in stack.env
                if key.startswith("DATABASE_") and key.endswith("URL")
            }
            open_to_roles(stack, name)
            migrate(env, code)
            yield env
        finally:
            superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")


def open_to_roles(stack: StackInfo, name: str) -> None:
    """Give the roles what migrations/roles.sql gives them in the stack's own database."""
    text = (ROOT / "migrations" / "roles.sql").read_text()
    _, _, rights = text.partition("\\connect billing\n")
    with psycopg.connect(dsn(url_of(stack.superuser_url, name)), autocommit=True) as superuser:
        superuser.execute(rights.encode())


def migrate(env: dict[str, str], code: Path = ROOT) -> None:
    """Bring the database of an environment to the newest migration of a project."""
    done = subprocess.run(
        [sys.executable, "-c", "from cli.provision import migrate; migrate()"],
        cwd=code,
        env={**os.environ, **env, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def url_of(url: str, database: str) -> str:
    """The same server and role, another database."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)
