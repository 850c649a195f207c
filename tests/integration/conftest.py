"""The people of every story, on the run's one stack."""

from collections.abc import AsyncIterator
from functools import partial

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from api.app import create_app
from billing.core.database import Database, open_database
from devstack.stack import StackInfo
from workflows.client import connect

# Their assertions tell what they saw, as those of test modules do.
pytest.register_assert_rewrite(
    "tests.integration.actors",
    "tests.integration.waiting",
    "tests.integration.faults.flows",
    "tests.integration.faults.recovery_flows",
)
from tests.integration.actors import Actors, Customer, open_actors  # noqa: E402 (after that)
from tests.integration.api_app import Api, stack_settings  # noqa: E402
from tests.integration.credits.accounts import (  # noqa: E402
    NewAccount,
    open_account,
    open_pools,
)
from tests.integration.invariants_fixture import (  # noqa: E402
    books_agree,
    books_are_asked,
    test_begins,
)

__all__ = ["books_agree", "books_are_asked", "test_begins"]

POOL = 12


@pytest.fixture(scope="session")
async def actors(stack: StackInfo) -> AsyncIterator[Actors]:
    """Everybody who can act on the run's stack."""
    async with open_actors(stack) as everybody:
        yield everybody


@pytest.fixture
async def customer(actors: Actors) -> Customer:
    """A fresh account in real time."""
    return await actors.customer()


@pytest.fixture(scope="session")
async def api(stack: StackInfo) -> AsyncIterator[Api]:
    """The app in this process."""
    settings = stack_settings(stack)
    database = open_database(settings)
    app = create_app(settings, database, await connect(settings))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Api(app, client, stack)
    await database.close()


@pytest.fixture(scope="session")
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    """Both roles of the run's database, for what is asked of the product without its API."""
    opened = open_pools(stack, POOL)
    yield opened
    await opened.close()


@pytest.fixture
async def superuser(stack: StackInfo) -> AsyncIterator[AsyncConnection]:
    """One transaction that may do anything and leaves nothing behind."""
    engine = create_async_engine(stack.superuser_url)
    async with engine.connect() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        yield connection
        await connection.rollback()
    await engine.dispose()


@pytest.fixture(scope="session")
def new_account(database: Database) -> NewAccount:
    """Opens an account; with `clock_at` a test account whose clock stands there."""
    return partial(open_account, database)
