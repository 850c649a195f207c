"""Many processes on the same accounts: whatever they did, the books are right to the last digit."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from decimal import Decimal
from typing import Any, Final

import pytest

from devstack.options import ROOT
from devstack.stack import StackInfo
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import broken

PROCESSES: Final = int(os.environ.get("SOAK_PROCESSES") or 4)
ROUNDS: Final = int(os.environ.get("SOAK_ROUNDS") or 40)
# The gate repeats one draw; other draws are asked for.
SEED: Final = int(os.environ.get("SOAK_SEED") or 8_128)
OVERDRAFT: Final = Decimal(5)


async def one_of_many(stack: StackInfo, accounts: list[CreditAccount], seed: int) -> dict[str, str]:
    asked = {
        "app_url": stack.app_url,
        "operator_url": stack.operator_url,
        "accounts": [str(account.id) for account in accounts],
        "seed": seed,
        "rounds": ROUNDS,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.credits.soak", json.dumps(asked),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()[-2_000:]
    told: dict[str, str] = json.loads(said)
    return told


@pytest.mark.slow
async def test_random_verbs_of_many_processes_leave_right_books(
    stack: StackInfo, new_account: Any
) -> None:
    print(f"SOAK_SEED={SEED}")  # noqa: T201 (repeats the draw)
    accounts: list[CreditAccount] = [await new_account() for _ in range(3)]
    for account in accounts:
        await account.allow_debt(str(OVERDRAFT))
        await account.grant("50")
    seeds = random.Random(SEED).sample(range(1_000_000), PROCESSES)
    answers = await asyncio.gather(*(one_of_many(stack, accounts, seed) for seed in seeds))
    told: Counter[str] = Counter()
    for answer in answers:
        told.update({name: Decimal(amount) for name, amount in answer.items()})
    assert {name.split()[1] for name in told} == {"grant", "used", "taken"}
    for account in accounts:
        books = await account.books()
        assert 0 <= books.debt <= OVERDRAFT
        async with account.database.operator() as connection:
            assert await broken(connection, account.id) == set()
        assert await booked(account) == {
            "grant": 50 + told[f"{account.id} grant"],
            "used": told[f"{account.id} used"],
            "taken": told[f"{account.id} taken"],
        }


async def booked(account: CreditAccount) -> dict[str, Decimal]:
    """Ledger sums of the entries that were acknowledged."""
    async with account.transaction() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT CASE kind WHEN 'adjustment' THEN 'taken' WHEN 'grant' THEN kind ELSE 'used'"
            " END AS what, sum(abs(amount) + CASE kind WHEN 'debit' THEN debt ELSE 0 END)"
            " AS sum"
            " FROM credit_transactions WHERE kind IN ('grant', 'debit', 'capture', 'adjustment')"
            " GROUP BY 1"
        )
        nothing = {"grant": Decimal(0), "used": Decimal(0), "taken": Decimal(0)}
        return nothing | {row.what: row.sum for row in rows}
