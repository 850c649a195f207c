"""Authenticated requests, as handlers receive them: the caller, and the account to act for."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from api.identity.auth import Caller
from api.identity.tenants import Tenant
from api.services import Services
from api.shop_headers import NO_SHOP, check_platform, check_shop, named_shop
from billing.core import clock, context
from billing.core.database import Database
from billing.core.errors import Invalid, NotFound
from billing.core.settings import Settings
from billing.platform.accounts import store as accounts
from billing.platform.accounts.schemas import Account

NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request; this base class serves an operator without a particular account.

    `account` is the account that the request acts for.
    """

    caller: Caller
    services: Services
    account: Tenant | None = None

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings

    @property
    def database(self) -> Database:
        """The connection pools."""
        return self.services.database

    @property
    def temporal(self) -> Client:
        """The client for `workflows.start`. Raises 503 when this process has no client."""
        return self.services.temporal

    async def find_account(self, name: str) -> Account:
        """Find the account that an operator names by id or external id.

        Errors: MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
        """
        async with self.database.operator() as connection:
            return await account_named(connection, name)

    async def refuse_other_shop(self, account_id: UUID) -> None:
        """Refuse an object of an account that is not of the shop in the headers.

        Errors: PLATFORM_MISMATCH [A12].
        """
        if named_shop.get() != NO_SHOP:
            async with self.database.operator() as connection:
                check_shop(await accounts.get(connection, account_id))


@dataclass(frozen=True, slots=True)
class ReadCall(Call):
    """A read that answers zeros when the account is not known yet [A13]."""

    @property
    def account_id(self) -> UUID:
        """The account's id; for an unknown account an id that no row has."""
        return self.account.id if self.account else NOBODY

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that sees only this account's rows, and no rows without an account."""
        known = (self.account.id,) if self.account else ()
        return self.services.database.tenant(*known)

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that a replica may serve; `fresh` reads have their own rate limit,
        because the replica should relieve the primary [X13].
        """
        known = (self.account.id,) if self.account else ()
        if fresh and self.services.database.replica_engine is not None:
            self.services.rates.count_fresh(self.account_id)
        return self.services.database.reading(*known, fresh=fresh)

    @asynccontextmanager
    async def filtering(self, *words: str | None, fresh: bool) -> AsyncIterator[AsyncConnection]:
        """As `reading`, for uses by any of these words, which no index knows: in the account's
        turn. Errors: RATE_LIMITED, UNAVAILABLE.
        """
        turn = self.services.filter_turns.one(self.account_id) if any(words) else nullcontext()
        async with turn, self.reading(fresh=fresh) as connection:
            yield connection

    async def as_of(self, connection: AsyncConnection) -> datetime:
        """Return up to when what `reading` shows is complete, by the account's clock."""
        at = await clock.now(connection, self.account_id)
        return (at - await self.database.lag(connection)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class AccountCall(ReadCall):
    """One authenticated request for an account that exists."""

    account: Tenant

    def glancing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a connection for calls of `answers`, which see only this account's rows."""
        return self.services.database.glancing(self.account.id)

    async def read_account(self, connection: AsyncConnection) -> Account:
        """Return the account with all its fields."""
        return await accounts.get(connection, self.account.id)


@dataclass(frozen=True, slots=True)
class EveryCall(ReadCall):
    """An operator's read of all accounts together, without test accounts."""

    def reading(self, *, fresh: bool) -> AbstractAsyncContextManager[AsyncConnection]:  # noqa: ARG002
        """Open a transaction that sees the rows of all accounts."""
        return self.services.database.operator()


@dataclass(frozen=True, slots=True)
class UseCall(Call):
    """One use: its account is already known, or the body of a service names it."""

    sent: Mapping[bytes, str] = field(default_factory=dict)

    async def of_user(self, user_id: str | None) -> AccountCall:
        """Return the call for the account; it may be the one whose external id is the user's [A14].

        Errors: ACCOUNT_REQUIRED, MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
        """
        if self.account is not None:
            return AccountCall(self.caller, self.services, self.account)
        if user_id is None:
            raise account_required("in user_id, or in the header X-Account-Id")
        return await self.of_account(user_id)

    async def of_account(self, name: str) -> AccountCall:
        """Return the call for the account with this id or external id."""
        account = await self.services.tenants.find(name)
        if account is None:
            raise NotFound("MERCHANT_NOT_FOUND")
        context.account.set(account.id)
        await check_platform(self.sent, [account], self.services)
        return AccountCall(self.caller, self.services, account)


def account_required(where: str) -> Invalid:
    """Return the error for an operator's request that names no account."""
    return Invalid("ACCOUNT_REQUIRED", f"name the account {where}")


async def account_named(connection: AsyncConnection, name: str) -> Account:
    """Find the account that an operator names by id or external id.

    Errors: MERCHANT_NOT_FOUND, PLATFORM_MISMATCH.
    """
    account = await accounts.find(connection, name)
    if account is None:
        raise NotFound("MERCHANT_NOT_FOUND")
    check_shop(account)
    context.account.set(account.id)
    return account


async def refuse_other_shops(connection: AsyncConnection, account_ids: Iterable[UUID]) -> None:
    """Refuse objects of accounts that are not of the shop in the headers.

    Errors: PLATFORM_MISMATCH [A12].
    """
    if named_shop.get() != NO_SHOP:
        for account_id in set(account_ids):
            check_shop(await accounts.get(connection, account_id))


async def account_filter(connection: AsyncConnection, name: str | None) -> UUID | None:
    """Return the account whose rows an operator lists; None means all accounts.

    Errors: MERCHANT_NOT_FOUND.
    """
    return (await account_named(connection, name)).id if name is not None else None
