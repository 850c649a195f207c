"""Released migrations stay as they were; the one in the making is as the tree says."""

import re
from typing import Any

import pytest
from psycopg import OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import CheckConstraint

from billing.core.database import metadata
from migrations import draft, prepare, sql
from migrations.draft import NEXT, RELEASES, VERSIONS


@pytest.mark.parametrize("release", draft.releases(), ids=lambda release: str(release["version"]))
def test_a_released_migration_is_never_changed(release: dict[str, Any]) -> None:
    changed = {
        name: draft.digest(VERSIONS / name)
        for name, kept in release["files"].items()
        if draft.digest(VERSIONS / name) != kept
    }
    assert changed == {}, f"write a migration instead (docs/migrations.md, {RELEASES.name})"


def test_every_file_of_a_migration_is_released_or_in_the_making() -> None:
    released = {name for release in draft.releases() for name in release["files"]}
    found = {
        path.relative_to(VERSIONS).as_posix()
        for path in VERSIONS.rglob("*")
        if path.suffix in {".sql", ".py"}
    }
    assert {name for name in found - released if not name.startswith(NEXT)} == set()


def test_the_migration_in_the_making_is_what_the_tree_says() -> None:
    draft.load_tables()
    written = {path.name: path.read_text() for path in (VERSIONS / NEXT).glob("*.sql")}
    assert written == draft.texts(), "run python -m migrations.draft"


def test_the_migration_in_the_making_looks_through_no_table_that_may_be_large() -> None:
    """Every request waits for it; prepare.sql looks through them before, and keeps nobody out."""
    parts = [path for path in VERSIONS.rglob(f"{NEXT}*/*.sql") if "large" not in path.parent.name]
    parts += list(VERSIONS.glob(f"{NEXT}_*.*"))
    written = "\n".join(path.read_text() for path in parts)
    known = set(re.findall(r"^CREATE TABLE (\w+)", draft.frozen_text(), re.MULTILINE))
    assert known & set(re.findall(r"CREATE (?:UNIQUE )?INDEX \w+\s+ON (\w+)", written)) == set()
    assert "op.create_index" not in written
    assert "VALIDATE CONSTRAINT" not in written
    # A statement reads the list of all accounts that it may see: for each of them that is a square.
    assert re.search(r"SELECT account_watch\([^;]* FROM", written) is None


@pytest.mark.parametrize("refused", [LockNotAvailable, DeadlockDetected])
def test_a_migration_begins_anew_if_others_keep_its_tables(
    monkeypatch: pytest.MonkeyPatch, refused: type[OperationalError]
) -> None:
    monkeypatch.setattr(prepare, "PAUSE_SECONDS", 0)
    errors = [refused()]

    def work() -> None:
        if errors:
            raise errors.pop()

    prepare.until_free(work)
    assert errors == []


def test_functions_that_checks_of_tables_call_are_made_before_the_tables() -> None:
    draft.load_tables()
    checks = " ".join(
        str(one.sqltext)
        for table in metadata.tables.values()
        for one in table.constraints
        if isinstance(one, CheckConstraint)
    )
    ours = {path.stem for path in sql.files()}
    assert ours & set(re.findall(r"\w+", checks)) == draft.CHECKING


def test_a_file_of_the_tree_holds_whole_statements() -> None:
    """Nothing stands before the first CREATE but comments, or the draft would lose it."""
    for path in sql.files():
        before = path.read_text().partition("CREATE ")[0].splitlines()
        assert [line for line in before if line and not line.startswith("--")] == [], path
        assert sql.statements(path.read_text()), path
