"""Walls of the tables, and which of them somebody took down.

A wall is a constraint, an index, a trigger, a policy, or the row-level security that it needs. The
tables tell the first two; the statements of the migrations tell the others, in their order.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, Constraint, ForeignKeyConstraint, Index, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateIndex

from billing.core.database import metadata
from migrations.draft import ddl, load_tables, scripts

_NAMES: Final = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_STATEMENT: Final = re.compile(
    r"^ *(?P<verb>CREATE|DROP) (?:OR REPLACE )?(?P<kind>TRIGGER|POLICY) (?:IF EXISTS )?"
    r"(?P<name>\w+)\b[^;]*?\bON (?P<table>\w+)\b[^;]*;",
    re.MULTILINE,
)
_FOUND: Final = text(
    """
    SELECT c.relname, w.name
    FROM pg_class AS c
    CROSS JOIN LATERAL (
        SELECT s.conname FROM pg_constraint AS s WHERE s.conrelid = c.oid
        UNION ALL
        SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisvalid
        UNION ALL
        SELECT t.tgname FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled <> 'D'
        UNION ALL
        SELECT p.polname FROM pg_policy AS p WHERE p.polrelid = c.oid
        UNION ALL
        SELECT :security WHERE c.relrowsecurity AND c.relforcerowsecurity
    ) AS w(name)
    WHERE c.oid = to_regclass(c.relname) AND c.relname = ANY(:tables)
    """
)
_SECURITY: Final = "row-level security"


class Wall(NamedTuple):
    """One wall of one table; `made_by` puts it up, in place of one that does not hold."""

    table: str
    name: str
    made_by: tuple[str, ...]

    @property
    def words(self) -> str:
        """As an operator reads it."""
        return f"{self.table} lacks {self.name}"


def wanted() -> list[Wall]:
    """All that the tables of this release have."""
    load_tables()
    tables = metadata.sorted_tables
    walls = [_wall(table, one) for table in tables for one in _parts(table)]
    told = guards("\n".join(scripts()))
    return walls + [one for one in told if one.table in metadata.tables]


def _parts(table: Table) -> Iterable[Constraint | Index]:
    """Foreign keys come last: they stand on the others."""
    named = [one for one in table.constraints if one.name is not None]
    keys = [one for one in named if isinstance(one, ForeignKeyConstraint)]
    return [*(one for one in named if one not in keys), *table.indexes, *keys]


def _wall(table: Table, part: Constraint | Index) -> Wall:
    if isinstance(part, Index):
        name = _NAMES.format_index(part)
        return Wall(table.name, name, (f"DROP INDEX IF EXISTS {name}", ddl(CreateIndex(part))))
    name = str(_NAMES.format_constraint(part))
    return Wall(table.name, name, (ddl(AddConstraint(part)),))


def guards(script: str) -> list[Wall]:
    """Triggers and policies that are there after these statements; a policy brings its security."""
    found: dict[tuple[str, str], Wall] = {}
    for told in _STATEMENT.finditer(script):
        table, name = told["table"], told["name"]
        if told["verb"] == "DROP":
            found.pop((table, name), None)
            continue
        clear = f"DROP {told['kind']} IF EXISTS {name} ON {table}"
        found[table, name] = Wall(table, name, (clear, told[0].strip()))
        if told["kind"] == "POLICY":
            security = f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
            found[table, _SECURITY] = Wall(table, _SECURITY, (security,))
    return list(found.values())


def missing(connection: Connection) -> list[Wall]:
    """Walls that are not there, are not valid, or are switched off."""
    walls = wanted()
    rows = connection.execute(
        _FOUND, {"tables": sorted({one.table for one in walls}), "security": _SECURITY}
    )
    found = {(row.relname, row.name) for row in rows}
    return [one for one in walls if (one.table, one.name) not in found]


def put_up_again(connection: Connection) -> list[str]:
    """Put up what is missing, as the owner; answers in words what it did and could not do."""
    told = []
    for wall in missing(connection):
        try:
            with connection.begin_nested():
                for statement in wall.made_by:
                    connection.exec_driver_sql(statement)
        except DBAPIError as error:
            reason = str(error.orig).replace("\n", " ").strip()
            told.append(f"{wall.words}: cannot be put up again: {reason}")
        else:
            told.append(f"{wall.words}: put up again")
    return told
