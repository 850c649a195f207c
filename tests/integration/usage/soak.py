"""One of many processes that use the same few accounts at once, at random, as API processes do.

Run as a program: it records, batches, claims, holds and grants until its input ends, and prints
what it was told, so that the books can be held against the answers.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from api.batching.usage_batcher import UsageBatcher
from billing.core import clock
from billing.core.database import Database, open_database
from billing.core.errors import BillingError
from billing.core.settings import Settings
from billing.ledger.credits import service as credits
from billing.ledger.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from billing.ledger.credits.schemas import Capture, Hold
from billing.metering.quotas import service as quotas
from billing.metering.quotas.schemas import Asked
from billing.metering.usage import rules
from billing.metering.usage import service as usage
from billing.metering.usage.schemas import Recorded, Use, UseKind

LANES: Final = 2
PAUSE_SECONDS: Final = 0.1
SHARED: Final = 400
"""Events that every process sends, each with a body of its own: it counts once."""
PRODUCTS: Final = ("gpt-4", "gpt-4-mini", "mcp-call", "agent-run", "api-call", "storage")
FEATURES: Final = ("ai_responses", "chat_messages", "document_uploads")
AMOUNTS: Final = ("0.5", "1", "2", "7.25")
REFUSALS: Final = {
    "INSUFFICIENT_CREDITS", "HOLD_RESOLVED", "HOLD_EXCEEDED", "INVALID_EXPIRY", "BILLED_ON_INVOICE",
}  # fmt: skip
_OPEN_HOLDS: Final = text(
    "SELECT id, account_id, amount FROM credit_holds WHERE status = 'open'"
    " ORDER BY random() LIMIT 3"
)
_PUT_OFF: Final = text(
    "SELECT account_id, id FROM billing_records WHERE billing_status IN ('pending', 'failed')"
    " AND currency = 'CREDIT' ORDER BY random() LIMIT 1"
)


class Member:
    """One lane of one process: what it does, and the sums of what it was told."""

    def __init__(self, database: Database, batcher: UsageBatcher, asked: Any, seed: int) -> None:
        self.database = database
        self.batcher = batcher
        self.accounts = [UUID(one) for one in asked["accounts"]]
        self.start = datetime.fromisoformat(asked["start"])
        """The first account's clock at the start; it stands still."""
        self.shared_seed: int = asked["shared_seed"]
        self.dice = random.Random(seed)
        self.seed = seed
        self.count = 0
        self.verdicts: Counter[str] = Counter()
        self.recorded: Counter[str] = Counter()
        self.events: list[str] = []
        self.granted: dict[str, Decimal] = {}
        self.verbs: list[Callable[[], Awaitable[None]]] = [
            self.record, self.record, self.record, self.batch, self.batch, self.claim, self.hold,
            self.resolve, self.resolve, self.grant, self.pay_record, self.expire,
        ]  # fmt: skip

    async def work(self, rounds: int) -> None:
        """So many verbs; a refusal for a reason is an answer, anything else is an error."""
        for _ in range(rounds):
            try:
                await self.dice.choice(self.verbs)()
            except BillingError as refusal:
                if refusal.code not in REFUSALS:
                    raise
                self.verdicts[refusal.code] += 1

    # -- uses ------------------------------------------------------------------------------

    async def record(self) -> None:
        """A few single uses at once, as a busy API process gathers them."""
        uses = [self._use() for _ in range(self.dice.choice([1, 3, 6]))]
        done = await asyncio.gather(*(self.batcher.one(use) for use in uses))
        for use, one in zip(uses, done, strict=True):
            self._told(use, one)

    async def batch(self) -> None:
        """Many uses of all accounts, some of them twice."""
        uses = [self._use() for _ in range(self.dice.choice([10, 40]))]
        uses += self.dice.sample(uses, 3)
        others = await self.batcher.many(uses)
        for place, use in enumerate(uses):
            self._told(use, others.get(place))

    async def claim(self) -> None:
        """Count an answer beforehand; more often than not its record follows."""
        use = self._use(feature="chat_messages")
        event = use.event_id or self._key()
        allowed = await self._claim(use.account_id, use.amount, event, use.user_id)
        if allowed and self.dice.random() < 0.7:
            use = use._replace(event_id=event)
            self._told(use, await self.batcher.one(use))

    async def claim_too_much(self) -> None:
        """More than the account with quotas may ever use."""
        await self._claim(self.accounts[1], "1000", self._key())

    async def _claim(self, account: UUID, amount: str, event: str, user: str | None = None) -> bool:
        asked = Asked(amount=Decimal(amount), user_id=user, feature_type="chat_messages")
        decision = await quotas.claim(
            self.database, account, asked, event, rules.record_id(account, event, clock.real_now())
        )
        self.verdicts["claimed" if decision.allowed else "not allowed"] += 1
        return decision.allowed

    async def pay_record(self) -> None:
        """Pay a use that was put off."""
        async with self.database.tenant(*self.accounts) as connection:
            row = (await connection.execute(_PUT_OFF)).first()
        if row is None:
            return
        async with self.database.tenant(row.account_id) as connection:
            at = await clock.now(connection, row.account_id)
            await usage.pay_record(connection, row.account_id, row.id, None, at)
        self.verdicts["settled"] += 1

    def _use(self, feature: str | None = None) -> Use:
        """A use of its own, or one that other processes send as well."""
        if feature is None and self.dice.random() < 0.4:
            number = self.dice.randrange(SHARED)
            return self._body(random.Random(f"{self.shared_seed}/{number}"), f"shared/{number}")
        event = self._key() if self.dice.random() < 0.8 else None
        return self._body(self.dice, event, feature)

    def _body(self, dice: random.Random, event: str | None, feature: str | None = None) -> Use:
        account = dice.choice(self.accounts)
        product = None if feature or dice.random() < 0.4 else dice.choice(PRODUCTS)
        kind = UseKind(
            product, None, None if product else feature or dice.choice(FEATURES),
            dice.choice([None, "chat"]), None, None, dice.random() < 0.3,
        )  # fmt: skip
        at = None
        if account == self.accounts[0] and dice.random() < 0.3:
            at = self.start + timedelta(days=dice.choice([0, 1, 2]), hours=dice.randrange(20))
        return Use(
            account, kind, dice.choice(AMOUNTS), event, at, dice.choice([None, "ann", "bob"]),
            dice.choice([None, "o-1"]),
        )  # fmt: skip

    def _told(self, use: Use, done: Recorded | None) -> None:
        verdict = "recorded" if done is None else done.verdict
        self.verdicts[verdict] += 1
        if verdict == "recorded":
            self.recorded[str(use.account_id)] += 1
            if use.event_id is not None:
                self.events.append(f"{use.account_id} {use.event_id}")

    # -- credits ---------------------------------------------------------------------------

    async def hold(self) -> None:
        orders = [
            HoldOrder(
                account_id=one, amount=Decimal(self.dice.choice(AMOUNTS)), key=self._key(),
                reason="soak", lifetime=self._soon(one),
            )
            for one in self.accounts
        ]  # fmt: skip
        async with self.database.tenant(*self.accounts) as connection:
            answers = await hold_many(connection, orders)
        self.verdicts["held"] += sum(isinstance(one, Hold) for one in answers)

    async def resolve(self) -> None:
        """Anybody's open holds: captured in part or in whole, or one of them released."""
        async with self.database.tenant(*self.accounts) as connection:
            found = list(await connection.execute(_OPEN_HOLDS))
        if found and self.dice.random() < 0.3:
            row = found[0]
            async with self.database.tenant(row.account_id) as connection:
                await credits.release(connection, account_id=row.account_id, hold_id=row.id)
            self.verdicts["released"] += 1
        elif found:
            share = self.dice.choice([1, 2])
            orders = [
                CaptureOrder(account_id=row.account_id, hold_id=row.id, amount=row.amount / share)
                for row in found
            ]
            async with self.database.tenant(*self.accounts) as connection:
                answers = await capture_many(connection, orders)
            self.verdicts["captured"] += sum(isinstance(one, Capture) for one in answers)

    async def grant(self) -> None:
        account = self.dice.choice(self.accounts)
        key = f"{account}/{self._key()}"
        now = self.start if account == self.accounts[0] else clock.real_now()
        done = None
        async with self.database.tenant(account) as connection:
            done = await credits.grant(
                connection, account_id=account, amount=5 * Decimal(self.dice.choice(AMOUNTS)),
                kind="adjustment", key=key, is_paid=self.dice.random() < 0.5, reason="soak",
                expires_at=now + self._soon(account) if self.dice.random() < 0.5 else None,
            )  # fmt: skip
        self.granted[key] = done.amount

    async def expire(self) -> None:
        account = self.dice.choice(self.accounts)
        async with self.database.tenant(account) as connection:
            expired = await credits.expire(connection, account)
        self.verdicts["expired"] += expired.holds + (expired.credits > 0)

    def _soon(self, account: UUID) -> timedelta:
        """Days where the clock stands still, for it will walk a month; else a moment."""
        if account == self.accounts[0]:
            return timedelta(days=self.dice.choice([10, 40]))
        return timedelta(milliseconds=self.dice.choice([60, 300, 900_000]))

    def _key(self) -> str:
        self.count += 1
        return f"soak/{self.seed}/{self.count}"


async def input_ended() -> None:
    """Waits; a thread would hold back the end of a process that failed."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(asked: dict[str, Any]) -> None:
    """Work, say so, go on until the input ends, and print what was told."""
    known = {"database_url": asked["app_url"], "database_operator_url": asked["operator_url"]}
    async with open_database(
        Settings.model_validate({**known, "BILLING_DATABASE_POOL_SIZE": 2 * LANES})
    ) as database:
        batcher = UsageBatcher(database)
        lanes = [
            Member(database, batcher, asked, asked["seed"] * LANES + lane) for lane in range(LANES)
        ]
        ended = asyncio.create_task(input_ended())
        await asyncio.gather(*(lane.work(asked["rounds"]) for lane in lanes))
        await lanes[0].claim_too_much()
        print("warm", flush=True)  # noqa: T201
        while not ended.done():  # without haste: others close a month meanwhile
            await asyncio.gather(*(lane.work(1) for lane in lanes), asyncio.sleep(PAUSE_SECONDS))
        await asyncio.gather(*(lane.work(asked["rounds"]) for lane in lanes))
    told = {
        "verdicts": sum((lane.verdicts for lane in lanes), Counter()),
        "recorded": sum((lane.recorded for lane in lanes), Counter()),
        "events": [event for lane in lanes for event in lane.events],
        "granted": {key: str(amount) for lane in lanes for key, amount in lane.granted.items()},
    }
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
