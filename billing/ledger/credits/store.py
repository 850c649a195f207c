"""Queries that move no credits: balances as of an instant, the ledger, lots, notices.

A read writes nothing: its result leaves out what has expired by the given instant.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Row,
    Select,
    Subquery,
    and_,
    case,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import SERVED
from billing.core import prepared
from billing.core.errors import NotFound
from billing.core.literals import texts
from billing.core.money import ZERO
from billing.core.prepared import Prepared, given, written
from billing.ledger.credits.schemas import (
    Balance,
    CreditOverview,
    SplitPart,
    StoredHold,
    Transaction,
)
from billing.ledger.credits.tables import (
    credit_balances,
    credit_hold_lots,
    credit_holds,
    credit_lots,
    credit_transaction_lots,
    credit_transactions,
)

LOCK = Prepared(
    select(credit_balances)
    .where(credit_balances.c.account_id == given("account_id"))
    .with_for_update(key_share=True)
)
# One statement and a handful of index probes, however long the ledger: the month's use is the
# current total less the total at the last entry before the month, and never negative, even if more
# of earlier months came back. The month's start is computed first: under row security an index
# cannot be searched by an expression that is still to be computed.
_OVERVIEWS: Final = Prepared(
    text(
        """
    WITH me AS MATERIALIZED (
        SELECT b.*, t.as_of, m.start_at AS month_start
        FROM credit_balances b
        JOIN accounts a ON a.id = b.account_id,
        LATERAL (SELECT coalesce(a.clock_at, CAST(:now AS timestamptz)) AS as_of) t,
        LATERAL usage_month(a.zone, t.as_of) m
        WHERE b.account_id = ANY (CAST(:account_ids AS uuid[]))
    )
    SELECT me.*, lots.*,
        greatest(0, me.used - coalesce((
            SELECT used_after FROM credit_transactions t
            WHERE t.account_id = me.account_id AND t.at < me.month_start
            ORDER BY t.at DESC, t.seq DESC LIMIT 1), 0)) AS used_this_month,
        coalesce((
            SELECT p.monthly_credits * CASE WHEN p.seats ->> 'credits' = 'true' THEN coalesce((
                SELECT i.quantity FROM subscription_items i
                WHERE i.subscription_id = s.id AND i.kind = 'plan'), 1) ELSE 1 END
            FROM subscriptions s JOIN plans p ON p.id = s.plan_id
            WHERE s.account_id = me.account_id AND s.status IN {served}), 0)
            AS plan_monthly_credits
    FROM me,
    LATERAL (
        SELECT
            coalesce(sum(CASE WHEN expires_at <= as_of THEN held ELSE remaining END)
                FILTER (WHERE is_paid), 0) AS paid,
            coalesce(sum(remaining - held) FILTER (WHERE soon), 0) AS expiring,
            min(expires_at) FILTER (WHERE soon AND remaining > held) AS expiring_at
        FROM (
            SELECT *, expires_at > me.as_of
                AND expires_at <= me.as_of + CAST(:soon AS interval) AS soon
            FROM credit_lots WHERE account_id = me.account_id AND is_open) AS open_lots
    ) AS lots
    """.replace("{served}", texts(SERVED))
    )
)


async def open_balance(connection: AsyncConnection, account_id: UUID) -> None:
    """Write the empty balance row of an account; a second call changes nothing."""
    await connection.execute(
        insert(credit_balances).values(account_id=account_id).on_conflict_do_nothing()
    )


async def lock_balance(connection: AsyncConnection, account_id: UUID) -> Balance | None:
    """The account's row, locked until the transaction ends."""
    row = await LOCK.first(connection, account_id=account_id)
    return Balance.model_validate(row) if row else None


async def change_balance(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """Overwrite fields of the account's row; only SQL functions change amounts."""
    await connection.execute(
        update(credit_balances).where(credit_balances.c.account_id == account_id).values(**fields)
    )


async def currency(connection: AsyncConnection, account_id: UUID) -> str | None:
    """The account's currency, once its first payment has fixed it."""
    found: str | None = await connection.scalar(
        select(credit_balances.c.currency).where(credit_balances.c.account_id == account_id)
    )
    return found


async def unsettled(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> tuple[Decimal, Decimal, datetime | None]:
    """Return (credits expired by `at` but still in the rows, credits still held, next expiry)."""
    live = _live_holds(account_id, at)
    remaining, held = _after_expiry(live, at)
    lot = credit_lots.c
    query = (
        select(
            func.coalesce(func.sum(lot.remaining - remaining), 0),
            func.coalesce(func.sum(held), 0),
            func.least(
                func.min(lot.expires_at).filter(lot.expires_at > at),
                func.min(live.c.expires_at),
            ),
        )
        .select_from(credit_lots.outerjoin(live, live.c.lot_id == lot.id))
        .where(lot.account_id == account_id, lot.is_open)
    )
    row = (await connection.execute(query)).one()
    return row[0], row[1], row[2]


async def spendable(
    connection: AsyncConnection, account_id: UUID, meter: str, at: datetime
) -> tuple[Decimal, Decimal]:
    """Return (bought, other) credits that a use of a meter could burn: not held, not expired, not
    of another meter.
    """
    live = _live_holds(account_id, at)
    remaining, held = _after_expiry(live, at)
    lot = credit_lots.c
    free = func.sum(remaining - held)
    query = (
        select(
            func.coalesce(free.filter(lot.is_paid), 0),
            func.coalesce(free.filter(~lot.is_paid), 0),
        )
        .select_from(credit_lots.outerjoin(live, live.c.lot_id == lot.id))
        .where(
            lot.account_id == account_id,
            lot.is_open,
            func.credit_may_burn(lot.scope, lot.is_paid, meter, False, type_=Boolean),
        )
    )
    row = (await connection.execute(query)).one()
    return row[0], row[1]


def _live_holds(account_id: UUID, at: datetime) -> Subquery:
    """Amount of each lot in holds that have not expired by `at`."""
    return (
        select(
            credit_hold_lots.c.lot_id,
            func.sum(credit_hold_lots.c.amount).label("amount"),
            func.min(credit_holds.c.expires_at).label("expires_at"),
        )
        .join(credit_holds, credit_holds.c.id == credit_hold_lots.c.hold_id)
        .where(
            credit_holds.c.account_id == account_id,
            credit_holds.c.status == "open",
            credit_holds.c.expires_at > at,
        )
        .group_by(credit_hold_lots.c.lot_id)
        .subquery("live")
    )


def _after_expiry(
    live: Subquery, at: datetime
) -> tuple[ColumnElement[Decimal], ColumnElement[Decimal]]:
    """(remaining, held) of a lot once everything that expires by `at` has expired."""
    lot = credit_lots.c
    held = func.coalesce(live.c.amount, 0)
    remaining = case(
        (lot.expires_at <= at, held),
        else_=lot.remaining - func.least(lot.claimed, lot.held - held),
    )
    return remaining, held


async def overviews(
    connection: AsyncConnection, account_ids: Sequence[UUID], now: datetime, soon: timedelta
) -> dict[UUID, CreditOverview]:
    """Return balances with related sums, each at its account's time (`now` is real) [F1].

    Free credits that end within `soon` are announced beside the balance.
    """
    found = {}
    for row in await _OVERVIEWS.all(connection, account_ids=account_ids, now=now, soon=soon):
        account_id, ends = row["account_id"], row["next_expiry"]
        if ends is not None and ends <= row["as_of"]:
            gone, held, _ = await unsettled(connection, account_id, row["as_of"])
            row |= {"balance": row["balance"] - gone, "held": held}
        found[account_id] = CreditOverview.model_validate(row)
    return found


def transactions(account_id: UUID, kind: str | None) -> Select[Any]:
    """The ledger of an account, to be ordered by (`at`, `seq`)."""
    query = select(credit_transactions).where(credit_transactions.c.account_id == account_id)
    return query if kind is None else query.where(credit_transactions.c.kind == written(kind))


async def transaction(connection: AsyncConnection, transaction_id: UUID) -> Transaction:
    """One entry with its split over lots. Errors: NOT_FOUND."""
    query = select(credit_transactions).where(credit_transactions.c.id == transaction_id)
    row = await prepared.find(connection, query)
    if row is None:
        raise NotFound("NOT_FOUND", "no such credit transaction")
    split = await connection.execute(
        select(credit_transaction_lots.c.lot_id, credit_transaction_lots.c.amount)
        .join(credit_lots, credit_lots.c.id == credit_transaction_lots.c.lot_id)
        .where(credit_transaction_lots.c.transaction_id == transaction_id)
        .order_by(credit_lots.c.granted_seq)
    )
    parts = tuple(SplitPart(lot_id=part.lot_id, amount=part.amount) for part in split)
    return Transaction.model_validate({**row, "lots": parts})


def holds(
    account_id: UUID, at: datetime, status: str | None = None, maker: str | None = None
) -> Select[Any]:
    """Select an account's holds, or one caller's, as of `at`, to be ordered by `id`."""
    hold = credit_holds.c
    query = _holds(at).where(hold.account_id == account_id)
    if maker is not None:
        query = query.where(hold.made_by == maker)
    if status is None:
        return query
    # In the words of the indexes: none knows what `_stands` computes.
    stored, is_open = hold.status == written(status), hold.status == written("open")
    if status == "open":
        return query.where(stored, hold.expires_at > at)
    if status == "expired":
        return query.where(or_(stored, and_(is_open, hold.expires_at <= at)))
    return query.where(stored)


async def hold(connection: AsyncConnection, hold_id: UUID, at: datetime) -> StoredHold:
    """One hold as it stands at `at`. Errors: HOLD_NOT_FOUND."""
    row = await prepared.find(connection, _holds(at).where(credit_holds.c.id == hold_id))
    if row is None:
        raise NotFound("HOLD_NOT_FOUND")
    return StoredHold.model_validate(dict(row))


async def is_held(connection: AsyncConnection, key: str) -> bool:
    """True if a hold was made with this key, whatever became of it."""
    found = await connection.scalar(select(credit_holds.c.id).where(credit_holds.c.key == key))
    return found is not None


def _stands(at: datetime) -> ColumnElement[str]:
    """A hold's status at `at`, even if its expiry is not written yet."""
    over = and_(credit_holds.c.status == "open", credit_holds.c.expires_at <= at)
    return case((over, "expired"), else_=credit_holds.c.status)


async def made_by(connection: AsyncConnection, maker: str, hold_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids of the given holds that this caller made."""
    hold = credit_holds.c
    query = select(hold.id).where(hold.id.in_(hold_ids), hold.made_by == maker)
    return set(await connection.scalars(query))


def _holds(at: datetime) -> Select[Any]:
    as_stored = [c for c in credit_holds.c if c.name not in ("status", "resolved_at")]
    stands = _stands(at)
    ended = case((stands == "expired", credit_holds.c.expires_at), else_=credit_holds.c.resolved_at)
    return select(*as_stored, stands.label("status"), ended.label("resolved_at"))


def lots(account_id: UUID, at: datetime, *, open_only: bool) -> Select[Any]:
    """The lots of an account as they stand at `at`, to be ordered by `granted_seq`."""
    live = _live_holds(account_id, at)
    remaining, held = _after_expiry(live, at)
    as_stored = [c for c in credit_lots.c if c.name not in ("remaining", "held", "is_open")]
    query = (
        select(
            *as_stored,
            remaining.label("remaining"),
            held.label("held"),
            (remaining > 0).label("is_open"),
        )
        .select_from(credit_lots.outerjoin(live, live.c.lot_id == credit_lots.c.id))
        .where(credit_lots.c.account_id == account_id)
    )
    return query.where(credit_lots.c.is_open, remaining > 0) if open_only else query


async def left_of(
    connection: AsyncConnection, account_id: UUID, grant_key: str, at: datetime
) -> Decimal:
    """Return what is left of a grant's lot at `at`; 0 if there is no such grant."""
    lot = lots(account_id, at, open_only=False).subquery().c
    left: Decimal | None = await connection.scalar(
        select(lot.remaining).where(lot.grant_key == grant_key)
    )
    return left or ZERO


async def is_granted(connection: AsyncConnection, account_id: UUID, grant_key: str) -> bool:
    """True if credits were granted under this key."""
    lot = credit_lots.c
    found = select(lot.id).where(lot.account_id == account_id, lot.grant_key == grant_key)
    return await connection.scalar(found) is not None


async def low_balance(connection: AsyncConnection, account_id: UUID) -> Decimal | None:
    """Return the balance below which to notify the account; None: only when nothing is left."""
    kept: Decimal | None = await connection.scalar(
        select(credit_balances.c.low_below).where(credit_balances.c.account_id == account_id)
    )
    return kept


async def set_low_balance(
    connection: AsyncConnection, account_id: UUID, threshold: Decimal | None
) -> Decimal | None:
    """Store the balance below which the account is notified; return it as stored."""
    kept: Decimal | None = (
        await connection.execute(
            update(credit_balances)
            .where(credit_balances.c.account_id == account_id)
            .values(low_below=threshold)
            .returning(credit_balances.c.low_below)
        )
    ).scalar_one()
    return kept


async def mark_noticed(
    connection: AsyncConnection, account_id: UUID, *, ahead: timedelta, at: datetime
) -> Sequence[Row[Any]]:
    """Return the lots that end within `ahead` and were not announced; mark them as announced.

    What is held ends too unless it is spent before, so `ending` counts it; what a hold has left for
    a clawback never comes back.
    """
    lot = credit_lots.c
    due = await connection.execute(
        update(credit_lots)
        .where(
            lot.account_id == account_id,
            lot.is_open,
            lot.noticed_at.is_(None),
            lot.expires_at <= at + ahead,
            lot.expires_at > lot.created_at + ahead,
        )
        .values(noticed_at=at)
        .returning(lot.id, lot.kind, lot.expires_at, (lot.remaining - lot.claimed).label("ending"))
    )
    return due.all()
