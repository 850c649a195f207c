"""A month with 200,000 uses beyond the plan is closed, and nobody waits long for its account.

Not part of the gate: `LARGE_CLOSE=200000` runs it with so many uses, and prints what it took.
"""

import asyncio
import os
import time
from typing import Final

import psutil
import pytest

from tests.integration.actors import API, Actors, Merchant, wait_for
from tests.integration.arrears.test_overage import RENEWAL, START, lines, use
from tests.integration.sums import differences

USES: Final = int(os.environ.get("LARGE_CLOSE") or 0)
ROWS: Final = 1_000
LONGEST_SECONDS: Final = 2.0
CHUNK_MEMORY: Final = 100 * 2**20


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
    """Meanwhile somebody goes on using the product; the longest they waited."""
    longest = 0.0
    while not stop.is_set():
        begun = time.monotonic()
        await use(merchant, "1")
        longest = max(longest, time.monotonic() - begun)
        await asyncio.sleep(0.02)
    return longest


async def worker_memory(actors: Actors) -> int:
    """Bytes that the worker has in memory."""
    pid = (await actors.control.status())["worker"].pid
    return int(psutil.Process(pid).memory_info().rss)


async def all_settled(merchant: Merchant) -> None:
    """No use of the month that ended waits any more."""
    await wait_for(
        lambda: merchant.rows(
            "SELECT 1 FROM billing_records WHERE account_id = %(me)s AND period_start < %(second)s"
            " AND billing_status = 'pending' LIMIT 1",
            second=RENEWAL,
        ),
        "every use of the month is settled",
        lambda seen: not seen,
        patience=120,
    )


@pytest.mark.skipif(not USES, reason="runs with LARGE_CLOSE=200000")
async def test_a_month_of_many_uses_is_closed_without_holding_its_account(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock(START)
    await merchant.subscribed("basic")
    await use(merchant, "500")
    await pour(merchant)
    before, stop = await worker_memory(actors), asyncio.Event()
    user = asyncio.create_task(slowest_use(merchant, stop))
    begun = time.monotonic()
    try:
        await merchant.advance(to=RENEWAL)
        closed = time.monotonic() - begun
        await all_settled(merchant)
    finally:
        stop.set()
    settled, longest = time.monotonic() - begun, await user
    grown = await worker_memory(actors) - before
    print(  # noqa: T201 (the measurement)
        f"{USES} uses: closed in {closed:.1f} s, settled in {settled:.1f} s, a use waited"
        f" {longest:.2f} s at most, the worker grew by {grown / 2**20:.0f} MiB"
    )
    billed = await lines(merchant)
    assert billed[0][1] == "ai_responses"
    assert billed[0][2] >= USES
    assert longest < LONGEST_SECONDS
    assert grown < CHUNK_MEMORY
    assert await differences(actors.sql, [merchant.uuid]) == []
