"""A release starts on the database of a newer one: a step back needs no other, while it knows what
is in it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

import psycopg
import pytest

from devstack.options import ROOT
from devstack.stack import StackInfo, dsn
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
