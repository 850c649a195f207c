"""Every query on accounts and issuers."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.accounts.rules import (
    AccountState,
    CompletionPlan,
    RemovalPlan,
    SetupPlan,
    TopUpPlan,
    state_words,
)
from billing.accounts.schemas import Account
from billing.accounts.tables import accounts, issuers
from billing.core import ids
from billing.core.errors import NotFound
from billing.core.matters import workflow_id
from billing.core.prepared import Fields, Prepared, given
from billing.credits.rules import SOON
from billing.events.tables import WAITING_MARKS

# One round trip for everything the account's agenda needs. Of many cards being saved at once the
# ones somebody waits for come first.
_STATE = Prepared(
    text(
        f"""
    SELECT a.status, a.clock_at, b.next_expiry,
           CASE WHEN b.top_up_below IS NOT NULL AND NOT b.top_up_open THEN b.top_up_from END
               AS top_up_from,
           t.id AS top_up_id, t.wanted_at,
           (SELECT min(l.expires_at) FROM credit_lots l
            WHERE l.account_id = a.id AND l.is_open AND l.noticed_at IS NULL
              AND l.expires_at > l.created_at + :notice) - :notice AS next_notice,
           (SELECT min(u.late_at) FROM usage_periods u
            WHERE u.account_id = a.id AND u.late_at IS NOT NULL) + interval '1 day' AS late_usage,
           (SELECT min(o.due_at) FROM limit_overrides o
            WHERE o.account_id = a.id AND o.due_at IS NOT NULL) AS limits_due,
           (SELECT jsonb_build_object(
                'invoice', c.invoice, 'meter', c.meter, 'start_at', c.start_at, 'part', c.part,
                'began_at', c.began_at)
            FROM usage_settlements c WHERE c.account_id = a.id
            ORDER BY c.invoice, c.meter, c.start_at, c.part LIMIT 1) AS completion,
           {WAITING_MARKS} AS events,
           ARRAY(SELECT jsonb_build_object(
                     'id', s.id, 'opened', s.stripe_setup_intent_id IS NOT NULL,
                     'created_at', s.created_at, 'checks', s.checks, 'asked_at', s.asked_at)
                 FROM setup_intents s
                 WHERE s.account_id = a.id AND s.finished_at IS NULL
                 ORDER BY s.stripe_setup_intent_id IS NULL DESC, s.asked_at, s.created_at
                 LIMIT 100) AS setups,
           ARRAY(SELECT jsonb_build_object('id', m.id, 'removed_at', m.removed_at)
                 FROM payment_methods m
                 WHERE m.account_id = a.id AND m.status = 'removing'
                 ORDER BY m.removed_at LIMIT 100) AS removals
    FROM accounts a JOIN credit_balances b ON b.account_id = a.id
    LEFT JOIN top_ups t ON t.account_id = a.id AND t.status = 'wanted'
    WHERE a.id = :account_id
    """  # noqa: S608 - put together from constants
    )
)
ACCOUNTS_REMEMBERED: Final = 10_000
_IS_TEST: dict[UUID, bool] = {}
_GET = Prepared(select(accounts).where(accounts.c.id == given("account_id")))


async def get(connection: AsyncConnection, account_id: UUID) -> Account | None:
    """One account by its row id."""
    row = await _GET.first(connection, account_id=account_id)
    return show(row) if row is not None else None


async def is_test(connection: AsyncConnection, account_id: UUID) -> bool:
    """Whether the account has a clock of its own; fixed at its birth, so asked once."""
    known = _IS_TEST.get(account_id)
    if known is None:
        account = await get(connection, account_id)
        if account is None:
            raise NotFound("NOT_FOUND", "no such account")
        if len(_IS_TEST) >= ACCOUNTS_REMEMBERED:
            _IS_TEST.clear()
        known = _IS_TEST[account_id] = account.is_test
    return known


async def find(connection: AsyncConnection, name: str) -> Account | None:
    """One account by `acc_…` id or external id; an id wins over an equal external id."""
    account_id = ids.parse(ids.ACCOUNT, name)
    if account_id is not None:
        found = await get(connection, account_id)
        if found is not None:
            return found
    return await find_by_external(connection, name)


async def find_all(connection: AsyncConnection, names: Collection[str]) -> dict[str, Account]:
    """Accounts by `acc_…` id or external id; an id wins over an equal external id."""
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


async def find_by_external(connection: AsyncConnection, external_id: str) -> Account | None:
    """One account by the caller's own id for it."""
    return await _one(connection, select(accounts).where(accounts.c.external_id == external_id))


async def find_by_customer(connection: AsyncConnection, customer_id: str) -> Account | None:
    """One account by its Stripe customer."""
    return await _one(
        connection, select(accounts).where(accounts.c.stripe_customer_id == customer_id)
    )


async def lock_by_external(connection: AsyncConnection, external_id: str) -> Account:
    """The account with this external id, which must exist, locked against other writers."""
    query = select(accounts).where(accounts.c.external_id == external_id)
    return show((await connection.execute(query.with_for_update(key_share=True))).mappings().one())


async def add(connection: AsyncConnection, row: dict[str, Any]) -> Account | None:
    """Write a new account; None when its external id is taken."""
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
    """Keep the Stripe customer, once and for all; returns the one that is kept.

    Of two callers the first one's customer stays, and both learn it [A15].
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


async def set_clock(connection: AsyncConnection, account_id: UUID, clock_at: datetime) -> None:
    """Move the frozen clock of a test account."""
    await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.is_test)
        .values(clock_at=clock_at)
    )


async def state(
    connection: AsyncConnection, account_id: UUID, notice: timedelta = SOON
) -> AccountState:
    """The rows' word about one account's own matter; NOT_FOUND.

    It is told of credits that end `notice` ahead, unless they came with less time than that.
    Under the account's lock (`credits.service.lock`) it is the last word.
    """
    row = await _STATE.first(
        connection,
        account_id=account_id,
        workflow_id=workflow_id("account", account_id),
        notice=notice,
    )
    if row is None:
        raise NotFound("NOT_FOUND", "no such account")
    known = AccountState(
        clock_at=row["clock_at"],
        status=row["status"],
        account=ids.encode(ids.ACCOUNT, account_id),
        next_expiry=row["next_expiry"],
        next_notice=row["next_notice"],
        top_up=_top_up(row),
        top_up_from=row["top_up_from"],
        late_usage=row["late_usage"],
        limits_due=row["limits_due"],
        completion=row["completion"] and CompletionPlan(**row["completion"]),
        setups=tuple(
            SetupPlan(setup=ids.encode(ids.SETUP_INTENT, UUID(setup.pop("id"))), **setup)
            for setup in row["setups"]
        ),
        removals=tuple(
            RemovalPlan(
                method=ids.encode(ids.PAYMENT_METHOD, UUID(removal["id"])),
                removed_at=removal["removed_at"],
            )
            for removal in row["removals"]
        ),
        events=tuple(row["events"]),
    )
    return known.model_copy(update={"words": state_words(known)})


def _top_up(row: Fields) -> TopUpPlan | None:
    if row["top_up_id"] is None:
        return None
    return TopUpPlan(top_up=ids.encode(ids.TOP_UP, row["top_up_id"]), wanted_at=row["wanted_at"])


def listing(
    *, text: str | None = None, is_test: bool | None = None, platform: str | None = None
) -> Select[Any]:
    """All accounts that match, for the operators' list; order and cut are the caller's."""
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


async def find_issuer(connection: AsyncConnection, key: str | None) -> UUID | None:
    """The issuer with this key; without a key the default one."""
    which = issuers.c.key == key if key is not None else issuers.c.is_default
    found: UUID | None = await connection.scalar(select(issuers.c.id).where(which))
    return found


def show(row: Fields) -> Account:
    """A row of `listing` as an account."""
    return Account(**row)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def _one(connection: AsyncConnection, statement: Any) -> Account | None:
    row = (await connection.execute(statement)).mappings().one_or_none()
    return show(row) if row is not None else None
