"""Accounts of their own for tests of credits, on the run's database with the app's own roles."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from billing.accounts import service as accounts
from billing.accounts.schemas import AccountFields
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from embedded.stack import StackInfo

NewAccount = Callable[..., Awaitable[UUID]]


@pytest.fixture(scope="session")
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    """Both roles of the run's database, connected as the product connects."""
    opened = open_database(
        Settings.model_validate(
            {
                "database_url": stack.app_url,
                "database_operator_url": stack.operator_url,
                "BILLING_DATABASE_POOL_SIZE": 60,
            }
        )
    )
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def new_account(database: Database) -> NewAccount:
    """Makes an account; with `clock_at` a test account whose clock stands there."""

    async def make(*, clock_at: datetime | None = None, zone: str = "UTC") -> UUID:
        async with database.operator() as connection:
            account, _ = await accounts.upsert(
                connection,
                AccountFields(
                    external_id=f"credits-{uuid4()}",
                    clock_at=clock_at,
                    is_test=clock_at is not None,
                    zone=zone,
                ),
            )
        return account.id

    return make
