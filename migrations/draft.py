"""Writes the SQL of the next migration from the tree.

Run `python -m migrations.draft` after a change of a function, type or view in `billing/**/sql/`,
or of a table. Released SQL is frozen (releases.toml); the draft has the changes since. A changed
column is written by hand into the migration: a test compares the migrated database with the tables.
"""

import hashlib
import importlib
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from billing.core.database import metadata
from migrations import sql

HERE: Final = Path(__file__).parent
VERSIONS: Final = HERE / "versions"
RELEASES: Final = HERE / "releases.toml"
NEXT: Final = "0002"
"""The migration in the making."""
ROLES: Final = ("billing_app", "billing_operator")
"""The roles of the programs."""
# Statements on these touch a thousand accounts at once; searching a list of them for every row
# would cost more than the rows. They are compared as texts: every statement reads the list, and
# making ids of it costs more than texts of the rows' ids (2 to 4 % of Postgres's CPU for a batch).
_BATCHED: Final = frozenset(
    {
        "accounts", "billing_quotas", "billing_records", "capture_logs", "credit_balances",
        "credit_lots", "credit_transaction_lots", "credit_transactions", "price_overrides",
        "quota_claims", "usage_counters", "usage_periods",
    }
)  # fmt: skip
# Statements on these read a row or two: searching the list as text costs less than parsing it.
# No id is part of another, and a list has only ids and commas. On all tables this would save 5 to
# 7 % of Postgres's CPU for a single use and 3 % for a preview, but a statement on a thousand
# accounts would take 58 microseconds a row instead of 2.
_SINGLE: Final = frozenset({"quota_slices"})
# Checks of tables call these: they are created before tables and before prepare.sql runs.
CHECKING: Final = frozenset({"usage_void_id"})
# Created by prepare.sql, which fills them before the migration.
PREPARED: Final = frozenset({"capture_logs"})
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def load_tables() -> None:
    """Import every module that describes tables."""
    root = HERE.parent / "billing"
    for path in sorted(root.rglob("tables.py")):
        importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))


def releases() -> list[dict[str, Any]]:
    """Return version, commit and frozen files of every release."""
    return list(tomllib.loads(RELEASES.read_text())["release"])


def frozen_text() -> str:
    """Return the SQL of all released migrations."""
    names = [name for release in releases() for name in release["files"] if name.endswith(".sql")]
    return "\n".join((VERSIONS / name).read_text() for name in sorted(names))


def scripts() -> Iterable[str]:
    """Yield the texts of all migrations, in the order of their names, which is that of the
    migrations; within one, the order does not matter.
    """
    for path in sorted(VERSIONS.rglob("*")):
        if path.suffix in {".sql", ".py"}:
            yield path.read_text()


def ddl(statement: ExecutableDDLElement) -> str:
    """Return a statement on a table as SQL for Postgres."""
    return str(statement.compile(dialect=_DIALECT)).strip()


def digest(path: Path) -> str:
    """Return a file's digest as stored in releases.toml."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def functions_sql() -> str:
    """Return types, functions and views that no release has in this form."""
    new = _new_statements(lambda path: path.stem not in CHECKING)
    return sql.PREAMBLE + new if new else ""


def checking_sql() -> str:
    """Return new functions that checks of tables call."""
    return _new_statements(lambda path: path.stem in CHECKING)


def _new_statements(is_wanted: Callable[[Path], bool]) -> str:
    frozen = frozen_text()
    texts = [path.read_text() for path in sql.files() if is_wanted(path)]
    found = [one for text in texts for one in sql.statements(text) if one not in frozen]
    return "".join(f"\n{one}\n" for one in found)


def tables_sql() -> str:
    """Return CREATE TABLE and CREATE INDEX of unreleased tables, in order of dependency,
    without those that prepare.sql creates.
    """
    parts = []
    for table in _new_tables():
        if table.name in PREPARED:
            continue
        parts.append(f"{ddl(CreateTable(table))};")
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        parts += [f"{ddl(CreateIndex(one))};" for one in indexes]
    return "".join(f"{_tidy(part)}\n\n" for part in parts)


def rules_sql() -> str:
    """Return row-level security of new tenant tables, and triggers of append-only ledgers."""
    parts = []
    for table in _new_tables():
        column = _tenant_column(table)
        if column is not None:
            parts.append(_policy(table.name, column))
        if table.info.get("append_only"):
            parts.append(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name}\n"
                "    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
                f"REVOKE UPDATE, DELETE, TRUNCATE ON {table.name} FROM {_roles()};"
            )
    return "".join(f"{part}\n\n" for part in parts)


def _new_tables() -> list[Table]:
    old = set(re.findall(r"^CREATE TABLE (\w+)", frozen_text(), re.MULTILINE))
    return [table for table in metadata.sorted_tables if table.name not in old]


def _tenant_column(table: Table) -> str | None:
    if "tenant_key" in table.info:
        return str(table.info["tenant_key"])
    return "account_id" if "account_id" in table.c else None


def _policy(table: str, column: str) -> str:
    # A subquery is evaluated once per statement, not once per row: as an array, which an index can
    # be searched with, or as a hash table, in which the length of the list does not matter.
    texts = "string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')"
    if table in _SINGLE:
        seen = f"strpos(NULLIF(current_setting('app.accounts', true), ''), {column}::text) > 0"
    elif table in _BATCHED:
        seen = f"{column}::text IN (SELECT unnest({texts}))"
    else:
        seen = f"{column} = ANY ((SELECT {texts}::uuid[])::uuid[])"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n"
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;\n"
        f"CREATE POLICY tenant ON {table}\n    USING ({seen});"
    )


def _roles() -> str:
    return ", ".join(ROLES)


def _tidy(statement: str) -> str:
    return "\n".join(line.rstrip().replace("\t", "    ") for line in statement.splitlines())


def texts() -> dict[str, str]:
    """Return the files of the next migration, without empty ones."""
    drafted = {
        "checking.sql": checking_sql(), "tables.sql": tables_sql(),
        "functions.sql": functions_sql(), "rules.sql": rules_sql(),
    }  # fmt: skip
    return {name: text for name, text in drafted.items() if text}


def write(folder: Path = VERSIONS / NEXT) -> None:
    """Write the files to the folder that the migration reads."""
    load_tables()
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.sql"):
        old.unlink()
    for name, text in texts().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
