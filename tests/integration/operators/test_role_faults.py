"""Roles that see more or less than they should, and sessions without triggers, are named."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from api.app import create_app
from billing.core.database import Database, open_database
from billing.insight.health import store
from billing.insight.health.schemas import Sign
from cli import doctor_checks
from devstack.stack import StackInfo, dsn
from migrations import rights
from tests.integration.api_app import Api, stack_settings

BLIND, SEEING = "blind_operator", "seeing_app"
ROLES = {BLIND: "NOBYPASSRLS IN ROLE billing_operator", SEEING: "BYPASSRLS IN ROLE billing_app"}


@pytest.fixture
def urls(stack: StackInfo) -> Iterator[dict[str, str]]:
    """Roles like ours, each with one attribute altered; the stack's own roles stay."""
    with psycopg.connect(dsn(stack.superuser_url), autocommit=True) as superuser:
        for name, attributes in ROLES.items():
            superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' {attributes}".encode())
        try:
            yield {name: as_role(stack.app_url, name) for name in ROLES}
        finally:
            for name in ROLES:
                superuser.execute(f"DROP ROLE {name}".encode())


def as_role(url: str, name: str) -> str:
    """The same server and database, another role."""
    return make_url(url).set(username=name, password="x").render_as_string(hide_password=False)


@asynccontextmanager
async def patient(stack: StackInfo, **urls: str) -> AsyncIterator[Any]:
    settings = stack_settings(stack, **urls)
    async with open_database(settings) as database:
        yield SimpleNamespace(database=database, settings=settings)


async def rights_of(stack: StackInfo, **urls: str) -> Sign:
    async with patient(stack, **urls) as examined:
        (sign,) = await doctor_checks.rights(examined)
    return sign


async def test_an_operators_role_that_does_not_see_all_is_named(
    stack: StackInfo, urls: dict[str, str]
) -> None:
    assert (await rights_of(stack)).state == "healthy"
    sign = await rights_of(stack, database_operator_url=urls[BLIND])
    assert sign.state == "unhealthy"
    assert (
        "the role blind_operator of DATABASE_OPERATOR_URL does not bypass row-level security"
        in sign.words
    )
    assert "as the superuser run ALTER ROLE billing_operator BYPASSRLS" in sign.words


async def test_an_apps_role_that_sees_all_is_named(stack: StackInfo, urls: dict[str, str]) -> None:
    sign = await rights_of(stack, database_url=urls[SEEING])
    assert sign.state == "unhealthy"
    assert "the role seeing_app of DATABASE_URL bypasses row-level security" in sign.words
    assert "as the superuser run ALTER ROLE billing_app NOSUPERUSER NOBYPASSRLS" in sign.words


async def test_one_role_for_all_is_named_where_it_does_not_see_all(
    stack: StackInfo, urls: dict[str, str]
) -> None:
    """Outside of production one role may serve customers and operators."""
    both = dict.fromkeys(("database_url", "database_operator_url"), stack.operator_url)
    assert (await rights_of(stack, **both)).state == "healthy"
    both = dict.fromkeys(("database_url", "database_operator_url"), urls[BLIND])
    assert "does not bypass row-level security" in (await rights_of(stack, **both)).words


async def test_a_role_that_does_not_see_all_is_refused_rows_instead_of_seeing_none(
    api: Api, urls: dict[str, str]
) -> None:
    await api.new_account()
    settings = stack_settings(api.stack, database_operator_url=urls[BLIND])
    async with open_database(settings) as database:
        with pytest.raises(ProgrammingError, match="affected by row-level security"):
            await counted(database)
        async with database.operator() as connection:
            figures = await store.look(connection)
        transport = httpx2.ASGITransport(create_app(settings, database), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            answer = await client.get("/api/v1/admin/accounts", headers=api.admin())
    assert {"halted", "overdue", "held", "charges"} <= set(figures.uncounted)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")


async def counted(database: Database) -> Any:
    async with database.operator() as connection:
        return await connection.scalar(text("SELECT count(*) FROM accounts"))


@contextmanager
def altered(stack: StackInfo) -> Iterator[Connection]:
    """A transaction of the superuser in which both roles are wrong; nothing is left of it."""
    engine = create_engine(stack.superuser_url)
    with engine.connect() as connection:
        connection.execute(text("ALTER ROLE billing_operator NOBYPASSRLS"))
        connection.execute(text("ALTER ROLE billing_app BYPASSRLS"))
        yield connection
        connection.rollback()
    engine.dispose()


def test_a_migration_restores_the_attributes_where_it_may(stack: StackInfo) -> None:
    with altered(stack) as superuser:
        assert rights.alter_again(superuser) == [
            ("billing_app bypasses row-level security: altered again", True),
            ("billing_operator does not bypass row-level security: altered again", True),
        ]
        assert rights.alter_again(superuser) == []


def test_a_migration_names_the_attributes_that_only_a_superuser_alters(stack: StackInfo) -> None:
    with altered(stack) as superuser:
        superuser.execute(text("SET LOCAL ROLE billing_owner"))
        (app, app_done), (operator, operator_done) = rights.alter_again(superuser)
        assert not app_done
        assert not operator_done
        assert app.startswith(
            "billing_app bypasses row-level security: as the superuser run"
            " ALTER ROLE billing_app NOSUPERUSER NOBYPASSRLS"
        )
        assert operator.startswith(
            "billing_operator does not bypass row-level security: as the superuser run"
            " ALTER ROLE billing_operator BYPASSRLS"
        )
        assert len(rights.alter_again(superuser)) == 2, "the transaction goes on"


async def test_a_connection_without_triggers_and_foreign_keys_is_named(
    stack: StackInfo, urls: dict[str, str]
) -> None:
    for setting, name in (("database_url", SEEING), ("database_operator_url", BLIND)):
        with psycopg.connect(dsn(stack.superuser_url), autocommit=True) as superuser:
            superuser.execute(f"ALTER ROLE {name} SET session_replication_role = replica".encode())
        async with patient(stack, **{setting: urls[name]}) as examined:
            (sign,) = await doctor_checks.walls(examined)
        assert sign.state == "unhealthy"
        assert sign.words.startswith(
            f"no trigger and no foreign key holds what {name} of {setting.upper()} writes"
        )
    async with patient(stack) as examined:
        (sign,) = await doctor_checks.walls(examined)
    assert sign.state == "healthy"
