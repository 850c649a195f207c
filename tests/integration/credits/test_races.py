"""Many at once: never below nothing, never twice, one winner, no deadlock."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import BillingError
from billing.ledger.credits import service
from devstack.stack import StackInfo
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount, NewAccount, open_pools
from tests.integration.credits.batches import Item, debit_batch
from tests.integration.credits.books import decimals

MANY = 50


@pytest.fixture(scope="module")
async def wide(stack: StackInfo) -> AsyncIterator[Database]:
    """A connection for each of the many, none of them kept for the tests after these."""
    async with open_pools(stack, MANY) as opened:
        yield opened


@pytest.fixture
async def account(new_account: NewAccount, wide: Database) -> CreditAccount:
    """A fresh account that many use at once."""
    return replace(await new_account(), database=wide)


async def outcome(verb: Coroutine[Any, Any, Any]) -> str:
    """`ok`, `replayed`, or the code of the refusal."""
    try:
        answer = await verb
    except BillingError as error:
        return error.code
    return "replayed" if answer.replayed else "ok"


async def test_fifty_debits_on_a_balance_for_ten_take_exactly_ten(account: CreditAccount) -> None:
    for _ in range(4):
        await account.grant("2.5")  # debits cross from lot to lot while others wait
    told = await asyncio.gather(*(outcome(account.debit("1")) for _ in range(MANY)))
    assert Counter(told) == {"ok": 10, "INSUFFICIENT_CREDITS": 40}
    assert (await account.books()).balance == 0


async def test_fifty_holds_on_a_balance_for_ten_hold_exactly_ten(account: CreditAccount) -> None:
    await account.grant("10.5")
    told = await asyncio.gather(*(outcome(account.hold("1")) for _ in range(MANY)))
    assert Counter(told) == {"ok": 10, "INSUFFICIENT_CREDITS": 40}
    books = await account.books()
    assert (books.balance, books.held) == decimals("10.5", 10)


async def test_fifty_debits_with_one_key_are_one_debit(account: CreditAccount) -> None:
    await account.grant("100")
    told = await asyncio.gather(*(outcome(account.debit("1", key="same")) for _ in range(MANY)))
    assert Counter(told) == {"ok": 1, "replayed": 49}
    assert (await account.books()).balance == 99


async def test_fifty_grants_with_one_key_are_one_grant(account: CreditAccount) -> None:
    key = f"pur/{uuid4()}"
    told = await asyncio.gather(*(outcome(account.grant("5", key=key)) for _ in range(MANY)))
    assert Counter(told) == {"ok": 1, "replayed": 49}
    assert (await account.books()).balance == 5


@pytest.mark.parametrize("turn", range(8))
async def test_a_hold_captured_released_and_expired_at_once_ends_one_way(
    account: CreditAccount, turn: int
) -> None:
    await account.grant("10")
    until = real_now() + timedelta(hours=1)
    hold = await account.hold("6", expires_at=until)
    verbs = [
        outcome(account.do(holding.capture, hold_id=hold.hold_id)),
        outcome(account.do(service.release, hold_id=hold.hold_id)),
        account.do(service.expire, at=until),
    ]
    random.Random(turn).shuffle(verbs)
    answers = await asyncio.gather(*verbs)
    told = [answer for answer in answers if isinstance(answer, str)]
    expired = sum(answer.holds for answer in answers if not isinstance(answer, str))
    assert told.count("ok") + expired == 1
    assert told.count("HOLD_RESOLVED") == 2 - told.count("ok")
    books = await account.books()
    assert books.held == 0
    assert books.balance in (4, 10)


async def test_mixed_batches_over_ten_accounts_never_deadlock(new_account: Any) -> None:
    accounts: list[CreditAccount] = [await new_account() for _ in range(10)]
    for account in accounts:
        await account.grant("400")
    dice = random.Random(7)

    async def one(number: int) -> None:
        async with accounts[0].transaction() as connection:
            if number % 4 == 0:
                chosen = dice.choice(accounts)
                await service.grant(
                    connection, account_id=chosen.id, amount=Decimal(1), kind="plan",
                    key=f"race/{uuid4()}", is_paid=False, reason="race",
                )  # fmt: skip
            else:
                items = [Item(p.id, "1", f"race/{uuid4()}") for p in dice.sample(accounts, 6)]
                rows = await debit_batch(connection, items)
                assert {row["verdict"] for row in rows} == {"ok"}

    await asyncio.gather(*(one(number) for number in range(80)))
    balances = [(await account.books()).balance for account in accounts]
    assert sum(balances) == 10 * 400 + 20 - 60 * 6
