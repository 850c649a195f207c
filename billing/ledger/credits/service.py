"""Credit operations, each one call of a SQL function inside the caller's transaction [F3].

Every function locks the account's balance row first and expires what is due, so callers need no
lock of their own. `at` is the account's now; routes that decide nothing by it (of holds) omit it,
and it is read under the lock.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock
from billing.core.errors import Conflict
from billing.core.prepared import Prepared, pipeline
from billing.core.settings import load_settings
from billing.ledger.credits import rules, sql_calls, store
from billing.ledger.credits.results import FactT, answered, fact
from billing.ledger.credits.schemas import (
    Balance,
    Clawback,
    Debit,
    Expired,
    Grant,
    LotExpiry,
    Release,
    Returned,
    Taken,
)
from billing.matters import store as matters
from billing.platform.accounts import service as account_service
from billing.platform.accounts import store as accounts
from billing.platform.accounts.schemas import Account, AccountFields


async def open_account(connection: AsyncConnection, wanted: AccountFields) -> tuple[Account, bool]:
    """`account_service.upsert`, under the lock of a known account; a new one begins with an empty
    balance.
    """
    known = await accounts.find(connection, wanted.external_id)
    if known is not None:  # its lock comes before its row
        await lock(connection, known.id)
    account, is_new = await account_service.upsert(connection, wanted)
    if is_new:
        await store.open_balance(connection, account.id)
    return account, is_new


async def lock(connection: AsyncConnection, account_id: UUID) -> Balance:
    """Take the account's lock until the transaction ends, and read the row.

    Nothing expires here: `balance` may still include expired credits. Errors: NOT_FOUND.
    """
    balance = await store.lock_balance(connection, account_id)
    if balance is None:
        raise accounts.no_account()
    return balance


async def lock_with_account(
    connection: AsyncConnection, account_id: UUID
) -> tuple[Balance, Account]:
    """`lock`, and read the account behind it, in one round trip. Errors: NOT_FOUND."""
    own = {"account_id": account_id}
    async with pipeline(connection):
        sent = [await one.send(connection, **own) for one in (store.LOCK, accounts.GET)]
        locked, found = [await cursor.fetchone() for cursor in sent]
    if locked is None or found is None:
        raise accounts.no_account()
    return Balance.model_validate(locked), accounts.show(found)


async def now_locked(connection: AsyncConnection, account_id: UUID) -> datetime:
    """Take the account's lock, then return its now: no use and no price is written meanwhile.

    Errors: NOT_FOUND.
    """
    await lock(connection, account_id)
    return await clock.now(connection, account_id)


async def fix_currency(connection: AsyncConnection, account_id: UUID, currency: str) -> None:
    """Fix the account's currency: for good by the first payment, or money on an invoice or the
    balance; by a subscription while it is open (docs/rules/money.md).

    Errors: NOT_FOUND; CURRENCY_MISMATCH when it is already another.
    """
    fixed = (await lock(connection, account_id)).currency
    if fixed is None:
        await store.change_balance(connection, account_id, currency=currency)
    elif fixed != currency:
        raise Conflict(
            "CURRENCY_MISMATCH", f"this account pays in {fixed}, not in {currency}", currency=fixed
        )


async def open_currency(connection: AsyncConnection, account_id: UUID) -> None:
    """Unfix the account's currency, so that the next payment fixes it. Under the account's lock."""
    await store.change_balance(connection, account_id, currency=None)


async def set_overdraft(
    connection: AsyncConnection, account_id: UUID, overdraft: Decimal
) -> Balance:
    """Set the overdraft limit of forced debits; return the earlier balance.

    Debt that exceeds the limit remains. Errors: NOT_FOUND; INVALID_AMOUNT.
    """
    before = await lock(connection, account_id)
    await store.change_balance(connection, account_id, overdraft=rules.allowable(overdraft))
    return before


async def grant(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    amount: Decimal,
    kind: rules.LotKind,
    key: str,
    is_paid: bool,
    reason: str,
    at: datetime | None = None,
    expires_at: datetime | None = None,
    scope: str | None = None,
    priority: int | None = None,
    subject: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Grant:
    """Grant credits as one lot, once per `key` (a business fact of billing.core.keys).

    A second call with the key returns the first grant. Debt is paid from the lot at once, by an
    entry of its own. Errors: NOT_FOUND; INVALID_AMOUNT; IDEMPOTENCY_KEY_REUSED by another verb.
    """
    granted = await _done(
        connection, sql_calls.GRANT, Grant, account_id=account_id, amount=rules.grantable(amount),
        kind=kind, key=key, is_paid=is_paid, reason=reason, at=at, expires_at=expires_at,
        scope=scope, priority=rules.DEFAULT_PRIORITY if priority is None else priority,
        subject=subject, detail=detail or {},
    )  # fmt: skip
    if expires_at is not None:
        await _watch(connection, account_id, expires_at, at)
    return granted


async def debit(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    amount: Decimal,
    key: str,
    reason: str,
    at: datetime | None = None,
    scope: str | None = None,
    paid_only: bool = False,
    subject: str | None = None,
    detail: dict[str, Any] | None = None,
    force: bool = False,
) -> Debit:
    """Spend credits in burn order, once per (account, key); rounded once to six decimals.

    Lots of another scope are not touched; `paid_only` leaves free ones out as well. With `force`
    (callers of role service) what no lot covers is owed, up to the account's overdraft, and the
    next grant pays it first. If the result has `top_up`, notify the account's matter after the
    commit. Errors: INSUFFICIENT_CREDITS [F6] with `required` and `available`; NOT_FOUND;
    INVALID_AMOUNT; IDEMPOTENCY_KEY_REUSED when the key was used for another request.
    """
    amount = rules.bookable(amount)
    hash_ = rules.request_hash(
        verb="debit", amount=amount, reason=reason, scope=scope, paid_only=paid_only,
        subject=subject, detail=detail or {}, **({"force": True} if force else {}),
    )  # fmt: skip
    return await _done(
        connection, sql_calls.DEBIT, Debit, account_id=account_id, amount=amount,
        key=rules.caller_key(account_id, key), hash=hash_, reason=reason, at=at, scope=scope,
        paid_only=paid_only, subject=subject, detail=detail or {}, forced=force,
    )  # fmt: skip


async def release(
    connection: AsyncConnection, *, account_id: UUID, hold_id: UUID, at: datetime | None = None
) -> Release:
    """Release a hold; what belongs to an expired lot expires in the same transaction.

    A second call returns the first result. Errors: HOLD_NOT_FOUND; HOLD_RESOLVED when it was
    captured or had expired.
    """
    wanted = {"account_id": account_id, "hold_id": hold_id, "at": at}
    return await _done(connection, sql_calls.RELEASE, Release, **wanted)


async def expire(
    connection: AsyncConnection, account_id: UUID, at: datetime | None = None
) -> Expired:
    """End every lot and hold whose time has come by `at`, each with its entry.

    Errors: NOT_FOUND; sqlalchemy's DBAPIError if there are too many for one statement
    (`expire_ahead`).
    """
    return await _done(connection, sql_calls.EXPIRE, Expired, account_id=account_id, at=at)


async def expire_ahead(connection: AsyncConnection, account_id: UUID) -> int:
    """End a part of the holds and lots whose time has come, those that ended first; return how
    many holds.
    """
    row = await sql_calls.EXPIRE_AHEAD.one(connection, account_id=account_id, at=None)
    return row["holds"] or 0


async def expire_lot(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    grant_key: str,
    at: datetime | None = None,
    reason: str,
) -> LotExpiry:
    """End one lot now (a trial that is over): its unspent, unheld part expires with its entry.

    Repeatable; the result counts everything of this lot that has expired so far. Errors:
    NOT_FOUND when no such grant exists.
    """
    wanted = {"account_id": account_id, "grant_key": grant_key, "at": at, "reason": reason}
    return await _done(connection, sql_calls.EXPIRE_LOT, LotExpiry, **wanted)


async def clawback(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    grant_key: str,
    amount: Decimal,
    key: str,
    reason: str,
    at: datetime | None = None,
    subject: str | None = None,
) -> Clawback:
    """Claw back credits of one grant, once per `key`: refund, dispute (docs/rules/purchases.md).

    Takes what is unspent and unheld; a held part is taken when released; the rest is booked as
    loss, so the balance never goes negative. Errors: NOT_FOUND; INVALID_AMOUNT.
    """
    return await _done(
        connection, sql_calls.CLAWBACK, Clawback, account_id=account_id, grant_key=grant_key,
        amount=rules.grantable(amount), key=key, reason=reason, at=at, subject=subject,
    )  # fmt: skip


async def return_clawback(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    grant_key: str,
    clawback_key: str,
    key: str,
    at: datetime,
    subject: str | None = None,
) -> Returned:
    """Return what a clawback took, once per `key`: its dispute was won. The credits last at least
    30 days. Errors: NOT_FOUND.
    """
    back = await _done(
        connection, sql_calls.RETURN_CLAWBACK, Returned, account_id=account_id,
        grant_key=grant_key, clawback_key=clawback_key, key=key, reason="dispute won",
        until=at + rules.USABLE_AGAIN, at=at, subject=subject,
    )  # fmt: skip
    if back.expires_at is not None:
        await _watch(connection, account_id, back.expires_at, at)
    return back


async def take(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    amount: Decimal,
    key: str,
    reason: str,
    at: datetime | None = None,
    scope: str | None = None,
    subject: str | None = None,
) -> Taken:
    """Take credits away for an operator, in burn order, once per `key`; not counted as use [F23].

    Errors: INSUFFICIENT_CREDITS when less is neither spent nor held; NOT_FOUND; INVALID_AMOUNT;
    IDEMPOTENCY_KEY_REUSED.
    """
    amount = rules.grantable(amount)
    hash_ = rules.request_hash(verb="take", amount=amount, reason=reason, scope=scope)
    return await _done(
        connection, sql_calls.DEDUCT, Taken, account_id=account_id, amount=amount, key=key,
        hash=hash_, reason=reason, at=at, scope=scope, subject=subject,
    )  # fmt: skip


async def watch_returned(connection: AsyncConnection, account_id: UUID, at: datetime) -> None:
    """Have the account's matter look at returned credits before their lots end.

    Call it last: it locks the matter's row, which comes after the account's lock.
    """
    until = (await lock(connection, account_id)).next_expiry
    if until is not None:
        await _watch(connection, account_id, until, at)


async def _watch(
    connection: AsyncConnection, account_id: UUID, until: datetime, at: datetime | None
) -> None:
    """Have the account's matter look at credits before they expire, so that notices go out."""
    now = at or await clock.now(connection, account_id)
    due = max(now, until - timedelta(days=load_settings().expiry_notice_days))
    await matters.send_watch(connection, account_id, due=due, at=now)


async def _done(
    connection: AsyncConnection, function: Prepared, model: type[FactT], **values: Any
) -> FactT:
    return fact(model, await answered(connection, function, **values))
