"""Absolute figures for sizing: rates of this machine, and disk space per row.

`python -m benchmarks.sizes` prints them (three minutes). They differ on other machines.
"""

import json
import secrets
from time import monotonic
from typing import Final

import psycopg
import uvloop

from benchmarks.bench import Bench, open_bench
from benchmarks.harness import spread
from benchmarks.purchases import buyers
from devstack.stack import dsn

PURCHASES: Final = 150
SUBSCRIPTIONS: Final = 60
BATCHES: Final = 40
ROWS: Final = 1_000
SINGLE: Final = 2_000
AT_ONCE: Final = 8


async def _bytes(bench: Bench) -> int:
    url = dsn(bench.stack.superuser_url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CHECKPOINT")
        cursor = await connection.execute("SELECT pg_database_size(current_database())")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _measure(bench: Bench) -> list[tuple[str, str, str]]:
    people = await buyers(bench)
    account = await bench.account()
    headers = bench.headers(account)

    async def batch() -> None:
        events = [{"event_id": secrets.token_hex(8), "feature_type": "chat_messages",
                   "usage_amount": 1} for _ in range(ROWS)]  # fmt: skip
        answer = await bench.http.post("/usage/batch", json={"events": events}, headers=headers)
        assert answer.json()["recorded"] == ROWS, json.dumps(answer.json())[:300]

    async def use() -> None:
        body = {"event_id": secrets.token_hex(8), "feature_type": "chat_messages",
                "usage_amount": 1}  # fmt: skip
        answer = await bench.http.post("/usage/record", json=body, headers=headers)
        assert answer.status_code == 201, answer.text

    rows = []
    for what, count, once, size in (
        ("purchases, from the request to the credits", PURCHASES, people.buy_to_credits, 1),
        ("subscriptions, from the request to active", SUBSCRIPTIONS, bench.subscribed, 1),
        ("uses, one request each", SINGLE, use, 1),
        ("uses, a thousand a request", BATCHES, batch, ROWS),
    ):
        before, begun = await _bytes(bench), monotonic()
        await spread(count, AT_ONCE, once)
        took = monotonic() - begun
        kib = (await _bytes(bench) - before) / (count * size) / 1024
        rows.append((what, f"{count * size / took:,.0f}", f"{kib:.1f}"))
    return rows


async def main() -> None:
    """Print a table: name, calls per second, KiB of Postgres for each."""
    async with open_bench() as bench:
        for what, rate, kib in await _measure(bench):
            print(f"| {what} | {rate} | {kib} KiB |")


if __name__ == "__main__":
    uvloop.run(main())
