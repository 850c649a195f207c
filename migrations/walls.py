"""Walls of the tables, and which of them are missing.

A wall is a constraint, an index, a trigger, a policy, or the row-level security that it needs. The
first two are read from the tables, the others from the migrations' statements, in order.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, Constraint, ForeignKeyConstraint, Index, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex

from billing.core.database import metadata
from migrations.draft import ddl, load_tables, scripts
from migrations.repairs import Repair, refusal

_NAMES: Final = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_STATEMENT: Final = re.compile(
    r"^ *(?P<verb>CREATE|ALTER|DROP) (?:OR REPLACE )?(?P<kind>TRIGGER|POLICY) (?:IF EXISTS )?"
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
        SELECT t.tgname FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A')
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
    """One wall of one table; `made_by` creates it, and replaces one that is not valid."""

    table: str
    name: str
    made_by: tuple[str, ...]

    @property
    def words(self) -> str:
        """The text for an operator."""
        return f"{self.table} lacks {self.name}"


def wanted() -> list[Wall]:
    """Return all walls of this release's tables; foreign keys come after what they refer to, also
    where two tables refer to each other.
    """
    load_tables()
    parts = [(table, one) for table in metadata.sorted_tables for one in _parts(table)]
    parts.sort(key=lambda it: isinstance(it[1], ForeignKeyConstraint))
    walls = [_wall(table, one) for table, one in parts]
    told = guards("\n".join(scripts()))
    return walls + [one for one in told if one.table in metadata.tables]


def _parts(table: Table) -> Iterable[Constraint | Index]:
    """Return the named constraints, and the indexes."""
    return [*(one for one in table.constraints if one.name is not None), *table.indexes]


def _wall(table: Table, part: Constraint | Index) -> Wall:
    if isinstance(part, Index):
        name = _NAMES.format_index(part)
        return Wall(table.name, name, (f"DROP INDEX IF EXISTS {name}", ddl(CreateIndex(part))))
    name = str(_NAMES.format_constraint(part))
    return Wall(table.name, name, (ddl(AddConstraint(part)),))


def guards(script: str) -> list[Wall]:
    """Return triggers and policies after these statements; a policy adds its row-level security."""
    found: dict[tuple[str, str], Wall] = {}
    for told in _STATEMENT.finditer(script):
        table, name = told["table"], told["name"]
        if told["verb"] == "DROP":
            found.pop((table, name), None)
            continue
        clear = f"DROP {told['kind']} IF EXISTS {name} ON {table}"
        make = told[0].strip().replace("ALTER", "CREATE", 1)
        found[table, name] = Wall(table, name, (clear, make))
        if told["kind"] == "POLICY":
            security = f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
            found[table, _SECURITY] = Wall(table, _SECURITY, (security,))
    return list(found.values())


def missing(connection: Connection) -> list[Wall]:
    """Return walls that are missing, not valid, or switched off."""
    walls = wanted()
    rows = connection.execute(
        _FOUND, {"tables": sorted({one.table for one in walls}), "security": _SECURITY}
    )
    found = {(row.relname, row.name) for row in rows}
    return [one for one in walls if (one.table, one.name) not in found]


def put_up_again(connection: Connection) -> list[Repair]:
    """Create missing walls, as the owner; return an outcome for each."""
    told = []
    for wall in missing(connection):
        if (reason := refusal(connection, *wall.made_by)) is None:
            told.append(Repair(f"{wall.words}: put up again"))
        else:
            words = f"{wall.words}: cannot be put up again: {reason}"
            told.append(Repair(words, is_done=False))
    return told
