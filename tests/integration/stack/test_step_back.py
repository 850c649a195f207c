"""A release starts on the database of a newer one: a step back needs no other, while it knows what
is in it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

import psycopg
import pytest

from cli import step_back
from devstack.options import ROOT
from devstack.stack import StackInfo, dsn
from tests.integration.api_app import stack_settings
from tests.integration.scratch import scratch_database

SAID = "the database is at 9999, newer than this release: left as it is"


def run(env: Mapping[str, str], program: str) -> str:
    """Run a program on a database; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *program.split()],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["cli.provision", "cli migrate"])
def test_what_migrates_leaves_the_database_of_a_newer_release(
    stack: StackInfo, program: str
) -> None:
    with scratch_database(stack) as env:
        with psycopg.connect(dsn(env["DATABASE_OWNER_URL"])) as owner:
            owner.execute("UPDATE alembic_version SET version_num = '9999'")
        said = run(env, program)
        assert SAID in said.splitlines()
        with psycopg.connect(dsn(env["DATABASE_OWNER_URL"])) as owner:
            assert owner.execute("SELECT version_num FROM alembic_version").fetchall() == [
                ("9999",)
            ]


def test_the_release_before_knows_every_row_of_a_fresh_database(stack: StackInfo) -> None:
    with scratch_database(stack) as env:
        said = run(env, "cli step-back")
    assert "0.1.0 knows every row that is in use" in said


async def test_rows_are_counted_in_tables_of_any_size(
    stack: StackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few of these counts have an index, and a request's five seconds read few gigabytes."""
    limit = "FROM pg_settings WHERE name = 'statement_timeout' AND setting = '300000'"
    allowed = step_back.Unknown("five minutes", "it counts", limit)
    monkeypatch.setattr(step_back, "UNKNOWN", (*step_back.UNKNOWN, allowed))
    assert "five minutes (1): it counts" in await step_back.unknown(stack_settings(stack))
