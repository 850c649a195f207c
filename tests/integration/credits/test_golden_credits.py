"""Credits of other billing systems' public tests (tests/golden/README.md), on the real ledger."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from billing.core import periods
from billing.core.database import Database
from billing.core.errors import Conflict, Invalid, PaymentRequired
from billing.core.periods import Interval
from billing.ledger.credits import service
from tests.integration.credits import holding
from tests.integration.credits.accounts import CreditAccount, open_account
from tests.unit.golden.cases import cases

Json = dict[str, Any]
REFUSALS = (PaymentRequired, Conflict, Invalid)
LOTS = text("SELECT grant_key, remaining FROM credit_lots WHERE account_id = :account_id")


class Story:
    """The steps of one case, told to an account of its own."""

    def __init__(self, account: CreditAccount) -> None:
        self.account = account
        self.holds: dict[str, UUID] = {}

    def key(self, name: str) -> str:
        return f"{self.account.id}/{name}"

    async def do(self, step: Json) -> None:
        at = datetime.fromisoformat(step["at"])
        verbs: dict[str, Callable[[Any, datetime], Awaitable[Any]]] = {
            "grant": self._grant, "use": self._use, "hold": self._hold,
            "capture": partial(self._capture, step), "release": self._release,
        }  # fmt: skip
        (verb,) = verbs.keys() & step.keys()
        await verbs[verb](step[verb], at)

    async def _grant(self, asked: Json, at: datetime) -> None:
        is_paid, ends = asked.get("paid", False), asked.get("expires_at")
        await self.account.grant(
            asked["amount"], key=self.key(asked["id"]), is_paid=is_paid, at=at,
            kind="purchase" if is_paid else "adjustment", priority=asked.get("priority"),
            expires_at=ends and datetime.fromisoformat(ends),
        )  # fmt: skip

    async def _use(self, amount: str, at: datetime) -> None:
        await self.account.debit(amount, at=at)

    async def _hold(self, asked: Json, at: datetime) -> None:
        ends = at + timedelta(seconds=asked.get("seconds", 3600))
        made = await self.account.hold(asked["amount"], at=at, expires_at=ends)
        self.holds[asked["id"]] = made.hold_id

    async def _capture(self, step: Json, name: str, at: datetime) -> None:
        facts = {"hold_id": self.holds[name], "amount": Decimal(step["amount"]), "at": at}
        await self.account.do(holding.capture, **facts)

    async def _release(self, name: str, at: datetime) -> None:
        await self.account.do(service.release, hold_id=self.holds[name], at=at)

    async def lots(self) -> dict[str, Decimal]:
        async with self.account.transaction() as connection:
            rows = await connection.execute(LOTS, {"account_id": self.account.id})
            return {key.rpartition("/")[2]: left for key, left in rows}


@pytest.mark.parametrize(("given", "expected"), cases("credits", "credits"))
async def test_credits_burn_as_others_burn_them(
    database: Database, given: Json, expected: Json
) -> None:
    steps, refused = given["steps"], []
    story = Story(await open_account(database, clock_at=datetime.fromisoformat(steps[0]["at"])))
    for place, step in enumerate(steps):
        try:
            await story.do(step)
        except REFUSALS:
            refused.append(place)
    last = datetime.fromisoformat(steps[-1]["at"])
    async with story.account.transaction() as connection:
        await service.expire(connection, story.account.id, last)
    assert refused == expected["refused"]
    assert await story.lots() == {key: Decimal(left) for key, left in expected["lots"].items()}
    assert (await story.account.books()).held == Decimal(expected["held"])


@pytest.mark.parametrize(("given", "expected"), cases("credits", "wallet_split"))
async def test_the_wallet_that_goes_first_is_drained_first(
    account: CreditAccount, given: Json, expected: Json
) -> None:
    """A wallet of the source is a lot with a priority."""
    story, before = Story(account), {}
    for one in given["wallets"]:
        before[one["id"]] = one["amount_minor"]
        await account.grant(
            str(one["amount_minor"]), key=story.key(one["id"]), priority=one["priority"]
        )
    await account.debit(str(given["take_minor"]))
    left = await story.lots()
    assert {name: before[name] - left[name] for name in before} == expected["taken"]


@pytest.mark.parametrize(("given", "expected"), cases("credits", "amount"))
async def test_a_correction_takes_what_it_says(
    account: CreditAccount, given: Json, expected: Json
) -> None:
    await account.grant(given["balance"], key=str(account.id))
    await account.do(
        service.take, amount=Decimal(given["take"]), key=f"{account.id}/taken", reason="test"
    )
    assert (await account.books()).balance == Decimal(expected["left"])


@pytest.mark.parametrize(("given", "expected"), cases("credits", "expiry"))
def test_credits_end_when_others_end_them(given: Json, expected: Json) -> None:
    zone, interval = given["zone"], Interval.model_validate(given["interval"])
    anchor = periods.to_wall(datetime.fromisoformat(given["granted_at"]), zone)
    ends = periods.boundary(anchor, zone, interval, 1)
    assert ends == datetime.fromisoformat(expected["expires_at"])
