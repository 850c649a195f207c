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

from billing.credits.checks import violations
from embedded.options import ROOT
from embedded.stack import StackInfo
from tests.integration.credits.conftest import Purse

PROCESSES: Final = int(os.environ.get("CROWD_PROCESSES") or 4)
ROUNDS: Final = int(os.environ.get("CROWD_ROUNDS") or 40)
# The gate repeats one draw; other draws are asked for.
SEED: Final = int(os.environ.get("CROWD_SEED") or 8_128)
OVERDRAFT: Final = Decimal(5)


async def one_of_many(stack: StackInfo, purses: list[Purse], seed: int) -> dict[str, str]:
    asked = {
        "app_url": stack.app_url,
        "operator_url": stack.operator_url,
        "accounts": [str(purse.id) for purse in purses],
        "seed": seed,
        "rounds": ROUNDS,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.credits.crowd", json.dumps(asked),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()[-2_000:]
    told: dict[str, str] = json.loads(said)
    return told


@pytest.mark.slow
async def test_random_verbs_of_many_processes_leave_right_books(
    stack: StackInfo, new_purse: Any
) -> None:
    print(f"CROWD_SEED={SEED}")  # noqa: T201 (repeats the draw)
    purses: list[Purse] = [await new_purse() for _ in range(3)]
    for purse in purses:
        await purse.allow_debt(str(OVERDRAFT))
        await purse.grant("50")
    seeds = random.Random(SEED).sample(range(1_000_000), PROCESSES)
    answers = await asyncio.gather(*(one_of_many(stack, purses, seed) for seed in seeds))
    told: Counter[str] = Counter()
    for answer in answers:
        told.update({name: Decimal(amount) for name, amount in answer.items()})
    assert {name.split()[1] for name in told} == {"grant", "used", "taken"}
    for purse in purses:
        books = await purse.books()
        assert 0 <= books.debt <= OVERDRAFT
        async with purse.database.operator() as connection:
            assert await violations(connection, purse.id) == []
        assert await booked(purse) == {
            "grant": 50 + told[f"{purse.id} grant"],
            "used": told[f"{purse.id} used"],
            "taken": told[f"{purse.id} taken"],
        }


async def booked(purse: Purse) -> dict[str, Decimal]:
    """What the ledger says of that which was acknowledged."""
    async with purse.transaction() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT CASE kind WHEN 'adjustment' THEN 'taken' WHEN 'grant' THEN kind ELSE 'used'"
            " END AS what, sum(abs(amount) + CASE kind WHEN 'debit' THEN debt ELSE 0 END)"
            " AS sum"
            " FROM credit_transactions WHERE kind IN ('grant', 'debit', 'capture', 'adjustment')"
            " GROUP BY 1"
        )
        nothing = {"grant": Decimal(0), "used": Decimal(0), "taken": Decimal(0)}
        return nothing | {row.what: row.sum for row in rows}
