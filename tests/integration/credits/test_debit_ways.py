"""Debits of many accounts in one statement do what item by item would."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import records
from billing.core.clock import real_now
from tests.integration.credits.accounts import CreditAccount

ROUNDS: Final = 40
MANY: Final = text("SELECT * FROM credit_debit_many(CAST(:items AS credit_debit_item[]), :at)")
LOCK: Final = text("SELECT credit_lock_all(:accounts)")
FAST: Final = text(
    "SELECT * FROM credit_debit_fast(:accounts, :times, :amounts, :keys, :reasons, :paid_only)"
)
# The lot of each account that burns first; null where one of them does not cover its debit.
LOTS: Final = text(
    """
    SELECT CASE WHEN bool_and(l.free >= i.amount) THEN array_agg(l.id ORDER BY i.place) END
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:amounts AS numeric[])) WITH ORDINALITY
        AS i(account_id, amount, place)
    LEFT JOIN LATERAL (
        SELECT o.id, o.free FROM credit_burn_order(i.account_id) AS o
        WHERE o.scope IS NULL AND (o.is_paid OR NOT :paid_only) LIMIT 1) AS l ON true
    """
)
APART: Final = text(
    "SELECT credit_debit_apart_fast("
    ":accounts, :times, :amounts, :keys, :reasons, :lots, :paid_only) AS entries"
)
STATE: Final = text(
    """
    SELECT (SELECT array_agg(to_jsonb(l) ORDER BY l.id) FROM credit_lots AS l) AS lots,
        (SELECT array_agg(to_jsonb(b) ORDER BY b.account_id) FROM credit_balances AS b) AS balances,
        (SELECT array_agg((to_jsonb(t) - '{id,real_at}'::text[]) || jsonb_build_object(
            'lot', p.lot_id, 'part', p.amount) ORDER BY t.account_id, t.seq, p.lot_id)
        FROM credit_transactions AS t
        LEFT JOIN credit_transaction_lots AS p ON p.transaction_id = t.id) AS entries
    """
)


async def _account(new_account: Any, dice: random.Random) -> CreditAccount:
    made: CreditAccount = await new_account()
    await made.grant("50", scope="chat")
    for _ in range(dice.randint(1, 4)):
        ends = dice.choice((None, real_now() + timedelta(days=dice.randint(1, 9))))
        await made.grant(
            dice.choice(("2", "5", "0.7")), is_paid=False, kind="plan", expires_at=ends
        )
    await made.grant("500")
    await made.hold("1.3")
    return made


async def _many(connection: AsyncConnection, items: list[dict[str, Any]], at: datetime) -> None:
    rows = records(
        (one["account"], one["amount"], one["key"], one["key"], "use", None, one["paid_only"])
        + (None,) * 3
        for one in items
    )
    answers = (await connection.execute(MANY, {"items": rows, "at": at})).mappings().all()
    assert {row["verdict"] for row in answers} == {"ok"}


def _values(items: list[dict[str, Any]], at: datetime) -> dict[str, Any]:
    return {
        "accounts": [one["account"] for one in items], "times": [at for _ in items],
        "amounts": [one["amount"] for one in items], "keys": [one["key"] for one in items],
        "reasons": ["use" for _ in items], "paid_only": items[0]["paid_only"],
    }  # fmt: skip


async def _fast(connection: AsyncConnection, items: list[dict[str, Any]], at: datetime) -> None:
    await connection.execute(LOCK, {"accounts": [one["account"] for one in items]})
    done = (await connection.execute(FAST, _values(items, at))).one()
    assert done.whole
    assert len(set(done.entries)) == len(items)


async def _apart(connection: AsyncConnection, items: list[dict[str, Any]], at: datetime) -> bool:
    """False where more than one lot is needed, or an account comes twice."""
    values = _values(items, at)
    times = values.pop("times")
    named = {name: values[name] for name in ("accounts", "amounts", "paid_only")}
    accounts = values["accounts"]
    lots = (await connection.execute(LOTS, named)).scalar_one()
    if lots is None or len(set(accounts)) < len(accounts):
        return False
    await connection.execute(LOCK, {"accounts": accounts})
    done = (await connection.execute(APART, values | {"lots": lots, "times": times})).one()
    assert len(set(done.entries)) == len(items)
    return True


@pytest.mark.parametrize("seed", range(2))
async def test_in_one_statement_or_item_by_item(new_account: Any, seed: int) -> None:
    """The same entries, parts, lots and balances; what has run out was settled before."""
    dice = random.Random(seed)
    accounts = [await _account(new_account, dice) for _ in range(4)]
    account_ids: list[UUID] = [one.id for one in accounts]
    apart = 0
    for _ in range(ROUNDS):
        paid_only = dice.random() < 0.3
        items = [
            {
                "account": dice.choice(account_ids),
                "key": f"use/{uuid4()}",
                "paid_only": paid_only,
                "amount": Decimal(dice.choice(("0.5", "1", "3.25", "0.000001"))),
            }
            for _ in range(dice.choice((1, 2, 3, 12)))
        ]
        at = real_now()
        async with accounts[0].database.tenant(*account_ids) as connection:
            await connection.execute(text("SAVEPOINT single"))
            await _many(connection, items, at)
            wanted = (await connection.execute(STATE)).one()
            await connection.execute(text("ROLLBACK TO SAVEPOINT single"))
            if await _apart(connection, items, at):
                apart += 1
                assert (await connection.execute(STATE)).one() == wanted
                await connection.execute(text("ROLLBACK TO SAVEPOINT single"))
            await _fast(connection, items, at)
            assert (await connection.execute(STATE)).one() == wanted
    assert ROUNDS > apart > 0
    for one in accounts:
        await one.books()
