"""Loads for metering: single uses, whole batches, holds; and COPY of the same rows."""

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from benchmarks.ground import Ground, Site
from billing.core import ids

ROWS: Final = 1_000
QUOTED: Final = 1_000
FEW: Final = 400
V1: Final = "/api/v1"
# A tenth of a credit at most, so that no account runs out.
USE: Final = json.dumps(
    {"product_id": "gpt-4", "usage_amount": "5", "billing_method": "credit_consumption"}
).encode()
HOLD: Final = b'{"amount": "0.02"}'
CAPTURE: Final = b'{"amount": "0.01"}'
# Counted against the plan; what is paid as well is shown beside it.
FEATURE: Final[dict[str, Any]] = {"feature_type": "impressions"}
PAID: Final[dict[str, Any]] = {"product_id": "gpt-4", "billing_method": "credit_consumption"}

Once = Callable[[], Awaitable[object]]


class Loads:
    """Calls of one site, for any of its accounts except those with quotas."""

    def __init__(self, ground: Ground, site: Site) -> None:
        self.site = site
        self.hot = ground.hot
        self.accounts, self.quoted = ground.accounts[1:-QUOTED], ground.accounts[-QUOTED:]
        self._headers = {one: ground.headers(one) for one in (self.hot, *self.accounts)}
        self._service = ground.headers(None, "service")

    async def use(self) -> None:
        """Record a paid use of any account."""
        await self.record(random.choice(self.accounts))

    async def hot_use(self) -> None:
        """Record a paid use of one account."""
        await self.record(self.hot)

    async def record(self, account: UUID) -> None:
        """Record a paid use of this account."""
        path = f"{V1}/usage/record"
        status, answer = await self.site.wire.ask("POST", path, USE, self._headers[account])
        assert status == 201, answer

    async def hold(self) -> None:
        """Hold and capture credits of any account."""
        headers = self._headers[random.choice(self.accounts)]
        keyed = {**headers, "Idempotency-Key": str(uuid4())}
        path = f"{V1}/billing/credits/holds"
        status, answer = await self.site.wire.ask("POST", path, HOLD, keyed)
        assert status == 201, answer
        path += f"/{json.loads(answer)['hold_id']}/capture"
        status, answer = await self.site.wire.ask("POST", path, CAPTURE, keyed)
        assert status in (200, 201), answer

    async def many(self, what: dict[str, Any]) -> float:
        """Return rows per second of one batch over a thousand random accounts."""
        return await self.each([(one, event(what)) for one in random.sample(self.accounts, ROWS)])

    async def few(self, what: dict[str, Any]) -> float:
        """Return rows per second of one batch of ten uses for each of a hundred accounts."""
        some = random.sample(self.accounts[:FEW], ROWS // 10) * 10
        return await self.each([(one, event(what)) for one in some])

    async def everybody(self, what: dict[str, Any]) -> None:
        """Record a use of each account, so that its counters of this cycle and day exist."""
        for start in range(0, len(self.accounts), ROWS):
            await self.each([(one, event(what)) for one in self.accounts[start : start + ROWS]])

    async def one(self, what: dict[str, Any]) -> float:
        """Return rows per second of one batch of one account."""
        return await self.own([event(what) for _ in range(ROWS)])

    async def own(self, events: Sequence[dict[str, Any]], *, repeated: int = 0) -> float:
        """Return rows per second of one batch of one account; `repeated` rows were sent before."""
        return await self._batch(events, self._headers[self.hot], (repeated, 0))

    async def each(
        self,
        events: Sequence[tuple[UUID, dict[str, Any]]],
        *,
        repeated: int = 0,
        refused: int = 0,
    ) -> float:
        """Return rows per second of one batch of any accounts; `refused` must not be recorded."""
        rows = [{**one, "account_id": ids.encode(ids.ACCOUNT, owner)} for owner, one in events]
        return await self._batch(rows, self._service, (repeated, refused))

    def read(self, path: str) -> Once:
        """Return a read of the hot account."""

        async def once() -> None:
            headers = self._headers[self.hot]
            status, answer = await self.site.wire.ask("GET", f"{V1}{path}", b"", headers)
            assert status == 200, answer

        return once

    async def next_page(self, path: str) -> str:
        """Return the path of the page after the first."""
        headers = self._headers[self.hot]
        _, answer = await self.site.wire.ask("GET", f"{V1}{path}", b"", headers)
        return f"{path}&cursor={json.loads(answer)['pagination']['next_cursor']}"

    async def _batch(
        self, rows: Sequence[dict[str, Any]], headers: dict[str, str], others: tuple[int, int]
    ) -> float:
        body = json.dumps({"events": rows}).encode()
        began = perf_counter()
        status, answer = await self.site.wire.ask("POST", f"{V1}/usage/batch", body, headers)
        taken = perf_counter() - began
        assert status == 200, answer
        told = json.loads(answer)
        assert (told["duplicate"], told["rejected"]) == others, answer
        return len(rows) / taken


def event(what: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a batch with its own event."""
    return {**what, "usage_amount": "3", "event_id": f"evt-{uuid4()}"}


def copy(connection: psycopg.Connection, accounts: Sequence[UUID]) -> float:
    """Return rows per second of COPY of the same rows into a bare table."""
    rows = [(one, f"evt-{uuid4()}", "impressions", 3) for one in random.choices(accounts, k=ROWS)]
    began = perf_counter()
    words = "COPY bench_bare FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(words) as target:
        for row in rows:
            target.write_row(row)
    return ROWS / (perf_counter() - began)
