"""A month with very many uses beyond the plan is closed, and nobody waits long for its account.

The gate closes one that needs two parts; `LARGE_CLOSE=200000` closes so many uses, prints what it
took, and holds it against its limits.
"""

import asyncio
import os
import time
from typing import Final

import psutil

from billing.integrity import service as integrity
from tests.integration.actors import API, Actors, Merchant, wait_for
from tests.integration.arrears.test_overage import RENEWAL, START, lines, use
from tests.integration.faults.rows import open_operator
from tests.integration.sums import differences

LARGE: Final = os.environ.get("LARGE_CLOSE")
USES: Final = int(LARGE or 6_000)
ROWS: Final = 1_000
LONGEST_SECONDS: Final = 2.0
MORE_MEMORY: Final = 100 * 2**20


async def pour(merchant: Merchant) -> None:
    """All the uses, a thousand at once: each is beyond the plan."""
    headers = merchant.actors.headers(merchant.id, "billing")
    for first in range(0, USES, ROWS):
        rows = [
            {"feature_type": "ai_responses", "usage_amount": "1", "event_id": f"use-{first + n}"}
            for n in range(ROWS)
        ]
        answer = await merchant.actors.client.post(
            f"{API}/usage/batch", json={"events": rows}, headers=headers
        )
        assert answer.json()["recorded"] == ROWS, answer.text[:500]


async def slowest_use(merchant: Merchant, stop: asyncio.Event) -> float:
    """Meanwhile somebody tells of old and new uses; the longest they waited."""
    longest = 0.0
    while not stop.is_set():
        begun = time.monotonic()
        await use(merchant, "1", at=START)
        await use(merchant, "1")
        longest = max(longest, time.monotonic() - begun)
        await asyncio.sleep(0.02)
    return longest


async def books_hold(merchant: Merchant, stop: asyncio.Event) -> int:
    """Meanwhile records and lines always agree; how often somebody looked."""
    looks = 0
    async with open_operator(merchant.actors.stack) as database:
        while not stop.is_set():
            report = await integrity.examine(database, merchant.uuid)
            wrong = [one for one in report.checks if not one.ok and one.name.startswith("usage_")]
            assert wrong == []
            looks += 1
    return looks


async def worker_memory(actors: Actors) -> int:
    """Bytes that the worker has in memory."""
    pid = (await actors.control.status())["worker"].pid
    return int(psutil.Process(pid).memory_info().rss)


async def all_settled(merchant: Merchant) -> None:
    """No use of the month that ended waits any more."""
    await wait_for(
        lambda: merchant.rows(
            "SELECT 1 FROM billing_records WHERE account_id = %(me)s AND period_start < %(second)s"
            " AND billing_status = 'pending' AND NOT is_late LIMIT 1",
            second=RENEWAL,
        ),
        "every use of the month is settled",
        lambda seen: not seen,
        patience=120,
    )


async def test_a_month_of_many_uses_is_closed_without_holding_its_account(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock(START)
    await merchant.subscribed("basic")
    await use(merchant, "500")
    await pour(merchant)
    before, stop = await worker_memory(actors), asyncio.Event()
    user = asyncio.create_task(slowest_use(merchant, stop))
    auditor = asyncio.create_task(books_hold(merchant, stop))
    begun = time.monotonic()
    try:
        await merchant.advance(to=RENEWAL)
        closed = time.monotonic() - begun
        await all_settled(merchant)
    finally:
        stop.set()
    settled, longest = time.monotonic() - begun, await user
    assert await auditor > 0
    grown = await worker_memory(actors) - before
    print(  # noqa: T201 (the measurement)
        f"{USES} uses: closed in {closed:.1f} s, settled in {settled:.1f} s, a use waited"
        f" {longest:.2f} s at most, the worker grew by {grown / 2**20:.0f} MiB"
    )
    billed = await lines(merchant)
    assert billed[0][1] == "ai_responses"
    assert billed[0][2] >= USES
    if LARGE:
        assert longest < LONGEST_SECONDS
        assert grown < MORE_MEMORY
    parts = [step for step in await merchant.steps() if step.startswith("complete-ai_responses")]
    assert len(parts) == USES // 5_000, "a transaction completes 5,000, the first is the close's"
    await what_came_late_is_billed_next(merchant)
    assert await differences(actors.sql, [merchant.uuid]) == []


async def what_came_late_is_billed_next(merchant: Merchant) -> None:
    """No part took with it what came in meanwhile: it has a line on the next invoice."""
    late = "SELECT sum(charged_amount) AS units FROM billing_records WHERE is_late AND"
    (waiting,) = await merchant.rows(f"{late} account_id = %(me)s AND billing_status = 'pending'")
    await merchant.advance(to="2027-03-01T10:00:00Z")
    billed = await lines(merchant)
    assert waiting["units"] > 0
    assert float(waiting["units"]) in [line[2] for line in billed[1:]]
