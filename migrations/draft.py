"""Writes the first migration's SQL from the tables as code describes them.

Run `python -m migrations.draft` while the first release is in the making; later changes are
migrations of their own, and a test compares the migrated database with the tables.
"""

import importlib
from pathlib import Path
from typing import Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from billing.core.database import metadata

HERE: Final = Path(__file__).parent
TABLES: Final = HERE / "sql" / "0001_tables.sql"
RULES: Final = HERE / "sql" / "0001_rules.sql"
# Statements on these touch a thousand accounts at once; to look through a list of them for every
# row would cost more than the rows.
_BATCHED: Final = frozenset(
    {
        "accounts", "billing_records", "credit_balances", "credit_lots", "credit_transaction_lots",
        "credit_transactions", "price_overrides", "usage_counters", "usage_periods",
    }
)  # fmt: skip
# Statements on these look at a row or two: a search of the list as a text costs less than to make
# anything of it. No id is part of another, and a list has nothing but ids and commas.
_SINGLE: Final = frozenset({"billing_quotas", "quota_claims"})
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def load_tables() -> None:
    """Import every module that describes tables."""
    root = HERE.parent / "billing"
    for path in sorted([*root.glob("*/tables.py"), *root.glob("core/*.py")]):
        importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))


def tables_sql() -> str:
    """CREATE TABLE and CREATE INDEX for everything, in order of dependency."""
    parts = []
    for table in metadata.sorted_tables:
        parts.append(f"{str(CreateTable(table).compile(dialect=_DIALECT)).strip()};")
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        parts += [f"{str(CreateIndex(one).compile(dialect=_DIALECT)).strip()};" for one in indexes]
    return "\n\n".join(_tidy(part) for part in parts) + "\n"


def rules_sql() -> str:
    """Row-level security of tenant tables, and the triggers that keep ledgers append-only."""
    parts = []
    for table in metadata.sorted_tables:
        column = _tenant_column(table)
        if column is not None:
            parts.append(_policy(table.name, column))
        if table.info.get("append_only"):
            parts.append(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name}\n"
                "    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
                f"REVOKE UPDATE, DELETE, TRUNCATE ON {table.name} FROM {_roles()};"
            )
    return "\n\n".join(parts) + "\n"


def _tenant_column(table: Table) -> str | None:
    if "tenant_key" in table.info:
        return str(table.info["tenant_key"])
    return "account_id" if "account_id" in table.c else None


def _policy(table: str, column: str) -> str:
    # A subquery is evaluated once per statement, not once per row: as an array, which an index can
    # be searched with, or as a hash table, in which the length of the list does not matter.
    listed = "string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[]"
    if table in _SINGLE:
        seen = f"strpos(NULLIF(current_setting('app.accounts', true), ''), {column}::text) > 0"
    elif table in _BATCHED:
        seen = f"{column} IN (SELECT unnest({listed}))"
    else:
        seen = f"{column} = ANY ((SELECT {listed})::uuid[])"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n"
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;\n"
        f"CREATE POLICY tenant ON {table}\n    USING ({seen});"
    )


def _roles() -> str:
    return "billing_app, billing_operator"


def _tidy(statement: str) -> str:
    return "\n".join(line.rstrip().replace("\t", "    ") for line in statement.splitlines())


if __name__ == "__main__":
    load_tables()
    TABLES.write_text(tables_sql())
    RULES.write_text(rules_sql())
