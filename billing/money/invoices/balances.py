"""The money balance: what customers have with us or owe, its entries, and operators' adjustments.

Positive is the customer's money, negative is debt carried to the next invoice.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ColumnElement, Select, case, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.core import ids, keys, prepared, row_writes
from billing.core.errors import Conflict
from billing.core.prepared import Prepared, given
from billing.ledger.credits import service as credits
from billing.ledger.credits.tables import credit_balances
from billing.matters.effects import Announce
from billing.money.invoices import account_currency
from billing.money.invoices.schemas import BalanceEntry
from billing.money.invoices.store import is_of_use
from billing.money.invoices.tables import balance_entries, invoices
from billing.platform.outbox import service as outbox

MONEY = Prepared(
    select(func.coalesce(func.sum(balance_entries.c.amount_minor), 0).label("minor")).where(
        balance_entries.c.account_id == given("account_id"),
        balance_entries.c.currency == given("in_currency"),
    )
)

_BELONGS_TO: Final = ("invoice_id", "payment_id", "reason")
ADJUSTMENTS: Final = ("adjusted", "found")
"""Kinds of entries that no invoice has caused: a gift of an operator, and money that came or went
for a payment that a restore had lost.
"""
_INTENT: Final = re.compile(r"pi_\w+")


async def money(connection: AsyncConnection, account_id: UUID, currency: str) -> int:
    """Return the balance in minor units of a currency."""
    return int(await MONEY.scalar(connection, account_id=account_id, in_currency=currency))


async def read(connection: AsyncConnection, account_id: UUID) -> tuple[int, str]:
    """Return the balance in the account's currency."""
    kept = await connection.scalar(
        select(credit_balances.c.currency).where(credit_balances.c.account_id == account_id)
    )
    currency = kept or DEFAULT_CURRENCY
    return await money(connection, account_id, currency), currency


def listing(account_id: UUID, *, for_member: bool = False) -> Select[Any]:
    """Select the entries of one account; the caller sorts and limits. A member gets those of
    single uses too, because the balance is their sum, but not what they belong to.
    """
    columns: Sequence[ColumnElement[Any]] = list(balance_entries.c)
    if for_member:
        of_use = exists().where(invoices.c.id == balance_entries.c.invoice_id, is_of_use())
        columns = [
            case((~of_use, one)).label(one.name) if one.name in _BELONGS_TO else one
            for one in balance_entries.c
        ]
    return select(*columns).where(balance_entries.c.account_id == account_id)


async def adjust(
    connection: AsyncConnection,
    account_id: UUID,
    *,
    adjustment_id: UUID,
    amount_minor: int,
    currency: str | None,
    reason: str,
    at: datetime,
) -> tuple[BalanceEntry, int]:
    """Credit the customer's balance, or debit it with a negative amount; once per `adjustment_id`.

    It is of money if the reason names a payment that a restore had lost. Returns the entry and the
    balance after it. Errors: CURRENCY_MISMATCH.
    """
    fixed = (await credits.lock(connection, account_id)).currency
    currency = currency or fixed or DEFAULT_CURRENCY
    if fixed not in (None, currency):
        raise Conflict("CURRENCY_MISMATCH", f"the account pays in {fixed}")
    entry = await adjustment(connection, adjustment_id)
    if entry is None:
        await credits.fix_currency(connection, account_id, currency)
        key = keys.balance_adjustment(adjustment_id)
        kind = await _kind(connection, account_id, adjustment_id, reason)
        row = {
            "id": adjustment_id, "account_id": account_id, "key": key, "kind": kind,
            "amount_minor": amount_minor, "currency": currency, "reason": reason, "at": at,
        }  # fmt: skip
        added = await row_writes.add(connection, balance_entries, row)
        entry = BalanceEntry.model_validate(dict(added))
        await _announce(connection, entry, at)
        await account_currency.leave(connection, account_id=account_id, at=at)
    return entry, await money(connection, account_id, entry.currency)


async def adjustment(connection: AsyncConnection, adjustment_id: UUID) -> BalanceEntry | None:
    """Return this adjustment, if it was made."""
    key = keys.balance_adjustment(adjustment_id)
    row = await prepared.find(
        connection, select(balance_entries).where(balance_entries.c.key == key)
    )
    return BalanceEntry.model_validate(dict(row)) if row else None


def found_id(intent_id: str) -> UUID:
    """Return the id of the entry for the money of a lost payment, always the same one."""
    return uuid5(NAMESPACE_URL, intent_id)


async def found(connection: AsyncConnection, intent_id: str) -> BalanceEntry | None:
    """Return the entry for the money of this intent, whose payment a restore had lost."""
    return await adjustment(connection, found_id(intent_id))


async def _kind(
    connection: AsyncConnection, account_id: UUID, adjustment_id: UUID, reason: str
) -> str:
    """Return the kind of an adjustment: that of the found money that its reason names, if any."""
    named = [found_id(intent_id) for intent_id in _INTENT.findall(reason)]
    if adjustment_id in named:
        return "found"
    entry = balance_entries.c
    query = select(entry.kind).where(entry.account_id == account_id, entry.id.in_(named))
    return (await connection.scalar(query) if named else None) or "adjusted"


async def adjusted_for(connection: AsyncConnection, account_id: UUID, name: str) -> int:
    """Return the sum of the account's adjustments whose reasons name an object of the provider."""
    entry = balance_entries.c
    found = await connection.scalar(
        select(func.coalesce(func.sum(entry.amount_minor), 0)).where(
            entry.account_id == account_id,
            entry.kind.in_(ADJUSTMENTS),
            entry.reason.contains(name, autoescape=True),
        )
    )
    return int(found or 0)


async def _announce(connection: AsyncConnection, entry: BalanceEntry, at: datetime) -> None:
    """Write one audit row and one `evt.billing.balance.adjusted`."""
    subject = ids.encode(ids.ADJUSTMENT, entry.id)
    facts = {
        "adjustment_id": subject, "amount_cents": entry.amount_minor, "currency": entry.currency,
        "reason": entry.reason,
    }  # fmt: skip
    event = Announce(entry.account_id, "balance.adjusted", subject, facts)
    await outbox.announce(connection, event, at)
