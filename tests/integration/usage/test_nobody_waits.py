"""Nobody waits for an account that is not his, and single uses have room beside batches."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import CheckViolation, LockNotAvailable, QueryCanceled
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from api.batching import one_by_one
from api.batching import usage_batcher as recording
from api.batching.usage_batcher import UsageBatcher
from billing.core.batcher import Turns
from billing.core.database import open_database
from billing.core.errors import Unavailable
from billing.metering.usage.schemas import Use, UseKind
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold
from tests.integration.waiting import wait_for

USE = {"product_id": "gpt-4", "usage_amount": "1000"}
KIND = UseKind("gpt-4", None, None, None, None, None, defer=False)
SOON = 2.0
"""Much less than a statement may wait for a lock."""


@asynccontextmanager
async def locked(*shops: Shop) -> AsyncIterator[None]:
    """Meanwhile somebody else has the accounts."""
    mine = [shop.id for shop in shops]
    async with shops[0].api.database.tenant(*mine) as connection:
        await connection.execute(
            text("SELECT 1 FROM credit_balances WHERE account_id = ANY (:mine) FOR UPDATE"),
            {"mine": mine},
        )
        yield


async def batch(rows: list[dict[str, Any]], shop: Shop) -> Any:
    service = shop.api.token("*", ["service"])
    answer = await shop.api.client.post(f"{V1}/usage/batch", json={"events": rows}, headers=service)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_single_uses_do_not_wait_for_somebody_else_s_account(new_shop: NewShop) -> None:
    slow, *others = [await new_shop("10") for _ in range(4)]
    async with locked(slow):
        waiting = [asyncio.create_task(slow.record()) for _ in range(3)]
        async with asyncio.timeout(SOON):
            await asyncio.gather(*(shop.record() for shop in others for _ in range(3)))
            await asyncio.gather(*(shop.record() for shop in others))
        assert not any(task.done() for task in waiting)
    assert [(await task)["billing_status"] for task in waiting] == ["completed"] * 3
    assert [await shop.balance() for shop in (slow, *others)] == [4, 2, 2, 2]


async def test_rows_of_a_batch_do_not_wait_for_somebody_else_s_account(new_shop: NewShop) -> None:
    slow, *others = [await new_shop("10") for _ in range(4)]
    rows = [USE | {"account_id": shop.account["id"]} for shop in (slow, *others) for _ in range(2)]
    rows[1] |= {"event_id": "twice"}
    rows.insert(2, rows[1])
    rows.insert(3, rows[1] | {"usage_amount": "2"})

    async def paid() -> list[Decimal]:
        return [await shop.balance() for shop in others]

    async with locked(slow):
        waiting = asyncio.create_task(batch(rows, slow))
        await wait_for(paid, "the other accounts' rows are paid", [6, 6, 6].__eq__, patience=SOON)
        assert not waiting.done()
    done = await waiting
    assert (done["recorded"], done["duplicate"], done["rejected"]) == (8, 1, 1)
    assert done["results"][2]["status"] == "duplicate"
    assert done["results"][3]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await slow.balance() == 6
    entries = await slow.get("/billing/credits/transactions", kind="debit")
    assert [entry["amount"] for entry in entries["data"]] == ["-4.00"], "paid by one entry"


async def test_a_batch_that_waited_for_many_accounts_takes_all_that_are_free(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other batches lock the same accounts together: who waited for each alone came last."""
    shops = [await new_shop("10") for _ in range(12)]
    recorder = UsageBatcher(shops[0].api.database)
    once, waits = recorder._once, list[str]()

    async def noted(uses: Any, groups: Any, owned: Any, how: Any) -> Any:
        waits.append(how.wait)
        return await once(uses, groups, owned, how)

    async def asked() -> list[str]:
        return waits

    monkeypatch.setattr(recorder, "_once", noted)
    uses = [Use(shop.id, KIND, "1000") for shop in shops]
    async with locked(*shops):
        sent = asyncio.create_task(recorder.many(uses))
        await wait_for(asked, "it waits", ["no", "until one is free"].__eq__)
    assert await sent == {}
    assert waits == ["no", "until one is free"]
    assert [await shop.balance() for shop in shops] == [8] * 12


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (IntegrityError("a statement", None, CheckViolation("below zero")), 500, "INTERNAL"),
        (OperationalError("a statement", None, QueryCanceled("timeout")), 503, "UNAVAILABLE"),
        (OperationalError("a statement", None, LockNotAvailable("parts")), 503, "UNAVAILABLE"),
    ],
)
async def test_an_account_that_cannot_be_written_refuses_nobody_else(
    new_shop: NewShop,
    monkeypatch: pytest.MonkeyPatch,
    failure: DBAPIError,
    status: int,
    code: str,
) -> None:
    broken, *others = [await new_shop("10") for _ in range(4)]
    recorder = broken.api.app.state.services.usage_batcher
    once, held = recorder._once, recorder._paid_by_holds._write

    async def fail(uses: Any, groups: Any, owned: Any, how: Any) -> Any:
        if any(uses[place].account_id == broken.id for _, places in owned for place in places):
            raise failure
        return await once(uses, groups, owned, how)

    async def fail_held(uses: Any) -> Any:
        if any(use.account_id == broken.id for use in uses):
            raise failure
        return await held(uses)

    monkeypatch.setattr(recorder, "_once", fail)
    monkeypatch.setattr(recorder._paid_by_holds, "_write", fail_held)
    rows = [USE | {"account_id": shop.account["id"]} for shop in (broken, *others) for _ in "ab"]
    for shop, row in zip((broken, *others), rows[1::2], strict=True):
        row["hold_id"] = await hold(shop)
    done = await batch(rows, broken)
    assert [one["status"] for one in done["results"]] == ["rejected"] * 2 + ["recorded"] * 6
    assert (done["results"][0]["code"], done["results"][1]["retry"]) == (code, True)
    assert [await shop.balance() for shop in others] == [6, 6, 6]
    alone = await broken.post("/usage/batch", {"events": [USE]})
    assert (alone.status_code, alone.json()["code"]) == (status, code)


async def test_if_two_accounts_take_too_long_the_database_does(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = [await new_shop("10") for _ in range(5)]
    recorder = UsageBatcher(shops[0].api.database)
    tried = list[int]()

    async def fail(uses: Any, groups: Any, owned: Any, how: Any) -> Any:
        tried.append(len(owned))
        raise OperationalError("a statement", None, QueryCanceled("timeout"))

    monkeypatch.setattr(recorder, "_once", fail)
    found = await recorder.many([Use(shop.id, KIND, "1000") for shop in shops])
    assert found == dict.fromkeys(range(5), one_by_one.BUSY)
    assert tried == [5, 1, 1]


@pytest.mark.parametrize("somebody_has_them", [False, True])
async def test_what_was_recorded_before_two_accounts_took_too_long_is_answered(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, somebody_has_them: bool
) -> None:
    shops = [await new_shop("10") for _ in range(5)]
    slow = {shop.id for shop in shops[1:4]}
    recorder = shops[0].api.app.state.services.usage_batcher
    once, alone = recorder._once, list[bool]()

    async def fail(uses: Any, groups: Any, owned: Any, how: Any) -> Any:
        if somebody_has_them and how.wait == "no":
            return {place: recording.NOT_YET for _, places in owned for place in places}
        if any(uses[places[0]].account_id in slow for _, places in owned):
            alone.append(len(owned) == 1)
            raise OperationalError("a statement", None, QueryCanceled("timeout"))
        return await once(uses, groups, owned, how)

    monkeypatch.setattr(recorder, "_once", fail)
    rows = [USE | {"account_id": shop.account["id"]} for shop in shops]
    for _ in range(60):  # the accounts come in any order
        done = (await batch([row | {"event_id": "once"} for row in rows], shops[0]))["results"]
        for shop, one in zip(shops, done, strict=True):
            known = one["status"] != "rejected"
            assert await shop.balance() == (8 if known else 10)
            assert known or (one["code"], one["retry"]) == ("UNAVAILABLE", True)
        rows = [row for row, one in zip(rows, done, strict=True) if one["status"] == "rejected"]
        shops = [shop for shop, one in zip(shops, done, strict=True) if one["status"] == "rejected"]
        assert alone.count(True) <= 2, "no third account is waited for"
        alone.clear()
        if len(shops) == len(slow):
            break
    assert {shop.id for shop in shops} == slow


async def test_batches_are_short_while_single_uses_are_about(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = [await new_shop("1000") for _ in range(12)]
    recorder = UsageBatcher(shops[0].api.database)
    uses = [Use(shop.id, KIND, "1000") for shop in shops for _ in range(10)]
    once, sizes = recorder._once, list[int]()

    async def noted(uses: Any, groups: Any, owned: Any, how: Any) -> Any:
        rows = sum(len(places) for _, places in owned)
        sizes.append(-rows if how.full else rows)
        return await once(uses, groups, owned, how)

    monkeypatch.setattr(recorder, "_once", noted)
    assert await recorder.many(uses) == {}
    assert sizes == [120], "nobody is about"
    sizes.clear()
    await recorder.one(uses[0])
    single = [recorder.one(use) for use in uses[:3]]
    assert (await asyncio.gather(recorder.many(uses), *single))[0] == {}
    parts = [size for size in sizes if size > 0]
    assert sum(parts) >= 120
    assert max(parts) == recording.SHORT.rows
    assert sizes.index(-3) < len(sizes) - 1, "the single uses came before the batch's end"
    assert [await shop.balance() for shop in shops[1:]] == [960] * 11


async def test_two_processes_record_an_event_that_both_are_sent_once(new_shop: NewShop) -> None:
    dice = random.Random(3)
    shops = [await new_shop("1000") for _ in range(8)]
    database = shops[0].api.database
    async with open_database(shops[0].api.app.state.services.settings) as twin:
        uses = [Use(dice.choice(shops).id, KIND, "1000", f"evt-{uuid4()}") for _ in range(200)]

        async def sent(recorder: UsageBatcher) -> list[str]:
            mine = dice.sample(uses, len(uses))
            singles, rest = mine[:80], mine[80:]
            many, one = await asyncio.gather(
                recorder.many(rest), asyncio.gather(*(recorder.one(use) for use in singles))
            )
            told = [many[place].verdict if place in many else "recorded" for place in range(120)]
            return [*told, *(answer.verdict for answer in one)]

        before = await deadlocks(shops[0])
        told = Counter[str]()
        for answers in await asyncio.gather(*(sent(UsageBatcher(one)) for one in (database, twin))):
            told.update(answers)
    assert told == {"recorded": 200, "duplicate": 200}
    assert await deadlocks(shops[0]) == before
    found = [await shop.rows("SELECT count(*) FROM billing_records WHERE account_id = :id")
             for shop in shops]  # fmt: skip
    assert sum(rows[0][0] for rows in found) == 200
    assert sum([await shop.balance() for shop in shops]) == 8 * 1000 - 200 * 2


async def deadlocks(shop: Shop) -> Any:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return await shop.rows(query)


async def test_a_batch_whose_turn_does_not_come_is_told_so(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await new_shop("10")
    recorder = UsageBatcher(shop.api.database)
    monkeypatch.setattr("billing.core.batcher.TURN_SECONDS", 0.05)
    async with recorder._turns[recording.LONG].one():
        assert await recorder.many([Use(shop.id, KIND, "1000")]) == {}, "there are others"
    recorder._turns[recording.LONG] = Turns(1)
    async with recorder._turns[recording.LONG].one():
        with pytest.raises(Unavailable):
            await recorder.many([Use(shop.id, KIND, "1000")])
