"""Texts of a batch: taken as single uses take them; what is none spoils only its own row."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold, state

USE = {"product_id": "gpt-4", "usage_amount": "1000"}
WORDS = (
    "event_id", "user_id", "organization_id", "session_id", "request_id", "product_id",
    "feature_type", "operation", "model", "hold_id",
)  # fmt: skip


async def post_raw(shop: Shop, path: str, body: str | bytes) -> httpx2.Response:
    headers = shop.headers() | {"Content-Type": "application/json"}
    return await shop.api.client.post(f"{V1}{path}", content=body, headers=headers)


async def test_an_event_is_the_same_with_space_around_its_words(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    use: dict[str, Any] = USE | {"event_id": "e1 ", "user_id": "\u00a0ann\n", "operation": "\tchat"}
    await shop.record(**use)
    own = {"account_id": f" {shop.account['id']}", "external_id": shop.account["external_id"] + " "}
    done = await shop.batch(use | own, {name: text.strip() for name, text in use.items()})
    assert [row["status"] for row in done["results"]] == ["duplicate"] * 2
    fresh = await shop.batch(use | {"event_id": " e2"})
    assert (fresh["recorded"], fresh["results"][0]["event_id"]) == (1, "e2")
    rows = await shop.rows(
        "SELECT event_id, user_id, operation FROM billing_records WHERE account_id = :id"
    )
    assert sorted(rows) == [("e1", "ann", "chat"), ("e2", "ann", "chat")]
    owners = await shop.rows("SELECT DISTINCT owner FROM usage_counters WHERE account_id = :id")
    assert sorted(owners) == [("",), ("a:chat",), ("u:ann",)]


@pytest.mark.parametrize("name", WORDS)
async def test_a_blank_word_is_refused_and_named_either_way(new_shop: NewShop, name: str) -> None:
    shop = await new_shop("10")
    for blank in ("", " \u2003"):
        use = USE | {name: blank}
        single = await shop.post("/usage/record", use)
        assert (single.status_code, single.json()["code"]) == (422, "VALIDATION_FAILED")
        assert name in single.json()["detail"]
        (row,) = (await shop.batch(use))["results"]
        assert (row["status"], row["code"]) == ("rejected", "VALIDATION_FAILED")
        assert row["detail"].startswith(f"{name}: ")
    assert await shop.balance() == 10


async def test_a_hold_is_found_with_space_around_its_id(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    one, other = await hold(shop), await hold(shop)
    await shop.record(hold_id=f" {one}")
    assert (await shop.batch(USE | {"hold_id": f"{other} "}))["recorded"] == 1
    assert [await state(shop, each) for each in (one, other)] == [("captured", "2.00")] * 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (rb'"event_id": "a\u0000"', "event_id"),
        (rb'"user_id": "\ud800 ann"', "user_id"),
        (rb'"model": "\udc00\ud800"', "model"),
        (rb'"user_id": "\\\ud800\ud83d\ude00"', "user_id"),
        (rb'"usage_details": {"prompt": ["\u0000"]}', "usage_details"),
        (rb'"usage_details": {"\ud83dx": 1}', "usage_details"),
    ],
)
async def test_characters_that_are_none_spoil_one_row_of_a_batch_and_any_other_body(
    new_shop: NewShop, wrong: bytes, field: str
) -> None:
    shop = await new_shop("10")
    kept = {"text": r"\u0000 \ud83d " + "\U0001f600", "amount": 0.1}
    good = json.dumps(USE | {"usage_details": kept}).encode()
    bad = b'{"product_id": "gpt-4", "usage_amount": "1", ' + wrong + b"}"
    answer = await post_raw(shop, "/usage/batch", b'{"events": [' + good + b"," + bad + b"]}")
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["results"]
    assert (first["status"], second["status"]) == ("recorded", "rejected")
    assert (second["code"], second["retry"]) == ("VALIDATION_FAILED", False)
    assert second["detail"].startswith(f"{field}: ")
    rows = await shop.rows("SELECT detail FROM billing_records WHERE account_id = :id")
    assert rows == [(kept,)]
    assert (await post_raw(shop, "/usage/record", bad)).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"\xff", b'{"events": [{}]', b'{"events": [{"usage_details": {"x": NaN}}]}',
        b'{"events": [{"feature_type": "\xff", "usage_amount": "1"}, {}]}',
        rb'{"events": [{"event_id": "\x"}]}', b'{"events": [{"event_id": "\x00"}]}',
    ],
)  # fmt: skip
async def test_a_batch_that_is_no_json_is_refused_whole(new_shop: NewShop, body: bytes) -> None:
    answer = await post_raw(await new_shop(), "/usage/batch", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_is_not_said_to_be_json_is_refused_either_way(
    new_shop: NewShop, kind: str | None
) -> None:
    shop = await new_shop("10")
    headers = shop.headers() | ({"Content-Type": kind} if kind else {})
    for path, body in (("/usage/record", USE), ("/usage/batch", {"events": [USE]})):
        answer = await shop.api.client.post(
            f"{V1}{path}", content=json.dumps(body), headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert await shop.balance() == 10


@pytest.mark.parametrize(
    "ending", ["T00:00Z", " 00:00:00Z", "T01:00+01:00", "t00:00:00.5z", "T01:00:00+0100"]
)
async def test_an_instant_is_written_alike_in_a_single_use_and_in_a_row(
    new_shop: NewShop, ending: str
) -> None:
    shop = await new_shop("10")
    today = datetime.now(UTC).date()
    use: dict[str, Any] = USE | {"occurred_at": f"{today}{ending}"}
    await shop.record(**use)
    assert (await shop.batch(use, use | {"usage_amount": 0.5}))["recorded"] == 2
    rows = await shop.rows(
        "SELECT DISTINCT occurred_at FROM billing_records WHERE account_id = :id"
    )
    assert len(rows) == 1


async def test_what_is_no_instant_spoils_its_row_alone(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    for words in ("today", "2026-12-01", "1750000000", "2026-12-01T09:00"):
        use = USE | {"occurred_at": words}
        assert (await shop.post("/usage/record", use)).status_code == 422
        done = await shop.batch(use, USE)
        assert (done["recorded"], done["results"][0]["code"]) == (1, "VALIDATION_FAILED")
        assert done["results"][0]["detail"].startswith("occurred_at: ")
