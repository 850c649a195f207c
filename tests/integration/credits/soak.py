"""One of many processes that all use the same few accounts at once, at random.

Run as a program: it does its share with every verb of credits and prints what it was told, so
that the books can be held against the answers.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from billing.core.clock import real_now
from billing.core.database import Database, open_database
from billing.core.errors import BillingError
from billing.core.settings import Settings
from billing.ledger.credits import service
from billing.ledger.credits.holds import CaptureOrder, HoldOrder, capture_many, hold_many
from billing.ledger.credits.schemas import Capture
from tests.integration.credits import holding
from tests.integration.credits.batches import Item, debit_batch

LANES: Final = 4
SCOPES: Final = (None, None, None, "images")
AMOUNTS: Final = ("0.000001", "0.5", "1", "2.25", "7")
REFUSALS: Final = {
    "INSUFFICIENT_CREDITS", "HOLD_RESOLVED", "HOLD_EXCEEDED", "INVALID_EXPIRY",
}  # fmt: skip


class Member:
    """One process's share: what it does, and the sums of what was acknowledged."""

    def __init__(self, database: Database, accounts: list[UUID], seed: int) -> None:
        self.database = database
        self.accounts = accounts
        self.dice = random.Random(seed)
        self.seed = seed
        self.count = 0
        self.grants: list[tuple[UUID, str]] = []
        self.sums: Counter[str] = Counter()
        self.verbs: list[Callable[[UUID], Awaitable[None]]] = [
            self.grant, self.grant, self.debit, self.debit, self.batch, self.hold, self.holds,
            self.resolve, self.resolve, self.resolve, self.clawback, self.take, self.expire,
        ]  # fmt: skip

    async def work(self, rounds: int) -> None:
        """Verb after verb; a refusal for a reason is an answer, anything else is an error."""
        for _ in range(rounds):
            verb = self.dice.choice(self.verbs)
            try:
                await verb(self.dice.choice(self.accounts))
            except BillingError as refusal:
                if refusal.code not in REFUSALS:
                    raise

    def key(self) -> str:
        self.count += 1
        return f"soak/{self.seed}/{self.count}"

    def amount(self) -> Decimal:
        return Decimal(self.dice.choice(AMOUNTS))

    def soon(self) -> timedelta:
        return timedelta(milliseconds=self.dice.choice([40, 150, 400, 60_000]))

    def tell(self, account_id: UUID, kind: str, amount: Decimal) -> None:
        self.sums[f"{account_id} {kind}"] += amount  # type: ignore[assignment]

    async def twice(self, verb: Callable[[Any], Awaitable[Any]], account_id: UUID) -> Any:
        """The verb, now and then asked again at once under its key: it counts once."""

        async def once() -> Any:
            async with self.database.tenant(account_id) as connection:
                return await verb(connection)

        if self.dice.random() > 0.2:
            return await once()
        answers = await asyncio.gather(once(), once(), return_exceptions=True)
        done = [one for one in answers if not isinstance(one, BaseException)]
        broken = [one for one in answers if isinstance(one, BaseException)]
        if not done:
            raise broken[0]
        assert sum(not one.replayed for one in done) <= 1
        return done[0]

    async def grant(self, account_id: UUID) -> None:
        key = f"{account_id}/{self.key()}"
        facts: dict[str, Any] = {
            "account_id": account_id, "amount": 3 * self.amount(), "kind": "adjustment",
            "key": key, "is_paid": self.dice.random() < 0.5, "reason": "soak",
            "scope": self.dice.choice(SCOPES),
            "expires_at": real_now() + self.soon() if self.dice.random() < 0.4 else None,
        }  # fmt: skip
        done = await self.twice(lambda c: service.grant(c, **facts), account_id)
        self.tell(account_id, "grant", done.amount)
        self.grants.append((account_id, key))

    async def debit(self, account_id: UUID) -> None:
        facts: dict[str, Any] = {
            "account_id": account_id, "amount": self.amount(), "key": self.key(),
            "reason": "soak", "scope": self.dice.choice(SCOPES),
            "paid_only": self.dice.random() < 0.2, "force": self.dice.random() < 0.3,
        }  # fmt: skip
        done = await self.twice(lambda c: service.debit(c, **facts), account_id)
        self.tell(account_id, "used", done.amount)

    async def batch(self, _: UUID) -> None:
        items = [Item(one, str(self.amount()), self.key()) for one in self.accounts * 2]
        self.dice.shuffle(items)
        async with self.database.tenant(*self.accounts) as connection:
            rows = await debit_batch(connection, items)
        for item, row in zip(items, rows, strict=True):
            if row["verdict"] == "ok":
                self.tell(item.account, "used", row["amount"])

    async def hold(self, account_id: UUID) -> None:
        facts: dict[str, Any] = {
            "account_id": account_id, "amount": self.amount(), "key": self.key(),
            "reason": "soak", "expires_at": real_now() + self.soon(),
        }  # fmt: skip
        await self.twice(lambda c: holding.hold(c, **facts), account_id)

    async def holds(self, _: UUID) -> None:
        orders = [
            HoldOrder(
                account_id=one, amount=self.amount(), key=self.key(), reason="soak",
                lifetime=self.soon(),
            )
            for one in self.accounts
        ]  # fmt: skip
        self.dice.shuffle(orders)
        async with self.database.tenant(*self.accounts) as connection:
            await hold_many(connection, orders)

    async def resolve(self, account_id: UUID) -> None:
        """Anybody's open hold: captured in part, in whole, beside others, or released."""
        async with self.database.tenant(*self.accounts) as connection:
            rows = await connection.execute(
                text(
                    "SELECT id, account_id, amount FROM credit_holds"
                    " WHERE status = 'open' ORDER BY random() LIMIT 3"
                )
            )
            found = list(rows)
        if not found:
            return
        if self.dice.random() < 0.3:
            row = found[0]
            async with self.database.tenant(row.account_id) as connection:
                await service.release(connection, account_id=row.account_id, hold_id=row.id)
            return
        share = self.dice.choice([1, 1, 2, 3])
        orders = [
            CaptureOrder(
                account_id=row.account_id, hold_id=row.id,
                amount=None if share == 1 else max(row.amount / share, Decimal("0.000001")),
            )
            for row in found
        ]  # fmt: skip
        async with self.database.tenant(*self.accounts) as connection:
            answers = await capture_many(connection, orders)
        for order, answer in zip(orders, answers, strict=True):
            if isinstance(answer, Capture):
                if not answer.replayed:
                    self.tell(order.account_id, "used", answer.captured)
            elif answer.code not in REFUSALS:
                raise answer

    async def clawback(self, _: UUID) -> None:
        if not self.grants:
            return
        account_id, grant_key = self.dice.choice(self.grants)
        key, amount = f"{account_id}/{self.key()}", self.amount()
        done = await self.twice(
            lambda c: service.clawback(
                c, account_id=account_id, grant_key=grant_key, amount=amount, key=key,
                reason="soak",
            ),
            account_id,
        )  # fmt: skip
        assert done.taken + done.pending + done.loss <= amount

    async def take(self, account_id: UUID) -> None:
        facts: dict[str, Any] = {
            "account_id": account_id, "amount": self.amount(), "reason": "soak",
            "key": f"{account_id}/{self.key()}",
        }  # fmt: skip
        done = await self.twice(lambda c: service.take(c, **facts), account_id)
        self.tell(account_id, "taken", done.amount)

    async def expire(self, account_id: UUID) -> None:
        async with self.database.tenant(account_id) as connection:
            await service.expire(connection, account_id)


async def main(asked: dict[str, Any]) -> None:
    """Do the share, and print the sums."""
    async with open_database(
        Settings.model_validate(
            {
                "database_url": asked["app_url"],
                "database_operator_url": asked["operator_url"],
                "BILLING_DATABASE_POOL_SIZE": 2 * LANES,
            }
        )
    ) as database:
        accounts = [UUID(one) for one in asked["accounts"]]
        lanes = [Member(database, accounts, asked["seed"] * LANES + lane) for lane in range(LANES)]
        await asyncio.gather(*(lane.work(asked["rounds"]) for lane in lanes))
    total: Counter[str] = Counter()
    for lane in lanes:
        total.update(lane.sums)
    print(json.dumps({name: str(amount) for name, amount in total.items()}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
