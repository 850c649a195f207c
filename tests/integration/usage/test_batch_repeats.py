"""A batch that is sent again: rows that are there stay single, whatever broke between."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from psycopg import OperationalError

from api.batching import usage_batcher as recording
from billing.core.batcher import Turns
from billing.core.prepared import wrapped
from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use, UseKind
from tests.integration.usage.conftest import V1, NewShop, Shop

USE = {"product_id": "gpt-4", "usage_amount": "1000"}


async def send(shop: Shop, key: str | None, *rows: dict[str, Any]) -> list[Any]:
    """(status, code) of each row, sent by the shop itself."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer = await shop.post("/usage/batch", {"events": list(rows)}, **headers)
    assert answer.status_code == 200, answer.text
    return [(row["status"], row.get("code")) for row in answer.json()["results"]]


async def test_rows_without_an_event_are_told_again_by_the_key_of_their_request(
    new_shop: NewShop,
) -> None:
    shop, key = await new_shop("10"), f"k-{uuid4()}"
    rows = [USE, USE, USE | {"event_id": "mine"}, {"usage_amount": "1"}]
    first = await send(shop, key, *rows)
    assert [status for status, _ in first] == ["recorded"] * 3 + ["rejected"]
    again = await send(shop, key, *rows)
    assert [status for status, _ in again] == ["duplicate"] * 3 + ["rejected"]
    other = await send(shop, key, USE | {"usage_amount": "2"}, USE)
    assert other == [("rejected", "IDEMPOTENCY_KEY_REUSED"), ("duplicate", None)]
    assert await shop.balance() == 4
    events = await shop.rows("SELECT event_id FROM billing_records WHERE account_id = :id")
    assert sorted(events) == sorted([(f"{key}/0",), (f"{key}/1",), ("mine",)])
    assert [status for status, _ in await send(shop, None, USE)] == ["recorded"], "each is new"


async def test_a_row_that_was_refused_is_recorded_when_its_request_is_repeated(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("2")
    rows = [USE, USE]
    assert await send(shop, "late", *rows) == [
        ("recorded", None), ("rejected", "INSUFFICIENT_CREDITS"),
    ]  # fmt: skip
    await shop.grant("2")
    assert await send(shop, "late", *rows) == [("duplicate", None), ("recorded", None)]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_that_is_none_is_refused_as_for_a_single_use(
    new_shop: NewShop, key: str
) -> None:
    shop = await new_shop("10")
    for path, body in (("record", USE), ("batch", {"events": [USE]})):
        answer = await shop.post(f"/usage/{path}", body, **{"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")
    assert await shop.balance() == 10


async def test_a_batch_that_broke_in_the_middle_is_repeated_without_a_second_use(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = [await new_shop("10") for _ in range(3)]
    api, broken = shops[0].api, shops[1]
    recorder = api.app.state.services.usage_batcher
    write, others = recorder._once, asyncio.Semaphore(0)

    async def lost_for_one(
        uses: Any, groups: Any, owned: Any, how: sql_batch.How
    ) -> dict[int, Recorded]:
        if owned[0][0] == broken.id.int:
            for _ in range(2):
                await others.acquire()
            raise wrapped(OperationalError("the connection is lost"), "the record")
        done: dict[int, Recorded] = await write(uses, groups, owned, how)
        others.release()
        return done

    rows = [USE | {"account_id": shop.account["id"]} for shop in shops for _ in range(2)]
    headers = api.token("*", ["service"]) | {"Idempotency-Key": f"k-{uuid4()}"}

    async def post() -> Any:
        return await api.client.post(f"{V1}/usage/batch", json={"events": rows}, headers=headers)

    alone = recording.Size(1, recording.LONG.rows)
    monkeypatch.setattr(recorder, "_size", lambda: alone)
    monkeypatch.setitem(recorder._turns, alone, Turns(recording.PARTS_OF_ONE))
    with monkeypatch.context() as broke:
        broke.setattr(recorder, "_once", lost_for_one)
        assert (await post()).status_code == 503
    assert [await shop.balance() for shop in shops] == [6, 10, 6]
    again = (await post()).json()["results"]
    assert [row["status"] for row in again] == [
        "duplicate", "duplicate", "recorded", "recorded", "duplicate", "duplicate",
    ]  # fmt: skip
    assert [await shop.balance() for shop in shops] == [6, 6, 6]


async def test_who_met_a_repeat_looks_for_the_next_ones_before_it_writes(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one repeat costs no second statement; who meets none does not look for long."""
    shop, sent = await new_shop("100"), []
    recorder = shop.api.app.state.services.usage_batcher
    write = recorder._once

    async def noted(*given: Any) -> Any:
        sent.append("writes" if given[-1].new else "looks")
        return await write(*given)

    monkeypatch.setattr(recorder, "_once", noted)
    monkeypatch.setattr(recorder, "_looks", 0)
    monkeypatch.setattr(recording, "LOOKS", 2)
    known = USE | {"event_id": "known"}
    for rows in ([known], [known, USE], [known, USE], [USE], [USE], [USE]):
        await send(shop, None, *rows)
    assert sent == ["writes", "writes", "looks", "looks", "looks", "looks", "writes"]
    assert await shop.balance() == 100 - 2 * 6


async def test_a_repeat_is_known_when_there_is_nothing_left_to_pay_it_again(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused on no account of what it used itself, also by who does not look for repeats."""
    shop, quoted = await new_shop("2"), await new_shop("100")
    recorder = shop.api.app.state.services.usage_batcher
    await quoted.quota("1000", service_type="model_inference")
    for one in (shop, quoted):
        done = await one.record("1000", product_id="gpt-4", event_id="mine")
        monkeypatch.setattr(recorder, "_looks", 0)
        assert await one.record("1000", product_id="gpt-4", event_id="mine") == done
        monkeypatch.setattr(recorder, "_looks", 0)
        again, other = USE | {"event_id": "mine"}, USE | {"event_id": "mine", "usage_amount": "7"}
        assert await send(one, None, again, USE) == [
            ("duplicate", None),
            ("rejected", "INSUFFICIENT_CREDITS" if one is shop else "QUOTA_EXCEEDED"),
        ]
        monkeypatch.setattr(recorder, "_looks", 0)
        assert await send(one, None, other) == [("rejected", "IDEMPOTENCY_KEY_REUSED")]


async def test_who_looks_for_an_event_waits_for_whoever_is_writing_it(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    kind = UseKind("gpt-4", None, None, None, None, None, defer=False)
    use = Use(shop.id, kind, "1000", event_id="same")

    async def look() -> str:
        async with shop.api.database.tenant(shop.id) as connection:
            return (await sql_batch.record(connection, [use], [1])).answers[0].verdict

    async with shop.api.database.tenant(shop.id) as connection:
        await sql_batch.record(connection, [use], [1], how=sql_batch.How(new=True))
        looking = asyncio.create_task(look())
        done, _ = await asyncio.wait([looking], timeout=0.5)
        assert not done, "it did not wait for the lock"
    assert await looking == "duplicate"
    assert await shop.balance() == 8
