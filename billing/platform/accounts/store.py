"""Queries on accounts."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared
from billing.core.errors import NotFound
from billing.core.prepared import Fields, Prepared, given
from billing.platform.accounts.schemas import Account
from billing.platform.accounts.tables import accounts

ACCOUNTS_REMEMBERED: Final = 10_000
_IS_TEST: dict[UUID, bool] = {}
GET = Prepared(select(accounts).where(accounts.c.id == given("account_id")))


async def get(connection: AsyncConnection, account_id: UUID) -> Account:
    """Return one account. Errors: NOT_FOUND."""
    account = await find_by_id(connection, account_id)
    if account is None:
        raise no_account()
    return account


def no_account() -> NotFound:
    """Return the refusal of an account that is not there."""
    return NotFound("NOT_FOUND", "no such account")


async def find_by_id(connection: AsyncConnection, account_id: UUID) -> Account | None:
    """Return one account by its row id."""
    row = await GET.first(connection, account_id=account_id)
    return show(row) if row is not None else None


async def is_test(connection: AsyncConnection, account_id: UUID) -> bool:
    """True for a test account; fixed at creation, and therefore cached."""
    known = _IS_TEST.get(account_id)
    if known is None:
        account = await get(connection, account_id)
        if len(_IS_TEST) >= ACCOUNTS_REMEMBERED:
            _IS_TEST.clear()
        known = _IS_TEST[account_id] = account.is_test
    return known


async def find(connection: AsyncConnection, name: str) -> Account | None:
    """Return one account by `acc_…` id or external id; an id wins over an equal external id."""
    account_id = ids.parse(ids.ACCOUNT, name)
    if account_id is not None:
        found = await find_by_id(connection, account_id)
        if found is not None:
            return found
    return await _one(connection, select(accounts).where(accounts.c.external_id == name))


async def find_all(connection: AsyncConnection, names: Collection[str]) -> dict[str, Account]:
    """Return accounts by `acc_…` id or external id; an id wins over an equal external id."""
    by_id = {ids.parse(ids.ACCOUNT, name): name for name in names}
    known = [account_id for account_id in by_id if account_id is not None]
    rows = await connection.execute(
        select(accounts).where(
            or_(accounts.c.id.in_(known), accounts.c.external_id.in_(list(names)))
        )
    )
    found: dict[str, Account] = {}
    for account in map(show, rows.mappings()):
        found.setdefault(account.external_id, account)
        if account.id in by_id:
            found[by_id[account.id]] = account
    return {name: found[name] for name in names if name in found}


async def lock_by_external(connection: AsyncConnection, external_id: str) -> Account:
    """Return the account with this external id, which must exist, locked against other writers."""
    query = select(accounts).where(accounts.c.external_id == external_id)
    return show((await connection.execute(query.with_for_update(key_share=True))).mappings().one())


async def lock(connection: AsyncConnection, account_id: UUID) -> Account:
    """Lock the account's row against other walkers, and return the account."""
    query = select(accounts).where(accounts.c.id == account_id)
    account = await _one(connection, query.with_for_update(key_share=True))
    if account is None:
        raise NotFound("MERCHANT_NOT_FOUND")
    return account


async def advancing(connection: AsyncConnection) -> list[UUID]:
    """Return the accounts whose clock is advancing, so that their walks can be restarted."""
    rows = await connection.execute(
        select(accounts.c.id)
        # The index covers only the few accounts with a clock.
        .where(accounts.c.clock_at.is_not(None), accounts.c.clock_status == "advancing")
        .order_by(accounts.c.id)
    )
    return list(rows.scalars())


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Account | None:
    """Write a new account; None if its external id is taken."""
    new = (
        insert(accounts)
        .values(**row)
        .on_conflict_do_nothing(index_elements=[accounts.c.external_id])
    )
    return await _one(connection, new.returning(accounts))


async def change(connection: AsyncConnection, account_id: UUID, fields: dict[str, Any]) -> Account:
    """Overwrite fields of one account, which must exist."""
    done = await connection.execute(
        update(accounts).where(accounts.c.id == account_id).values(**fields).returning(accounts)
    )
    return show(done.mappings().one())


async def lock_customer(
    connection: AsyncConnection, account_id: UUID, customer_id: str
) -> str | None:
    """Store the account's Stripe customer once; return the stored one.

    If two callers compete, the first one's customer is stored, and both receive it [A15].
    """
    await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.stripe_customer_id.is_(None))
        .values(stripe_customer_id=customer_id)
    )
    kept: str | None = await connection.scalar(
        select(accounts.c.stripe_customer_id).where(accounts.c.id == account_id)
    )
    return kept


async def forget_customer(connection: AsyncConnection, account_id: UUID, customer_id: str) -> bool:
    """Remove a customer that was deleted at Stripe; False if the account has another one now."""
    done = await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.stripe_customer_id == customer_id)
        .values(stripe_customer_id=None, gone_customer_id=customer_id)
    )
    return done.rowcount == 1


async def some_customers(connection: AsyncConnection, limit: int) -> list[str]:
    """Return a few customers at Stripe, whichever an index has last."""
    column = accounts.c.stripe_customer_id
    known = select(column).where(column.is_not(None)).order_by(column.desc()).limit(limit)
    return list((await connection.scalars(known)).all())


def listing(
    *, text: str | None = None, is_test: bool | None = None, platform: str | None = None
) -> Select[Any]:
    """Select the matching accounts for the operators' list; the caller adds order and limit."""
    query = select(accounts)
    if text:
        like = f"%{_escaped(text)}%"
        query = query.where(
            or_(
                accounts.c.external_id.ilike(like, escape="\\"),
                accounts.c.name.ilike(like, escape="\\"),
                accounts.c.email.ilike(like, escape="\\"),
            )
        )
    if is_test is not None:
        query = query.where(accounts.c.is_test.is_(is_test))
    if platform is not None:
        query = query.where(accounts.c.platform == platform)
    return query


def show(row: Fields) -> Account:
    """Return a row of `listing` as an account."""
    return Account(**row)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def _one(connection: AsyncConnection, statement: Any) -> Account | None:
    row = await prepared.find(connection, statement)
    return show(row) if row is not None else None
