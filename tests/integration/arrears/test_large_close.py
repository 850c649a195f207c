"""A month with very many uses beyond the plan is closed, and nobody waits long for its account.

The gate closes one that needs two parts; `LARGE_CLOSE=200000` closes so many uses, prints what it
took, and holds it against its limits.
"""

import asyncio
import os
import time
from typing import Final

import psutil

from billing.insight.integrity import service as integrity
from tests.integration.actors import API, Actors, Customer, wait_for
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, use
from tests.integration.faults.rows import open_operator
from tests.integration.recomputed_sums import differences

LARGE: Final = os.environ.get("LARGE_CLOSE")
USES: Final = int(LARGE or 6_000)
ROWS: Final = 1_000
LONGEST_SECONDS: Final = 2.0
MORE_MEMORY: Final = 100 * 2**20


async def pour(customer: Customer) -> None:
    """All the uses, a thousand at once: each is beyond the plan."""
    headers = customer.actors.headers(customer.id, "billing")
    for first in range(0, USES, ROWS):
        rows = [
            {"feature_type": "ai_responses", "usage_amount": "1", "event_id": f"use-{first + n}"}
            for n in range(ROWS)
        ]
        answer = await customer.actors.client.post(
            f"{API}/usage/batch", json={"events": rows}, headers=headers
        )
        assert answer.json()["recorded"] == ROWS, answer.text[:500]


async def slowest_use(customer: Customer, stop: asyncio.Event) -> float:
    """Meanwhile somebody tells of old and new uses; the longest they waited."""
    longest = 0.0
    while not stop.is_set():
        begun = time.monotonic()
        await use(customer, "1", at=START)
        await use(customer, "1")
        longest = max(longest, time.monotonic() - begun)
        await asyncio.sleep(0.02)
    return longest


async def books_hold(customer: Customer, stop: asyncio.Event) -> int:
    """Meanwhile records and lines always agree; how often somebody looked."""
    looks = 0
    async with open_operator(customer.actors.stack) as database:
        while not stop.is_set():
            report = await integrity.examine(database, customer.uuid)
            wrong = [one for one in report.checks if not one.ok and one.name.startswith("usage_")]
            assert wrong == []
            looks += 1
    return looks


async def worker_memory(actors: Actors) -> int:
    """Bytes that the worker has in memory."""
    pid = (await actors.control.status())["worker"].pid
    return int(psutil.Process(pid).memory_info().rss)


async def all_settled(customer: Customer) -> None:
    """No use of the month that ended waits any more."""
    await wait_for(
        lambda: customer.rows(
            "SELECT 1 FROM billing_records WHERE account_id = %(me)s AND period_start < %(second)s"
            " AND billing_status = 'pending' AND NOT is_late LIMIT 1",
            second=RENEWAL,
        ),
        "every use of the month is settled",
        lambda seen: not seen,
        patience=120,
    )


async def test_a_month_of_many_uses_is_closed_without_holding_its_account(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    await pour(customer)
    before, stop = await worker_memory(actors), asyncio.Event()
    user = asyncio.create_task(slowest_use(customer, stop))
    auditor = asyncio.create_task(books_hold(customer, stop))
    begun = time.monotonic()
    try:
        await customer.advance(to=RENEWAL)
        closed = time.monotonic() - begun
        await all_settled(customer)
    finally:
        stop.set()
    settled, longest = time.monotonic() - begun, await user
    assert await auditor > 0
    grown = await worker_memory(actors) - before
    print(  # noqa: T201 (the measurement)
        f"{USES} uses: closed in {closed:.1f} s, settled in {settled:.1f} s, a use waited"
        f" {longest:.2f} s at most, the worker grew by {grown / 2**20:.0f} MiB"
    )
    billed = await lines(customer)
    assert billed[0][1] == "ai_responses"
    assert billed[0][2] >= USES
    if LARGE:
        assert longest < LONGEST_SECONDS
        assert grown < MORE_MEMORY
    parts = [step for step in await customer.steps() if step.startswith("complete-ai_responses")]
    assert len(parts) == USES // 5_000, "a transaction completes 5,000, the first is the close's"
    await what_came_late_is_billed_next(customer)
    assert await differences(actors.sql, [customer.uuid]) == []


async def what_came_late_is_billed_next(customer: Customer) -> None:
    """No part took with it what came in meanwhile: it has a line on the next invoice."""
    late = "SELECT sum(charged_units) AS units FROM billing_records WHERE is_late AND"
    (waiting,) = await customer.rows(f"{late} account_id = %(me)s AND billing_status = 'pending'")
    await customer.advance(to="2027-03-01T10:00:00Z")
    billed = await lines(customer)
    assert waiting["units"] > 0
    assert float(waiting["units"]) in [line[2] for line in billed[1:]]
