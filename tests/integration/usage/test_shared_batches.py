"""Batches of many callers share their accounts, through two processes of the API.

Each batch has all accounts, in an order of its own, and one row in a hundred is an event that all
callers send. What must be in the books afterwards is added up here, from what was sent. The gate
repeats a small crowd; `USAGE_CROWD=long` has a large one.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2
import pytest

from billing.core import ids
from billing.core.database import Database
from billing.ledger.credits import service as credits
from billing.platform.accounts.schemas import AccountFields
from devstack.options import ROOT
from devstack.ports import free_ports
from tests.integration.actors import API, Actors
from tests.integration.recomputed_sums import differences
from tests.integration.upgrade.programs import Site

LONG: Final = os.environ.get("USAGE_CROWD") == "long"
ACCOUNTS: Final = 200
CALLERS: Final = 12 if LONG else 6
"""Half of them call each process."""
BATCHES: Final = 60 if LONG else 4
REPEATED: Final = ACCOUNTS // 100
"""Rows of each batch that every other caller sends too."""
SOON: Final = 10.0
"""Seconds within which every call is answered, whatever the others send: a third of what a request
may take, and many times what one takes alone.
"""
GRANTED: Final = Decimal(10_000)
PRICES: Final = {"250": Decimal("0.5"), "500": Decimal(1), "1000": Decimal(2)}
"""Of so many units of gpt-4, in credits."""

IN_THE_BOOKS: Final = """
    SELECT b.account_id, b.balance,
        (SELECT sum(remaining) FROM credit_lots WHERE account_id = b.account_id) AS in_lots,
        (SELECT -sum(amount) FROM credit_transactions
         WHERE account_id = b.account_id AND kind = 'debit') AS debited,
        (SELECT sum(events) FROM usage_counters
         WHERE account_id = b.account_id AND owner = '' AND grain = 'day') AS counted,
        (SELECT sum(credits) FROM usage_counters
         WHERE account_id = b.account_id AND owner = '' AND grain = 'day') AS priced
    FROM credit_balances AS b WHERE b.account_id = ANY(%(mine)s)
"""
RECORDS: Final = """
    SELECT account_id, event_id, total_amount FROM billing_records
    WHERE account_id = ANY(%(mine)s) AND kind = 'usage' AND billing_status = 'completed'
"""


@dataclass
class Told:
    """The events that callers sent, and the answers they were given."""

    cost: dict[tuple[UUID, str], Decimal] = field(default_factory=dict)
    """Of each event of an account, once, however often it was sent."""
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The number of answers to each event, by their verdict."""
    seconds: list[float] = field(default_factory=list)


class Caller:
    """A platform that sends one batch after the other to one of the processes."""

    def __init__(
        self, client: httpx2.AsyncClient, headers: dict[str, str], mine: list[UUID], told: Told
    ) -> None:
        self.client, self.headers, self.mine, self.told = client, headers, mine, told
        self.name = uuid4().hex

    async def send(self, repeated: list[list[dict[str, str]]]) -> None:
        """A batch of all accounts for each of these lists of rows that all callers send."""
        for number, shared in enumerate(repeated):
            others = random.sample(self.mine, ACCOUNTS - len(shared))
            rows = shared + [use(one, f"{self.name}/{number}/{one.hex}") for one in others]
            random.shuffle(rows)
            begun = time.monotonic()
            answer = await self.client.post(
                f"{API}/usage/batch", json={"events": rows}, headers=self.headers
            )
            self.told.seconds.append(time.monotonic() - begun)
            assert answer.status_code == 200, answer.text
            self._note(rows, answer.json()["results"])

    def _note(self, rows: list[dict[str, str]], results: list[dict[str, Any]]) -> None:
        for row, result in zip(rows, results, strict=True):
            assert result["status"] in ("recorded", "duplicate"), result
            account = ids.decode(ids.ACCOUNT, row["account_id"])
            self.told.cost[account, row["event_id"]] = PRICES[row["usage_amount"]]
            self.told.said[row["event_id"], result["status"]] += 1


def use(account: UUID, event: str) -> dict[str, str]:
    """A row of a batch."""
    return {
        "account_id": ids.encode(ids.ACCOUNT, account), "event_id": event,
        "product_id": "gpt-4", "usage_amount": random.choice(list(PRICES)),
    }  # fmt: skip


@pytest.fixture
async def two(actors: Actors) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Clients of the stack's own process and of another one on the same database."""
    ports = free_ports()
    async with AsyncExitStack() as opened:
        site = Site(actors.stack, ROOT).api(ports.api, ports.api_metrics)
        second = await opened.enter_async_context(site)
        yield [
            await opened.enter_async_context(
                httpx2.AsyncClient(base_url=url, trust_env=False, timeout=10 * SOON)
            )
            for url in (actors.stack.api_url, second.api_url)
        ]


async def opened(database: Database) -> list[UUID]:
    """Fresh accounts, each with credits for whatever is used here."""
    async with database.operator() as connection:
        made = [
            await credits.open_account(connection, AccountFields(external_id=f"shop-{uuid4()}"))
            for _ in range(ACCOUNTS)
        ]
    mine = [account.id for account, _ in made]
    async with database.tenant(*mine) as connection:
        for one in mine:
            await credits.grant(
                connection, account_id=one, amount=GRANTED, kind="purchase", key=f"test/{uuid4()}",
                is_paid=True, reason="test",
            )  # fmt: skip
    return mine


async def test_batches_that_share_accounts_through_two_processes_count_each_use_once(
    actors: Actors, database: Database, two: list[httpx2.AsyncClient]
) -> None:
    mine, told = await opened(database), Told()
    repeated = [
        [use(one, f"all/{number}/{one.hex}") for one in random.sample(mine, REPEATED)]
        for number in range(BATCHES)
    ]
    callers = [
        Caller(two[number % 2], actors.headers("*", "service"), mine, told)
        for number in range(CALLERS)
    ]
    async with asyncio.TaskGroup() as crowd:
        for one in callers:
            crowd.create_task(one.send(repeated))

    assert max(told.seconds) < SOON, sorted(told.seconds)
    shared = {row["event_id"] for rows in repeated for row in rows}
    assert len(told.cost) == BATCHES * (CALLERS * (ACCOUNTS - REPEATED) + REPEATED)
    for _, event in told.cost:
        assert told.said[event, "recorded"] == 1, event
        assert told.said[event, "duplicate"] == (CALLERS - 1 if event in shared else 0), event
    await agree(actors, mine, told)


async def agree(actors: Actors, mine: list[UUID], told: Told) -> None:
    """Records, ledger, lots, balances and counters are what was sent, to the last digit."""
    rows = await actors.sql(RECORDS, mine=mine)
    assert len(rows) == len(told.cost), "an event was recorded twice"
    kept = {(row["account_id"], row["event_id"]): row["total_amount"] for row in rows}
    assert kept == told.cost
    events, cost = Counter[UUID](), dict.fromkeys(mine, Decimal(0))
    for (account, _), amount in told.cost.items():
        events[account] += 1
        cost[account] += amount
    books = await actors.sql(IN_THE_BOOKS, mine=mine)
    assert {row.pop("account_id"): row for row in books} == {
        one: {
            "balance": GRANTED - cost[one], "in_lots": GRANTED - cost[one], "debited": cost[one],
            "counted": events[one], "priced": cost[one],
        }
        for one in mine
    }  # fmt: skip
    assert await differences(actors.sql, mine) == []
