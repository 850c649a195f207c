"""Checks of a process's database roles and sessions.

Production does not start with a role that could disable row-level security (a superuser, a role
that bypasses it, an owner of tables), nor with an operator's role that it would hide rows from.
"""

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.core.settings import PRODUCTION, Settings

HOLD_APP: Final = "ALTER ROLE billing_app NOSUPERUSER NOBYPASSRLS"
SHOW_ALL: Final = "ALTER ROLE billing_operator BYPASSRLS"
"""The attributes of the programs' roles, as migrations/roles.sql has made them: row-level security
holds one, and the other sees all rows.
"""
_BE_HELD: Final = f"name billing_app there, or as the superuser run {HOLD_APP}"
SEE_ALL: Final = f"name billing_operator there, or as the superuser run {SHOW_ALL}"
"""The cure where row-level security hides rows from the operators' role."""
# Rights of roles that it may become count too: `SET ROLE` would grant them.
_RIGHTS: Final = text(
    """
    SELECT current_user AS name, bool_or(role.rolsuper) AS is_superuser,
        bool_or(role.rolbypassrls) AS bypasses,
        -- A member does not inherit this attribute: it must have it itself.
        bool_or(role.rolname = current_user AND (role.rolsuper OR role.rolbypassrls)) AS sees_all,
        bool_or(EXISTS (
            SELECT FROM pg_class t
            WHERE t.relowner = role.oid AND t.relkind IN ('r', 'p')
                AND t.relnamespace = to_regnamespace(current_schema())
        )) AS owns
    FROM pg_roles role WHERE pg_has_role(role.oid, 'MEMBER')
    """
)
_TRIGGERS: Final = text(
    "SELECT current_user AS name, current_setting('session_replication_role') AS setting"
)


async def refuse_unsafe_roles(settings: Settings, database: Database) -> None:
    """End a production process whose roles have too many rights; list all faults."""
    if settings.env != PRODUCTION:
        return
    try:
        found = await role_faults(database)
    except (DBAPIError, OSError) as error:
        raise SystemExit(
            "ENV=production: the rights of the database roles cannot be checked:"
            " Postgres does not answer at DATABASE_URL or DATABASE_OPERATOR_URL"
        ) from error
    if found:
        raise SystemExit("\n".join(f"ENV=production: {fault}" for fault in found))


async def role_faults(database: Database) -> list[str]:
    """Return all faults of these pools' roles. The operator's role bypasses row-level security,
    because it reads all accounts.
    """
    async with database.tenant_statement() as connection:
        app = await _rights(connection)
    async with database.operator_statement() as connection:
        operator = await _rights(connection)
    faults = [_sentence("DATABASE_URL", app, fault) for fault in _of_reader(app)]
    async with database.reading() as connection:
        # While the replica is away, this is the primary.
        if connection.engine is database.replica_engine:
            reader = await _rights(connection)
            faults += [_sentence("REPLICA_DATABASE_URL", reader, it) for it in _of_reader(reader)]
    return faults + [
        _sentence("DATABASE_OPERATOR_URL", operator, fault) for fault in _of_operator(operator)
    ]


async def blind_operator(database: Database) -> list[str]:
    """Return the fault of an operator's role that row-level security hides rows from: all that one
    role for customers and operators must have.
    """
    async with database.operator_statement() as connection:
        operator = await _rights(connection)
    return [_sentence("DATABASE_OPERATOR_URL", operator, it) for it in _too_little(operator)]


async def without_triggers(database: Database) -> list[str]:
    """Return a sentence for each pool in whose sessions no trigger and no foreign key acts."""
    found = []
    for name, begin in (
        ("DATABASE_URL", database.tenant_statement),
        ("DATABASE_OPERATOR_URL", database.operator_statement),
    ):
        async with begin() as connection:
            session = (await connection.execute(_TRIGGERS)).one()
        if session.setting == "replica":
            found.append(
                f"no trigger and no foreign key holds what {session.name} of {name} writes:"
                " session_replication_role is replica"
            )
    return found


def _of_reader(role: Row[Any]) -> tuple[str, ...]:
    """Return the faults of a role that may see only the accounts that are named to it."""
    bypasses = role.bypasses and not role.is_superuser
    seen = f"bypasses row-level security: {_BE_HELD}"
    return (*((seen,) if bypasses else ()), *_too_much(role))


def _of_operator(role: Row[Any]) -> tuple[str, ...]:
    return _too_much(role) or _too_little(role)


def _too_little(role: Row[Any]) -> tuple[str, ...]:
    return () if role.sees_all else (f"does not bypass row-level security: {SEE_ALL}",)


def _too_much(role: Row[Any]) -> tuple[str, ...]:
    fault = "is a superuser" if role.is_superuser else "owns tables" if role.owns else None
    return (f"{fault}: see migrations/roles.sql",) if fault else ()


def _sentence(name: str, role: Row[Any], fault: str) -> str:
    return f"the role {role.name} of {name} {fault}"


async def _rights(connection: AsyncConnection) -> Row[Any]:
    return (await connection.execute(_RIGHTS)).one()
