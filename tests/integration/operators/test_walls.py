"""A constraint, index, trigger or policy that somebody took down is named and put up again."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from devstack.options import ROOT
from devstack.stack import StackInfo
from migrations import walls
from tests.integration.scratch import migrate, scratch_database

NEEDS_OWNER = "this command needs the owner of the tables: set DATABASE_OWNER_URL"
KEY = "uq_skipped_numbers_series_first_number"
SKIPPED = (
    "INSERT INTO skipped_numbers (id, series, first_number, last_number, reason, at)"
    " VALUES (gen_random_uuid(), 'INV', 7, 7, 'lost', now())"
)
TAKEN = {
    ("credit_transactions", "append_only"): (
        "ALTER TABLE credit_transactions DISABLE TRIGGER append_only"
    ),
    ("invoices", "numbered_stays"): "DROP TRIGGER numbered_stays ON invoices",
    ("billing_audit", "append_only"): (
        "ALTER TABLE billing_audit ENABLE REPLICA TRIGGER append_only"
    ),
    ("events", "tenant"): "DROP POLICY tenant ON events",
    ("credit_balances", "tenant"): "DROP POLICY tenant ON credit_balances",
    ("usage_counters", "tenant"): "DROP POLICY tenant ON usage_counters",
    ("refunds", "row-level security"): "ALTER TABLE refunds NO FORCE ROW LEVEL SECURITY",
}


@pytest.fixture
def scratch(stack: StackInfo) -> Iterator[dict[str, str]]:
    with scratch_database(stack) as env:
        yield env


@pytest.fixture
def owner(scratch: dict[str, str]) -> Iterator[Connection]:
    engine = create_engine(scratch["DATABASE_OWNER_URL"], isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def lacking(owner: Connection) -> set[tuple[str, str]]:
    return {(one.table, one.name) for one in walls.missing(owner)}


def policies(owner: Connection) -> list[tuple[str, str]]:
    """Each table with a policy, and which rows that shows."""
    rows = owner.execute(text("SELECT tablename, qual FROM pg_policies ORDER BY tablename"))
    return [(table, shown) for table, shown in rows]


def unique_ones(owner: Connection) -> dict[tuple[str, str], str]:
    """Each unique wall, and the statement that takes it down."""
    rows = owner.execute(
        text(
            "SELECT t.relname, i.relname, c.oid IS NOT NULL FROM pg_index AS x"
            " JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid"
            " LEFT JOIN pg_constraint AS c ON c.conindid = i.oid AND c.contype = 'u'"
            " WHERE x.indisunique AND NOT x.indisprimary AND NOT t.relispartition"
            " AND t.relnamespace = 'public'::regnamespace"
        )
    )
    return {
        (table, name): f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE"
        if is_constraint
        else f"DROP INDEX {name}"
        for table, name, is_constraint in rows
    }


def test_every_wall_that_stands_is_known_and_every_known_one_stands(owner: Connection) -> None:
    assert lacking(owner) == set()
    known = {(one.table, one.name) for one in walls.wanted()}
    rows = owner.execute(
        text(
            "SELECT t.relname, w.name FROM pg_class AS t CROSS JOIN LATERAL ("
            " SELECT conname FROM pg_constraint WHERE conrelid = t.oid AND contype <> 'n'"
            " UNION SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid"
            "   WHERE x.indrelid = t.oid"
            " UNION SELECT tgname FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal"
            " UNION SELECT polname FROM pg_policy WHERE polrelid = t.oid) AS w(name)"
            " WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition"
            " AND t.relname NOT LIKE 'alembic%'"
        )
    )
    assert {(table, name) for table, name in rows} <= known


def test_what_was_taken_down_is_named_and_stands_again(
    owner: Connection, scratch: dict[str, str]
) -> None:
    unique, shown = unique_ones(owner), policies(owner)
    for statement in (*TAKEN.values(), *unique.values()):
        owner.execute(text(statement))
    found = lacking(owner)
    assert found >= {*TAKEN, *unique}
    assert any(name.startswith("fk_") for _, name in found), "keys that stood on them went too"

    migrate(scratch)
    assert lacking(owner) == set()
    assert policies(owner) == shown, "a policy is that of this release"


def test_a_wall_that_rows_forbid_is_told_and_the_others_stand(owner: Connection) -> None:
    owner.execute(text(f"ALTER TABLE skipped_numbers DROP CONSTRAINT {KEY}"))
    owner.execute(text("DROP TRIGGER numbered_is_kept ON invoices"))
    for _ in range(2):
        owner.execute(text(SKIPPED))

    with owner.engine.execution_options(isolation_level="READ COMMITTED").begin() as migration:
        told = walls.put_up_again(migration)
    forbidden, stands = sorted(told, reverse=True)
    assert forbidden.words.startswith(f"skipped_numbers lacks {KEY}: cannot be put up again: ")
    assert "is duplicated" in forbidden.words
    assert stands.words == "invoices lacks numbered_is_kept: put up again"
    assert (forbidden.is_done, stands.is_done) == (False, True)
    assert lacking(owner) == {("skipped_numbers", KEY)}


def migrated(env: dict[str, str], **settings: str) -> tuple[int, list[str]]:
    """The exit code of `billing migrate`, and its lines."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "migrate"],
        cwd=ROOT,
        env={**os.environ, **env, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


def may_update(owner: Connection) -> bool:
    query = text("SELECT has_table_privilege('billing_app', 'coupons', 'UPDATE')")
    return bool(owner.scalar(query))


def test_a_right_that_was_not_given_is_never_told_as_given(
    owner: Connection, scratch: dict[str, str]
) -> None:
    owner.execute(text("REVOKE UPDATE ON coupons FROM billing_app"))
    owner.execute(text("REVOKE ALL ON issuer_logos FROM billing_app"))
    for url in ("", scratch["DATABASE_URL"]):
        code, told = migrated(scratch, DATABASE_OWNER_URL=url)
        assert f"billing_app lacks UPDATE on coupons: {NEEDS_OWNER}" in told
        assert f"billing_app lacks SELECT on issuer_logos: {NEEDS_OWNER}" in told
        assert (code, told[-1], may_update(owner)) == (1, "database is at 0002", False)
    code, told = migrated(scratch)
    assert "billing_app lacks UPDATE on coupons: given again" in told
    assert (code, may_update(owner)) == (0, True)
    assert migrated(scratch, DATABASE_OWNER_URL="") == (0, ["database is at 0002"])


def test_a_migration_that_leaves_a_wall_down_ends_with_exit_code_1(
    owner: Connection, scratch: dict[str, str]
) -> None:
    owner.execute(text("ALTER TABLE invoices DROP CONSTRAINT uq_invoices_fact_key"))
    code, told = migrated(scratch, DATABASE_OWNER_URL="")
    down = f"invoices lacks uq_invoices_fact_key: cannot be put up again: {NEEDS_OWNER}"
    assert (code, told) == (1, [down, "database is at 0002"])
    assert migrated(scratch)[0] == 0

    owner.execute(text(f"ALTER TABLE skipped_numbers DROP CONSTRAINT {KEY}"))
    for _ in range(2):
        owner.execute(text(SKIPPED))
    code, told = migrated(scratch)
    assert (code, told[-1]) == (1, "database is at 0002")
    assert "cannot be put up again" in told[0]


def test_a_migration_of_an_older_database_without_its_owner_is_refused_in_one_sentence(
    owner: Connection, scratch: dict[str, str]
) -> None:
    owner.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert migrated(scratch, DATABASE_OWNER_URL="") == (1, [NEEDS_OWNER])
