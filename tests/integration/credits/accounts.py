"""Accounts of their own for tests of credits, with the product's verbs."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.ledger.credits import service
from billing.ledger.credits.schemas import Debit, Grant, Hold
from billing.platform.accounts.schemas import AccountFields
from devstack.stack import StackInfo
from tests.integration.broken_books import OF_ENTRIES, excuse
from tests.integration.credits import holding
from tests.integration.credits.books import Books, read_books

NewAccount = Callable[..., Awaitable["CreditAccount"]]


def open_pools(stack: StackInfo, size: int) -> Database:
    """Both roles of the run's database, connected as the product connects."""
    return open_database(
        Settings.model_validate(
            {
                "database_url": stack.app_url,
                "database_operator_url": stack.operator_url,
                "BILLING_DATABASE_POOL_SIZE": size,
            }
        )
    )


@dataclass(frozen=True)
class CreditAccount:
    """One account's credits; each verb is a transaction of its own."""

    database: Database
    id: UUID

    def __post_init__(self) -> None:
        excuse(self.id, OF_ENTRIES)

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.database.tenant(self.id)

    async def grant(self, amount: str, **more: Any) -> Grant:
        facts: dict[str, Any] = {
            "kind": "purchase",
            "key": f"test/{uuid4()}",
            "is_paid": True,
            "reason": "test",
        }
        async with self.transaction() as connection:
            return await service.grant(
                connection, account_id=self.id, amount=Decimal(amount), **(facts | more)
            )

    async def debit(self, amount: str, **more: Any) -> Debit:
        facts: dict[str, Any] = {"key": str(uuid4()), "reason": "test"}
        async with self.transaction() as connection:
            return await service.debit(
                connection, account_id=self.id, amount=Decimal(amount), **(facts | more)
            )

    async def hold(self, amount: str, **more: Any) -> Hold:
        facts: dict[str, Any] = {
            "key": str(uuid4()),
            "reason": "test",
            "expires_at": real_now().replace(year=real_now().year + 1),
        }
        async with self.transaction() as connection:
            return await holding.hold(
                connection, account_id=self.id, amount=Decimal(amount), **(facts | more)
            )

    async def allow_debt(self, overdraft: str) -> None:
        """Allow forced debits to leave this much owed."""
        async with self.transaction() as connection:
            await service.set_overdraft(connection, self.id, Decimal(overdraft))

    async def do(self, verb: Any, **facts: Any) -> Any:
        """Any other verb of the service."""
        async with self.transaction() as connection:
            return await verb(connection, account_id=self.id, **facts)

    async def books(self) -> Books:
        """The sums, which always agree."""
        async with self.transaction() as connection:
            books = await read_books(connection, self.id)
        assert books.agree(), books
        return books


async def open_account(
    database: Database, *, clock_at: datetime | None = None, zone: str = "UTC"
) -> CreditAccount:
    """A fresh account; with `clock_at` a test account whose clock stands there."""
    async with database.operator() as connection:
        account, _ = await service.open_account(
            connection,
            AccountFields(
                external_id=f"credits-{uuid4()}",
                clock_at=clock_at,
                is_test=clock_at is not None,
                zone=zone,
            ),
        )
    return CreditAccount(database, account.id)
