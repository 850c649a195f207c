"""A command that cannot work says so in one sentence, without a traceback."""

from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from billing.core.clock import real_now
from billing.core.settings import Settings
from billing.insight.integrity.rules import report
from billing.insight.integrity.schemas import Report
from cli import month_parquet, parking, stack_commands, verify
from cli.__main__ import app
from cli.errors import StackError
from migrations.prepare import ARE_KEPT

CLOSED = "postgresql+psycopg://billing_app@127.0.0.1:9/billing"


@pytest.mark.parametrize("words", ["verify", "catalog diff", "usage rebuild-counters", "migrate"])
@pytest.mark.parametrize("cure", ["start the stack with make up", "see DATABASE_URL"])
def test_a_command_without_a_database_says_so_in_one_line(
    words: str, cure: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(stack_commands, "HAS_STACK", "make up" in cure)
    for name in ("DATABASE_URL", "DATABASE_OPERATOR_URL", "DATABASE_OWNER_URL"):
        monkeypatch.setenv(name, CLOSED)
    done = CliRunner().invoke(app, [*words.split(), "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"the database does not answer: {cure}")


@pytest.mark.parametrize(
    ("words", "named"), [([], None), (["--all"], None), (["--account", "acc_1"], "acc_1")]
)
def test_all_accounts_are_verified_unless_one_is_named(
    words: list[str], named: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str | None] = []

    async def whose(_: Settings, *, account: str | None, **__: object) -> Report:
        asked.append(account)
        return report([], real_now())

    monkeypatch.setenv("DATABASE_URL", CLOSED)
    monkeypatch.setattr(verify, "verify", whose)
    done = CliRunner().invoke(app, ["verify", *words, "--data", str(tmp_path)])
    assert (done.exit_code, asked) == (0, [named]), done.output
    both = CliRunner().invoke(app, ["verify", "--all", "--account", "acc_1"])
    assert (both.exit_code, both.stderr.strip()) == (1, "set either --all or --account")
    assert asked == [named], "nobody was asked"


@pytest.mark.parametrize("words", ["doctor", "verify"])
def test_a_command_with_settings_that_do_not_fit_says_so_in_one_line(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DATABASE_URL", CLOSED)
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_live_wrong")
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    done = CliRunner().invoke(app, [words, "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("a live Stripe key is only for Stripe")


@pytest.mark.parametrize("words", ["verify", "migrate"])
@pytest.mark.parametrize(
    "url", ["postgres//nonsense", "mysql://billing@127.0.0.1/billing", "postgresql://host:port/b"]
)
def test_an_address_that_is_none_of_a_database_is_named_in_one_line(
    words: str, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    done = CliRunner().invoke(app, [words, "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("DATABASE_URL is not a Postgres URL: write postgresql+psycopg://")


def test_a_migration_that_there_is_not_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DATABASE_URL", CLOSED)
    done = CliRunner().invoke(app, ["migrate", "nonsense", "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line == "there is no migration nonsense: head is the newest"


@pytest.mark.parametrize("kept", ARE_KEPT)
def test_a_table_that_others_keep_locked_is_told_in_one_line(
    kept: type[psycopg.Error], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def locked(*_: object) -> None:
        raise kept("canceling statement due to lock timeout")

    monkeypatch.setenv("DATABASE_URL", CLOSED)
    monkeypatch.setattr(command, "upgrade", locked)
    done = CliRunner().invoke(app, ["migrate", "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("others keep a table locked: see billing locks list")


def test_a_file_of_a_month_that_cannot_be_written_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "billing_records_2026_01.parquet"
    words = f"MONTH_FILE_MISSING: {path} cannot be written: No such file or directory"
    with pytest.raises(StackError, match=words), month_parquet.writing(path):
        month_parquet.write([], path)


FULL = psycopg.errors.DiskFull('could not extend file "base/5/16401": No space left on device')
STANDBY = psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FULL, "Postgres's disk is full, make room: see docs/runbook.md#disk"),
        (STANDBY, "Postgres takes no writes: see docs/runbook.md#database"),
    ],
    ids=["full", "standby"],
)
def test_a_database_that_answers_and_takes_no_write_is_told_with_its_cause(
    error: psycopg.Error, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refused(*_: object) -> str:
        raise DBAPIError.instance("INSERT", {}, error, psycopg.Error)

    monkeypatch.setenv("DATABASE_URL", CLOSED)
    monkeypatch.setattr(parking, "park", refused)
    done = CliRunner().invoke(app, ["park", "--reason", "x", "--data", str(tmp_path)])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line == f"{words} ({error})"
