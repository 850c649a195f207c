"""Eight processes use the same accounts at random: ledger = lots = counters = invoice lines.

One account subscribes, and its cycle is closed by the engine in the middle. The gate repeats one
short draw; `USAGE_CROWD=long` does ten times as much in several draws, `USAGE_CROWD_SEED` another.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from billing.insight.integrity import service as integrity
from devstack.options import ROOT
from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.faults.rows import open_operator
from tests.integration.recomputed_sums import differences

PROCESSES: Final = 8
LONG: Final = os.environ.get("USAGE_CROWD") == "long"
ROUNDS: Final = 120 if LONG else 8
SEED: Final = int(os.environ.get("USAGE_CROWD_SEED") or 28)
DRAWS: Final = [SEED + number for number in range(5 if LONG else 1)]
START: Final = "2027-01-01T10:00:00Z"
CLOSES: Final = ("2027-02-01T10:00:00Z", "2027-03-01T10:00:00Z")
A_YEAR: Final = 366 * 24 * 3600
HAPPENED: Final = {
    "recorded", "duplicate", "QUOTA_EXCEEDED", "INSUFFICIENT_CREDITS", "claimed", "not allowed",
    "settled", "held", "captured", "released",
}  # fmt: skip
"""Results that every draw must contain, or it proves nothing."""
MAY_HAPPEN: Final = {
    "HOLD_RESOLVED", "INVALID_EXPIRY", "EVENT_IN_FUTURE", "UNPAID_LIMIT", "expired",
}  # fmt: skip


class Process:
    """One of the eight: started, told to end, asked what it was told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self.input, self.output = process.stdin, process.stdout

    @classmethod
    async def start(cls, asked: dict[str, Any]) -> "Process":
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.usage.soak", json.dumps(asked),
            cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, limit=2**24,
        )  # fmt: skip
        return cls(process)

    async def warm(self) -> None:
        """It has done its share; it goes on."""
        line = await self.output.readline()
        assert line == b"warm\n", (await self.process.communicate())[1].decode()[-3_000:]

    async def end(self) -> dict[str, Any]:
        said, trouble = await self.process.communicate(b"")
        assert self.process.returncode == 0, trouble.decode()[-3_000:]
        told: dict[str, Any] = json.loads(said)
        return told


@pytest.mark.slow
@pytest.mark.parametrize("seed", DRAWS)
async def test_whatever_eight_processes_do_the_books_agree(actors: Actors, seed: int) -> None:
    print(f"USAGE_CROWD_SEED={seed}")  # noqa: T201 (repeats the draw)
    customers = await asyncio.gather(
        subscriber(actors), limited(actors), poor(actors), on_free_plan(actors)
    )
    told = await soaked(actors, list(customers), seed)

    await arrived(customers[0])
    await customers[0].advance(to=CLOSES[1])  # what came late is on the next invoice
    assert await differences(actors.sql, [one.uuid for one in customers]) == []
    async with open_operator(actors.stack) as database:
        for customer in customers:
            report = await integrity.examine(database, customer.uuid)
            assert report.ok, [check for check in report.checks if not check.ok]
    await agrees_with_what_was_told(actors, list(customers), told)


async def soaked(actors: Actors, customers: list[Customer], seed: int) -> list[dict[str, Any]]:
    """Eight processes at work, and a month that ends meanwhile; what each was told."""
    asked = {
        "app_url": actors.stack.app_url,
        "operator_url": actors.stack.operator_url,
        "accounts": [str(customer.uuid) for customer in customers],
        "start": START,
        "shared_seed": seed,
        "rounds": ROUNDS,
    }
    seeds = random.Random(seed).sample(range(1_000_000), PROCESSES)
    started = [await Process.start(asked | {"seed": own}) for own in seeds]
    try:
        await asyncio.gather(*(one.warm() for one in started))
        await closed(customers[0])
        return list(await asyncio.gather(*(one.end() for one in started)))
    finally:
        for one in started:
            if one.process.returncode is None:
                one.process.kill()


async def closed(customer: Customer) -> None:
    """The engine has renewed; its clock arrives only when nobody adds to what is due."""
    await customer.aim_clock(to=CLOSES[0])
    await wait_for(
        lambda: customer.rows(
            "SELECT 1 FROM subscriptions WHERE account_id = %(me)s AND cycle_start = %(second)s",
            second=instant(CLOSES[0]),
        ),
        "the month is closed",
        patience=60,
    )


async def arrived(customer: Customer) -> None:
    """Now it has."""
    await wait_for(customer.clock, "the clock arrives", lambda seen: seen["status"] == "ready")


async def subscriber(actors: Actors) -> Customer:
    """Its plan sells what is used beyond it; its clock stands still until it is walked."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    body = {"feature_type": "ai_responses", "usage_amount": "490", "event_id": "before"}
    await customer.ask("POST", "/usage/record", body, status=201)
    return customer


async def limited(actors: Actors) -> Customer:
    """Hard quotas of the account and of one of its users."""
    customer = await actors.customer()
    for limit, more in (("60", {}), ("15", {"user_id": "ann"})):
        body = {
            "account_id": customer.id, "feature_type": "chat_messages", "limit": limit,
            "window": "rolling", "span_seconds": A_YEAR,
        } | more  # fmt: skip
        await actors.operate("PUT", "/admin/quotas", body)
    return customer


async def poor(actors: Actors) -> Customer:
    """Lives on what it is given meanwhile."""
    return await actors.customer()


async def on_free_plan(actors: Actors) -> Customer:
    """Its plan blocks what goes beyond it."""
    customer = await actors.customer()
    await customer.subscribe("free")
    await customer.until_subscription("active")
    return customer


async def agrees_with_what_was_told(
    actors: Actors, customers: list[Customer], told: list[dict[str, Any]]
) -> None:
    """As many records as were acknowledged, each event once, and every grant to the last digit."""
    verdicts: Counter[str] = Counter()
    recorded: Counter[str] = Counter()
    for one in told:
        verdicts.update(one["verdicts"])
        recorded.update(one["recorded"])
    assert set(verdicts) >= HAPPENED, f"never happened: {HAPPENED - set(verdicts)}"
    assert set(verdicts) <= HAPPENED | MAY_HAPPEN, verdicts
    recorded[str(customers[0].uuid)] += 1  # the first use, from before

    mine = [customer.uuid for customer in customers]
    rows = await actors.sql(
        "SELECT account_id, event_id FROM billing_records"
        " WHERE account_id = ANY(%(mine)s) AND kind = 'usage'",
        mine=mine,
    )
    assert Counter(str(row["account_id"]) for row in rows) == recorded
    events = Counter(event for one in told for event in one["events"])
    assert max(events.values()) == 1, "an event was told to be recorded twice"
    kept = {f"{row['account_id']} {row['event_id']}" for row in rows if row["event_id"]}
    assert kept == set(events) | {f"{customers[0].uuid} before"}

    granted = {key: Decimal(amount) for one in told for key, amount in one["granted"].items()}
    booked = await actors.sql(
        "SELECT key, amount FROM credit_transactions"
        " WHERE account_id = ANY(%(mine)s) AND kind = 'grant' AND reason = 'soak'",
        mine=mine,
    )
    assert {row["key"]: row["amount"] for row in booked} == granted
    (expired,) = await actors.sql(
        "SELECT (SELECT count(*) FROM credit_holds WHERE account_id = ANY(%(mine)s)"
        " AND status = 'expired') AS holds, (SELECT count(*) FROM credit_transactions"
        " WHERE account_id = ANY(%(mine)s) AND kind = 'expire') AS entries",
        mine=mine,
    )
    assert expired["holds"] > 0
    assert expired["entries"] > 0
    await a_month_was_closed(customers[0])


async def a_month_was_closed(customer: Customer) -> None:
    """Both cycles are on invoices, and nothing waits any more."""
    lines = await customer.rows(
        "SELECT DISTINCT period_start FROM invoice_lines"
        " WHERE account_id = %(me)s AND kind = 'usage' AND detail ->> 'meter' = 'ai_responses'"
    )
    first, second = instant(START), instant(CLOSES[0])
    assert first in {line["period_start"] for line in lines}
    assert second - first == timedelta(days=31)
    late = await customer.rows(
        "SELECT count(*) FILTER (WHERE is_late) AS late, count(*) FILTER (WHERE is_late"
        " AND period_start >= %(second)s) AS strays, count(*) FILTER (WHERE"
        " billing_status = 'pending' AND currency = 'USD') AS waiting"
        " FROM billing_records WHERE account_id = %(me)s",
        second=second,
    )
    assert late[0]["late"] > 0, "nothing came after the close"
    assert (late[0]["strays"], late[0]["waiting"]) == (0, 0)
