"""A session that blocks others is named and ended; a right that was taken away is given again."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text

from billing.core.database import open_database
from billing.core.database_room import role_limits, taken
from billing.insight.locks import store
from devstack.stack import dsn
from migrations import draft, rights
from tests.integration.actors import Actors, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.locked import other_session
from tests.integration.rebuild.conftest import billing

TABLE = "issuer_logos"


@asynccontextmanager
async def locked(actors: Actors, table: str = TABLE) -> AsyncIterator[int]:
    """The table is locked by a session of the owner that does nothing; its PID."""
    holder = await psycopg.AsyncConnection.connect(dsn(actors.stack.owner_url))
    try:
        await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield holder.info.backend_pid
    finally:
        await holder.close()


async def test_a_session_that_blocks_others_is_named_and_ended(actors: Actors) -> None:
    async with locked(actors) as pid:
        waiter = asyncio.create_task(actors.sql(f"SELECT count(*) FROM {TABLE}"))

        async def told() -> str:
            _, said = await billing(actors, "locks", "list")
            return said

        said = await wait_for(told, "somebody waits", lambda found: "1 session at" in found)
        assert f"PID {pid} of billing_owner" in said
        words = rf"is idle in transaction for \d+ s and blocks 1 session at {TABLE}"
        assert re.search(words, said), said
        code, said = await billing(actors, "doctor")
        assert code == 1
        assert f"locks PID {pid} of billing_owner" in " ".join(said.split())

        code, said = await billing(actors, "locks", "end", "1", "--reason", "a slip")
        assert (code, "PID 1 blocks nobody" in said) == (1, True), said
        assert not waiter.done()
        code, said = await billing(actors, "locks", "end", str(pid), "--reason", "it was forgotten")
        assert (code, said.startswith(f"ended: PID {pid}")) == (0, True), said
        await asyncio.wait_for(waiter, 10)
    (row,) = await actors.sql(
        "SELECT actor, detail FROM billing_audit WHERE action = 'session.ended'"
        " ORDER BY id DESC LIMIT 1"
    )
    assert (row["actor"], row["detail"]["reason"]) == ("operator:locks", "it was forgotten")


async def test_doctor_names_the_session_that_its_own_look_at_the_books_waits_for(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-10T10:00:00Z")
    await customer.bought("small")
    async with locked(actors, "credit_lots") as pid:
        code, said = await billing(actors, "doctor")
    assert (code, f"locks PID {pid} of billing_owner" in " ".join(said.split())) == (1, True), said


async def test_a_table_that_is_locked_by_somebody_idle_is_told_before_anybody_waits(
    actors: Actors,
) -> None:
    async with (
        open_database(stack_settings(actors.stack)) as database,
        locked(actors) as pid,
        database.operator() as connection,
    ):
        assert await store.sees_all(connection)
        (found,) = [one for one in await store.blockers(connection) if one.pid == pid]
    assert (found.waiting, found.place, found.state) == (0, TABLE, "idle in transaction")


async def test_a_table_that_is_locked_by_somebody_at_work_is_told_between_two_waiters(
    actors: Actors,
) -> None:
    holder = await psycopg.AsyncConnection.connect(dsn(actors.stack.owner_url))
    try:
        await holder.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE".encode())
        working = asyncio.create_task(holder.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        pid = holder.info.backend_pid
        _, said = await billing(actors, "locks", "list")
        assert re.search(rf"PID {pid} of billing_owner .*is active .* blocks {TABLE}", said), said
        code, said = await billing(actors, "locks", "end", str(pid), "--reason", "it was forgotten")
        assert (code, said.startswith(f"ended: PID {pid}")) == (0, True), said
        with pytest.raises(psycopg.errors.AdminShutdown):
            await working
    finally:
        await holder.close()


async def test_a_session_that_is_idle_in_a_transaction_is_told_before_anybody_waits(
    actors: Actors,
) -> None:
    long = timedelta(milliseconds=50)
    url = dsn(actors.stack.owner_url)
    writer, reader = [await psycopg.AsyncConnection.connect(url) for _ in range(2)]
    writes, reads = writer.info.backend_pid, reader.info.backend_pid
    try:
        await writer.execute("UPDATE issuers SET name = name")
        await reader.execute(f"SELECT 1 FROM {TABLE}".encode())
        await asyncio.sleep(0.1)
        async with (
            open_database(stack_settings(actors.stack)) as database,
            database.operator() as connection,
        ):
            found = {one.pid: one for one in await store.blockers(connection, long)}
            later = {one.pid for one in await store.blockers(connection)}
    finally:
        await writer.close()
        await reader.close()
    held, read = found[writes], found[reads]
    assert (held.holds, held.place, held.waiting) == ("rows", "issuers", 0)
    assert (read.holds, read.place) == ("reads", TABLE)
    assert not later & {held.pid, read.pid}, "within their time"


async def test_a_right_that_is_gone_is_named_and_given_again(actors: Actors) -> None:
    await actors.sql(f"REVOKE INSERT ON {TABLE} FROM billing_app")
    try:
        code, said = await billing(actors, "doctor")
        words = f"billing_app lacks INSERT on {TABLE}"
        assert (code, words in " ".join(said.split())) == (1, True), said
        code, said = await billing(actors, "migrate")
        assert (code, f"{words}: given again" in said) == (0, True), said
        code, said = await billing(actors, "migrate")
        assert (code, said.strip()) == (0, "database is at 0002"), said
    finally:
        await actors.sql(f"GRANT INSERT ON {TABLE} TO billing_app")


async def test_a_role_whose_connections_are_limited_is_named(actors: Actors) -> None:
    async with open_database(stack_settings(actors.stack)) as database:
        async with database.operator() as connection:
            assert await role_limits(connection) == {}
        await _limit(actors, 90)
        try:
            async with database.operator() as connection:
                assert await role_limits(connection) == {"app": 90}
        finally:
            await _limit(actors, -1)


async def test_connections_that_are_open_are_counted_by_role(actors: Actors) -> None:
    async with (
        other_session(actors.stack) as other,
        open_database(stack_settings(actors.stack)) as database,
        database.operator() as connection,
    ):
        found = await taken(connection)
        assert found[other.info.user] >= 1
    assert found["billing_operator"] >= 1


async def _limit(actors: Actors, connections: int) -> None:
    await actors.sql(f"ALTER ROLE billing_app CONNECTION LIMIT {connections}")


@pytest.mark.parametrize("role", draft.ROLES)
async def test_rights_that_are_told_by_the_migrations_are_those_that_roles_have(
    actors: Actors, role: str
) -> None:
    async with (
        open_database(stack_settings(actors.stack)) as database,
        database.operator() as connection,
    ):
        assert await connection.run_sync(rights.missing) == []
        rows = await connection.execute(
            text(
                "SELECT c.relname, p.name FROM pg_class AS c,"
                " unnest(CAST(:rights AS text[])) AS p(name)"
                " WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition"
                " AND c.relnamespace = 'public'::regnamespace"
                " AND has_table_privilege(:role, c.oid, p.name)"
            ),
            {"rights": list(rights.OF_TABLES), "role": role},
        )
        found = {(name, right) for name, right in rows}
    told = {
        (one.name, one.right)
        for one in rights.wanted({name for name, _ in found})
        if one.role == role and one.kind == "TABLE"
    }
    assert told == found


KEPT = (
    "coupons", "default_plan", "discounts", "migration_requests", "tax_profiles",
    "trial_identities", "usage_alerts",
)  # fmt: skip


@pytest.mark.parametrize("role", draft.ROLES)
@pytest.mark.parametrize("table", KEPT)
async def test_no_role_deletes_rows_that_no_program_deletes(
    actors: Actors, role: str, table: str
) -> None:
    """Without its identities a shop that moved would get its trial again."""
    asked = "SELECT has_table_privilege(%(role)s, %(table)s, 'DELETE') AS may"
    assert await actors.sql(asked, role=role, table=table) == [{"may": False}]
