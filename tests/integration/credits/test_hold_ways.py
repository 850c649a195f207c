"""Holds and captures of many accounts at once do what each would do by itself."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.ledger.credits import service
from billing.ledger.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from tests.integration.credits.accounts import CreditAccount

ROUNDS = 60
# What differs from try to try: names that are made anew, and the real time.
NAMES = "{id,hold_id,transaction_id,real_at,woken_at,key,lot_id}"
# Neither the worker nor the sweeper may write between the two tries.
ALONE_HERE = (
    text(
        "SELECT FROM credit_balances WHERE account_id = ANY (:accounts)"
        " ORDER BY account_id FOR NO KEY UPDATE"
    ),
    text("SELECT FROM matters WHERE account_id = ANY (:accounts) ORDER BY workflow_id FOR UPDATE"),
)
STATE = text(
    """
    SELECT (SELECT array_agg((to_jsonb(t) - CAST(:names AS text[])) || jsonb_build_object(
            'lot', (SELECT granted_seq FROM credit_lots WHERE id = p.lot_id), 'part', p.amount)
            ORDER BY t.account_id, t.created_at, p.position)
        FROM credit_holds AS t LEFT JOIN credit_hold_lots AS p ON p.hold_id = t.id) AS holds,
        (SELECT array_agg(to_jsonb(t) ORDER BY t.id) FROM credit_lots AS t) AS lots,
        (SELECT array_agg(to_jsonb(t) ORDER BY t.account_id) FROM credit_balances AS t) AS balances,
        (SELECT array_agg((to_jsonb(t) - CAST(:names AS text[])) || jsonb_build_object(
            'lot', p.lot_id, 'part', p.amount) ORDER BY t.account_id, t.seq, p.lot_id)
        FROM credit_transactions AS t
        LEFT JOIN credit_transaction_lots AS p ON p.transaction_id = t.id) AS entries,
        (SELECT array_agg((to_jsonb(t) - CAST(:names AS text[])) || jsonb_build_object(
            'seq', e.seq) ORDER BY t.account_id, e.seq)
        FROM capture_logs AS t JOIN credit_transactions AS e ON e.id = t.transaction_id) AS logs,
        (SELECT array_agg(to_jsonb(t) - CAST(:names AS text[]) ORDER BY t.workflow_id)
        FROM matters AS t WHERE account_id = ANY (:accounts)) AS matters,
        (SELECT array_agg(t.data ORDER BY t.account_id, t.seq)
        FROM events AS t WHERE account_id = ANY (:accounts)) AS events
    """
)
HOLD = text(
    "SELECT * FROM credit_hold_one_v2(ROW(CAST(:account AS uuid), CAST(:amount AS numeric), :key,"
    " :hash, :reason, CAST(:ends AS timestamptz), CAST(:lifetime AS interval), "
    " CAST(:scope AS text), CAST(:paid AS boolean), NULL, NULL)::credit_hold_item_v2, :at)"
)
CAPTURE = text(
    "SELECT * FROM credit_capture_one(ROW(CAST(:account AS uuid), CAST(:hold AS uuid),"
    " CAST(:amount AS numeric), :reason, NULL)::credit_capture_item, :at)"
)
FORGET = text("UPDATE matters SET next_due = NULL WHERE account_id = ANY (:accounts)")
KEY = text("SELECT grant_key FROM credit_lots WHERE id = :lot")
Answers = list[dict[str, Any]]


async def _account(new_account: Any) -> CreditAccount:
    made: CreditAccount = await new_account()
    await made.grant("40", scope="chat")
    await made.grant("15", is_paid=False, kind="plan", expires_at=real_now() + timedelta(hours=5))
    await made.grant("2000")
    return made


async def _take_back(account: CreditAccount) -> None:
    """Ask a lot back of which some is held: the rest is taken when the hold ends."""
    grant = await account.grant("3", scope="chat", key=f"claimed/{uuid4()}", priority=1)
    held = await account.hold("3", scope="chat")
    assert held.amount == grant.amount
    async with account.transaction() as connection:
        found = await connection.execute(KEY, {"lot": grant.lot_id})
        await service.clawback(
            connection, account_id=account.id, grant_key=found.scalar_one(), amount=Decimal(1),
            key=str(uuid4()), reason="back",
        )  # fmt: skip


async def _state(connection: AsyncConnection, account_ids: list[UUID]) -> Any:
    row = await connection.execute(STATE, {"names": NAMES, "accounts": account_ids})
    return row.one()


def _told(answer: Any) -> tuple[Any, ...]:
    """Of an answer or a row what does not differ from try to try; a refusal is one word."""
    if isinstance(answer, Exception):
        return ("refused",)
    fact = answer if isinstance(answer, dict) else answer.model_dump()
    if fact.get("verdict", "ok") not in ("ok", "duplicate"):
        return ("refused",)
    names = ("amount", "expires_at", "status", "captured", "created_at", "released", "balance")
    return tuple(fact[name] for name in names if name in fact)


def _hold(rnd: random.Random, account: CreditAccount, known: list[str]) -> dict[str, Any]:
    if not known or rnd.random() < 0.95:
        known.append(str(uuid4()))
    ends = rnd.choice((None, None, real_now() + timedelta(hours=rnd.choice((1, 9, -1, 9, 9)))))
    return {
        "account_id": account.id,
        "key": rnd.choice(known[-1:]) if rnd.random() < 0.95 else known[0],
        "amount": Decimal(rnd.choice(("1", "0.5", "2", "9", "60", "0.000001"))), "reason": "held",
        "expires_at": ends, "lifetime": None if ends else timedelta(minutes=rnd.choice((5, 500))),
        "scope": rnd.choice((None, None, "chat")), "paid_only": rnd.random() < 0.3,
    }  # fmt: skip


async def _holds_alone(connection: AsyncConnection, orders: list[HoldOrder], at: Any) -> Answers:
    found = []
    for one in sorted(orders, key=lambda one: one.account_id.int):
        values = {
            "account": one.account_id, "amount": one.amount, "key": one.key, "hash": one.hash,
            "reason": one.reason, "ends": one.expires_at, "at": at, "scope": one.scope,
            "paid": one.paid_only, "lifetime": one.lifetime,
        }  # fmt: skip
        found.append(dict((await connection.execute(HOLD, values)).mappings().one()))
    return found


async def _captures_alone(
    connection: AsyncConnection, orders: list[CaptureOrder], at: Any
) -> Answers:
    found = []
    for one in sorted(orders, key=lambda one: one.account_id.int):
        values = {
            "account": one.account_id, "hold": one.hold_id, "amount": one.amount,
            "reason": one.reason, "at": at,
        }  # fmt: skip
        found.append(dict((await connection.execute(CAPTURE, values)).mappings().one()))
    return found


async def _both(
    account: CreditAccount,
    account_ids: list[UUID],
    orders: list[Any],
    at: datetime,
    alone: Any,
    together: Any,
) -> list[Any]:
    """Do it one by one, undo it, do it together: the same answers and the same rows."""
    orders = sorted(orders, key=lambda one: one.account_id.int)
    async with account.database.tenant(*account_ids) as connection:
        for rows in ALONE_HERE:
            await connection.execute(rows, {"accounts": account_ids})
        await connection.execute(text("SAVEPOINT alone"))
        told = [_told(one) for one in await alone(connection, orders, at)]
        wanted = await _state(connection, account_ids)
        await connection.execute(text("ROLLBACK TO SAVEPOINT alone"))
        answers = await together(connection, orders, at)
        assert [_told(one) for one in answers] == told
        assert await _state(connection, account_ids) == wanted
    return [one for one in answers if not isinstance(one, Exception)]


@pytest.mark.parametrize("seed", range(2))
async def test_together_or_alone(new_account: Any, seed: int) -> None:
    rnd = random.Random(seed)
    accounts = [await _account(new_account) for _ in range(4)]
    account_ids = [one.id for one in accounts]
    keys: dict[UUID, list[str]] = {one: [] for one in account_ids}
    open_: list[tuple[UUID, UUID, Decimal]] = []
    for turn in range(ROUNDS):
        async with accounts[0].database.operator() as connection:  # so that it is woken again
            await connection.execute(FORGET, {"accounts": account_ids})
        at = real_now() + timedelta(minutes=6 * turn)  # what was held for less expires
        if turn % 9 == 8:
            await _take_back(accounts[turn % 4])
        some = rnd.sample(accounts, rnd.randint(1, 4))
        holds = [HoldOrder(**_hold(rnd, one, keys[one.id])) for one in some]
        await _both(accounts[0], account_ids, holds, at, _holds_alone, hold_many)
        async with accounts[0].database.tenant(*account_ids) as connection:
            rows = await connection.execute(
                text(
                    "SELECT account_id, id, amount FROM credit_holds"
                    " ORDER BY created_at DESC, id DESC"
                )
            )
            open_ = [(row[0], row[1], row[2]) for row in rows][:12]
        captures = {
            account: CaptureOrder(
                account_id=account,
                hold_id=hold,
                amount=rnd.choice((None, held, held / 2 if held > 1 else None, held + 1, held)),
            )
            for account, hold, held in rnd.sample(open_, min(len(open_), 4))
        }
        await _both(
            accounts[0], account_ids, [*captures.values()], at, _captures_alone, capture_many
        )
    for one in accounts:
        await one.books()
