"""The second wall: whatever a query forgets, Postgres shows an account its own rows only."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import Column, Executable, Table, delete, func, insert, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from billing.core import ids, prepared
from billing.core.database import metadata
from migrations.draft import load_tables
from tests.integration.api_app import Api

load_tables()

TENANT_TABLES: Final = {
    name: table.info.get("tenant_key", "account_id")
    for name, table in metadata.tables.items()
    if "account_id" in table.c or "tenant_key" in table.info
}
TABLES: Final = sorted(TENANT_TABLES)

_FACTS: Final = text("""
    SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
           pg_get_userbyid(c.relowner) AS owner,
           array_agg(pg_get_expr(p.polqual, p.polrelid)) AS shown,
           array_agg(p.polpermissive) AS permissive
    FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
      AND NOT c.relispartition
    GROUP BY c.oid
""")
_WITH_ACCOUNT: Final = text("""
    SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
      AND NOT c.relispartition AND a.attname = 'account_id' AND NOT a.attisdropped
""")
# Partitions are reached through the table that they are parts of, under its policy.
_OPEN_PARTITIONS: Final = text("""
    SELECT c.relname FROM pg_class c
    CROSS JOIN (VALUES ('billing_app'), ('billing_operator')) AS roles(name)
    WHERE c.relispartition AND c.relkind = 'r'
      AND c.relnamespace = current_schema()::regnamespace AND (NOT c.relrowsecurity
        OR has_table_privilege(roles.name, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
""")
_ROLE: Final = text("""
    SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
           pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE relname = 'accounts'),
                       'MEMBER') AS owns
    FROM pg_roles WHERE rolname = current_user
""")


_CHECKS: Final = text("""
    SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', c.relname, k.conname)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relname = :name AND k.contype = 'c' AND c.relnamespace = current_schema()::regnamespace
""")
_SAMPLES: Final[dict[type, Any]] = {
    int: 1, bool: False, object: {}, list: [], bytes: b"", Decimal: Decimal(1),
    datetime: datetime(2026, 1, 1, tzinfo=UTC), date: date(2026, 1, 1),
}  # fmt: skip


@pytest.fixture
async def superuser(api: Api) -> AsyncIterator[AsyncConnection]:
    """One transaction that may do anything and leaves nothing behind."""
    engine = create_async_engine(api.stack.superuser_url)
    async with engine.connect() as connection:
        yield connection
        await connection.rollback()
    await engine.dispose()


async def test_every_table_with_an_account_has_a_forced_policy(
    superuser: AsyncConnection,
) -> None:
    facts = {row.name: row for row in await superuser.execute(_FACTS)}
    in_database = set((await superuser.execute(_WITH_ACCOUNT)).scalars())
    assert in_database | {"accounts"} == set(TENANT_TABLES)
    for name, key in TENANT_TABLES.items():
        fact = facts[name]
        assert fact.enabled, name
        assert fact.forced, name
        assert len(fact.shown) == 1, f"{name}: one policy; permissive ones would add up"
        searched = rf"strpos\(NULLIF\(current_setting\(.*\({key}\)::text\) > 0"
        listed = rf"\b{key} = ANY |\({key}\)::text IN |{searched}"
        assert re.search(listed, fact.shown[0]), name
        assert "app.accounts" in fact.shown[0], name
        assert "NULLIF" in fact.shown[0], f"{name}: an empty setting must show nothing"


async def test_no_role_reaches_a_partition_by_its_own_name(superuser: AsyncConnection) -> None:
    assert (await superuser.execute(_OPEN_PARTITIONS)).scalars().all() == []


async def test_the_app_role_has_no_way_around_policies(api: Api) -> None:
    async with api.database.tenant() as connection:
        role = (await connection.execute(_ROLE)).mappings().one()
    assert dict(role) == dict.fromkeys(role, False)


async def test_the_operator_role_sees_all_and_owns_nothing(api: Api) -> None:
    async with api.database.operator() as connection:
        role = (await connection.execute(_ROLE)).mappings().one()
    assert role["rolbypassrls"]
    assert not role["rolsuper"]
    assert not role["owns"]


@pytest.mark.parametrize("name", TABLES)
async def test_an_account_sees_and_touches_no_rows_but_its_own(
    superuser: AsyncConnection, name: str
) -> None:
    """A row of each of two accounts is planted, then the app role looks and tries."""
    table, key = metadata.tables[name], metadata.tables[name].c[TENANT_TABLES[name]]
    own, foreign = ids.new(), ids.new()
    await plant(superuser, table, own, foreign)
    await superuser.execute(text("SET LOCAL ROLE billing_app"))
    for visible in ({own}, {foreign}, {own, foreign}, set()):
        await act_for(superuser, *visible)
        assert set((await superuser.execute(select(key))).scalars()) == visible
    await act_for(superuser, own)
    for statement in (
        update(table).where(key == foreign).values({key.name: own}),
        delete(table).where(key == foreign),
    ):
        assert await touched(superuser, statement) == 0
    moved = update(table).where(key == own).values({key.name: foreign})
    assert await touched(superuser, moved) == 0, "nor is a row handed to another account"
    assert await touched(superuser, insert(table).values(filled(table, foreign))) == 0


async def test_a_pooled_connection_forgets_whose_it_was(api: Api) -> None:
    account_id = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    accounts = metadata.tables["accounts"]
    for _ in range(50):
        async with api.database.tenant(account_id) as connection:
            assert await connection.scalar(select(func.count()).select_from(accounts)) == 1
        async with api.database.tenant() as connection:
            assert await connection.scalar(select(func.count()).select_from(accounts)) == 0


async def test_a_glance_shows_one_account_to_each_of_its_answers(api: Api) -> None:
    own = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    foreign = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    names = prepared.Prepared(select(metadata.tables["accounts"].c.id))
    for _ in range(50):
        async with api.database.glancing(own) as connection:
            assert await prepared.answers(connection, (names, {}), (names, {})) == [
                [{"id": own}], [{"id": own}],
            ]  # fmt: skip
            assert await prepared.answers(connection, (names, {})) == [[{"id": own}]]
            assert await names.all(connection) == [], "any other statement"
        async with api.database.tenant_statement() as connection:
            assert await names.all(connection) == [], "the connection forgets whose it was"
        async with api.database.glancing(foreign) as connection:
            assert await prepared.last_of(connection, (names, {})) == [{"id": foreign}]


async def test_a_decision_begins_with_its_first_answers(api: Api) -> None:
    own = ids.decode(ids.ACCOUNT, (await api.new_account())["id"])
    names = prepared.Prepared(select(metadata.tables["accounts"].c.id))
    named = prepared.Prepared(text("UPDATE accounts SET name = :name RETURNING name"))
    read = prepared.Prepared(select(metadata.tables["accounts"].c.name))
    async with api.database.deciding(own) as connection:
        assert await names.all(connection) == [], "a statement before them"
        assert await prepared.last_of(connection, (names, {})) == [{"id": own}]
        assert await named.all(connection, name="kept") == [{"name": "kept"}]

    async def refused() -> None:
        async with api.database.deciding(own) as connection:
            await prepared.last_of(connection, (named, {"name": "undone"}))
            raise LookupError

    with pytest.raises(LookupError):
        await refused()
    async with api.database.deciding(own):
        pass  # nothing began
    async with api.database.tenant_statement() as connection:
        assert await names.all(connection) == [], "the connection forgets whose it was"
    async with api.database.glancing(own) as connection:
        assert await prepared.last_of(connection, (read, {})) == [{"name": "kept"}]


async def test_nobody_can_name_an_account_that_is_no_id(api: Api) -> None:
    await api.new_account()
    async with api.database.tenant() as connection:
        await connection.execute(text("SELECT set_config('app.accounts', '*', true)"))
        assert (await connection.execute(select(metadata.tables["accounts"]))).all() == []


async def plant(connection: AsyncConnection, table: Table, *account_ids: UUID) -> None:
    """A row of each account, whatever the table's own rules; all of it is rolled back."""
    await connection.execute(text("SET LOCAL session_replication_role = replica"))
    checks = await connection.execute(_CHECKS, {"name": table.name})
    for statement in checks.scalars().all():
        await connection.execute(text(statement))
    for account_id in account_ids:
        await connection.execute(insert(table).values(filled(table, account_id)))


async def act_for(connection: AsyncConnection, *account_ids: UUID) -> None:
    """Begin a transaction as `Database.tenant` does."""
    accounts = ",".join(map(str, account_ids))
    await connection.execute(
        text("SELECT set_config('app.accounts', :accounts, true)"), {"accounts": accounts}
    )


async def touched(connection: AsyncConnection, statement: Executable) -> int:
    """Number of rows a statement changed: zero when Postgres refuses it outright."""
    try:
        async with connection.begin_nested():
            return (await connection.execute(statement)).rowcount
    except ProgrammingError as error:
        if "row-level security" in str(error) or "permission denied" in str(error):
            return 0
        raise


def filled(table: Table, account_id: UUID) -> dict[str, Any]:
    """Values for every column that needs one."""
    values: dict[str, Any] = {}
    for column in table.c:
        needed = column.primary_key or not (column.nullable or column.server_default)
        if needed and not column.identity:
            values[column.name] = _value(column)
    return values | {TENANT_TABLES[table.name]: account_id}


def _value(column: Column[Any]) -> Any:
    kind = column.type.python_type
    if kind is UUID:
        return ids.new()
    if kind is str:
        return f"planted-{ids.new()}"
    return _SAMPLES[kind]
