"""Rights that the migrations gave the programs' roles, which of them are missing, and whether
row-level security holds the right ones.

The rights are read from the migrations: each table starts with all four by the default privileges
of migrations/roles.sql, and the migrations' REVOKE and GRANT follow in order.
"""

import re
from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from billing.core.database import metadata
from billing.core.database_roles import HOLD_APP, SHOW_ALL
from migrations import sql
from migrations.draft import ROLES, load_tables, scripts
from migrations.repairs import NEEDS_OWNER, Repair, refusal

OF_TABLES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
OF_SEQUENCES: Final = ("USAGE", "SELECT")
_STATEMENT: Final = re.compile(
    r"^ *(?P<verb>GRANT|REVOKE) (?P<rights>[A-Z, ]+?) ON\s+(?P<function>FUNCTION )?"
    r"(?P<names>[\w\s,]+?)\s+(?:TO|FROM) (?P<roles>[\w, ]+);",
    re.MULTILINE,
)
_MISSING: Final = text(
    """
    SELECT w.kind, w.name, w.role, w.given
    FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[]), CAST(:roles AS text[]),
        CAST(:rights AS text[])) AS w(kind, name, role, given)
    JOIN pg_roles AS r ON r.rolname = w.role
    LEFT JOIN pg_class AS c ON c.oid = to_regclass(w.name)
    LEFT JOIN pg_proc AS f ON f.oid = to_regproc(w.name)
    WHERE CASE
        WHEN w.kind = 'FUNCTION' THEN NOT has_function_privilege(r.oid, f.oid, w.given)
        WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(r.oid, c.oid, w.given)
        ELSE NOT has_table_privilege(r.oid, c.oid, w.given)
    END
    ORDER BY w.name, w.role, w.given
    """
)
_SEQUENCES: Final = text(
    """
    SELECT s.relname FROM pg_class AS s
    JOIN pg_depend AS d ON d.objid = s.oid AND d.deptype IN ('a', 'i')
    JOIN pg_class AS t ON t.oid = d.refobjid
    WHERE s.relkind = 'S' AND t.oid = to_regclass(t.relname) AND t.relname = ANY(:tables)
    """
)


_ALTERED: Final = text(
    """
    SELECT rolname FROM pg_roles
    WHERE rolname = 'billing_app' AND (rolbypassrls OR rolsuper)
        OR rolname = 'billing_operator' AND NOT (rolbypassrls OR rolsuper)
    ORDER BY rolname
    """
)
_ATTRIBUTES: Final = {
    "billing_app": ("bypasses row-level security", HOLD_APP),
    "billing_operator": ("does not bypass row-level security", SHOW_ALL),
}


class Right(NamedTuple):
    """One right of one role."""

    kind: str
    name: str
    role: str
    right: str

    @property
    def words(self) -> str:
        """The text for an operator."""
        return f"{self.role} lacks {self.right} on {self.name}"


def wanted(tables: Iterable[str], sequences: Iterable[str] = ()) -> set[Right]:
    """Return all rights that the migrations gave on these tables and sequences."""
    given = {
        Right(kind, name, role, right)
        for kind, names, rights in (
            ("TABLE", tables, OF_TABLES),
            ("SEQUENCE", sequences, OF_SEQUENCES),
        )
        for name in names
        for role in ROLES
        for right in rights
    }
    known = {one.name for one in given}
    for verb, told in chain.from_iterable(map(statements, scripts())):
        if verb == "REVOKE":
            given -= told
        else:
            given |= {one for one in told if one.kind == "FUNCTION" or one.name in known}
    return given


def statements(script: str) -> Iterable[tuple[str, set[Right]]]:
    """Yield the GRANTs and REVOKEs of a script for our roles; function bodies do not match."""
    for found in _STATEMENT.finditer(script):
        kind = "FUNCTION" if found["function"] else "TABLE"
        yield (
            found["verb"],
            {
                Right(kind, name.strip(), role.strip(), right.strip())
                for name in found["names"].split(",")
                for role in found["roles"].split(",")
                if role.strip() in ROLES
                for right in found["rights"].split(",")
            },
        )


def missing(connection: Connection) -> list[Right]:
    """Return missing rights on the objects that this release uses."""
    load_tables()
    names = {"alembic_version", *metadata.tables, *_views()}
    sequences = connection.scalars(_SEQUENCES, {"tables": list(names)}).all()
    rights = sorted(wanted(names, sequences))
    rows = connection.execute(
        _MISSING,
        {
            "kinds": [one.kind for one in rights],
            "names": [one.name for one in rights],
            "roles": [one.role for one in rights],
            "rights": [one.right for one in rights],
        },
    )
    return [Right(row.kind, row.name, row.role, row.given) for row in rows]


def give_again(connection: Connection) -> list[Repair]:
    """Grant the missing rights, as the owner; return an outcome for each.

    Postgres only warns of a GRANT that gave nothing, so the rights are read again after it.
    """
    lacking = missing(connection)
    for one in lacking:
        refusal(connection, f"GRANT {one.right} ON {one.kind} {one.name} TO {one.role}")
    left = set(missing(connection)) if lacking else set()
    return [
        Repair(f"{one.words}: {NEEDS_OWNER}", is_done=False)
        if one in left
        else Repair(f"{one.words}: given again")
        for one in lacking
    ]


def alter_again(connection: Connection) -> list[Repair]:
    """Restore the attributes of the roles where this role may; return an outcome for each."""
    told = []
    for role in connection.scalars(_ALTERED).all():
        fault, alter = _ATTRIBUTES[role]
        if refusal(connection, alter) is None:
            told.append(Repair(f"{role} {fault}: altered again"))
        else:
            told.append(Repair(f"{role} {fault}: as the superuser run {alter}", is_done=False))
    return told


def _views() -> list[str]:
    return [path.stem for path in sql.files() if path.parent.name == "views"]
