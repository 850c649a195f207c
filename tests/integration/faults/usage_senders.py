"""Platforms that send all their usage and never give up: what was not acknowledged is sent again.

They keep what they were told, so that the records can be held against it afterwards.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from sandbox.control import Json
from tests.integration.actors import API, Actors, Customer
from tests.integration.faults.flows import PATIENCE_SECONDS

ROWS: Final = 60
KINDS: Final[tuple[Json, ...]] = (
    {"product_id": "gpt-4", "usage_amount": "1000"},
    {"product_id": "mcp-call", "usage_amount": "3", "user_id": "ann"},
    {"feature_type": "chat_messages", "usage_amount": "2", "organization_id": "o-1"},
    {"product_id": "agent-run", "usage_amount": "1", "user_id": "bob", "operation": "chat"},
)


@dataclass
class Told:
    """The senders' knowledge: events sent, and for each every acknowledgement's text."""

    sent: set[str] = field(default_factory=set)
    said: dict[str, list[str]] = field(default_factory=dict)
    unanswered: Counter[str] = field(default_factory=Counter)
    """Requests that came to nothing, by what came instead of an answer."""
    doubtful: set[str] = field(default_factory=set)
    """Events of such requests: they may be there, or not."""

    @property
    def acknowledged(self) -> set[str]:
        return set(self.said)


class Platform:
    """One sender with a role that may record for all of these accounts."""

    def __init__(self, actors: Actors, customers: list[Customer], told: Told, seed: int) -> None:
        self.actors = actors
        self.customers = customers
        self.told = told
        self.dice = random.Random(seed)
        self.name = f"platform-{seed}"
        self.count = 0
        self.last: Json = {"events": []}
        """The newest batch that was answered."""

    async def pour(self, stop: asyncio.Event) -> None:
        """A batch and a few single uses, one after the other, until told to stop."""
        while not stop.is_set():
            batch = {"events": [self._row() for _ in range(ROWS)]}
            await self._insist("/usage/batch", batch)
            self.last = batch
            await asyncio.gather(*(self._alone() for _ in range(4)))

    async def repeat(self) -> list[str]:
        """The answers to a sender that forgot that its newest batch was answered."""
        answer = await self.actors.client.post(
            f"{API}/usage/batch", json=self.last, headers=self.actors.headers("*", "service")
        )
        return _verdicts(answer)

    async def _alone(self) -> None:
        row = self._row()
        await self._insist("/usage/record", row, row.pop("account_id"))

    def _row(self) -> Json:
        self.count += 1
        row = {"event_id": f"{self.name}/{self.count}"} | self.dice.choice(KINDS)
        self.told.sent.add(row["event_id"])
        return row | {"account_id": self.dice.choice(self.customers).id}

    async def _insist(self, path: str, body: Json, account: str | None = None) -> None:
        """The same body again until it is answered."""
        rows: list[Json] = body.get("events", [body])
        events = [row["event_id"] for row in rows]
        headers = self.actors.headers("*", "service")
        headers |= {"X-Account-Id": account} if account else {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._answered(path, body, headers, events):
                self.told.doubtful.update(events)
                await asyncio.sleep(0.1)

    async def _answered(
        self, path: str, body: Json, headers: dict[str, str], events: list[str]
    ) -> bool:
        try:
            answer = await self.actors.client.post(f"{API}{path}", json=body, headers=headers)
        except httpx2.HTTPError as lost:
            self.told.unanswered[type(lost).__name__] += 1
            return False
        if answer.status_code >= 500:
            self.told.unanswered[str(answer.status_code)] += 1
            return False
        assert answer.is_success, answer.text
        for event, said in zip(events, _verdicts(answer), strict=True):
            self.told.said.setdefault(event, []).append(said)
        return True


def _verdicts(answer: httpx2.Response) -> list[str]:
    body: dict[str, Any] = answer.json()
    if "results" in body:
        return [row["status"] for row in body["results"]]
    return ["duplicate" if "Idempotent-Replayed" in answer.headers else "recorded"]
