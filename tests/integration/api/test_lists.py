"""Lists: newest first, by cursor, page or offset, without gaps or repeats."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api_app import ACCOUNTS, Api

COUNT = 23


@pytest.fixture(scope="module")
async def shops(api: Api) -> tuple[str, list[str]]:
    """A word that finds 23 accounts, and their ids, newest first."""
    word = f"list-{uuid4().hex}"
    made = [(await api.new_account(external_id=f"{word}-{n}"))["id"] for n in range(COUNT)]
    return word, made[::-1]


async def page(api: Api, word: str, **query: Any) -> dict[str, Any]:
    answer = await api.client.get(ACCOUNTS, params={"q": word} | query, headers=api.admin())
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ids_of(body: dict[str, Any]) -> list[str]:
    return [row["id"] for row in body["data"]]


async def test_a_list_says_where_it_stands(api: Api, shops: tuple[str, list[str]]) -> None:
    word, newest_first = shops
    body = await page(api, word)
    assert ids_of(body) == newest_first[:20]
    assert body["pagination"]["next_cursor"]
    assert body["pagination"] | {"next_cursor": None} == {
        "limit": 20, "offset": 0, "page": 1, "has_more": True, "next_cursor": None, "total": COUNT,
    }  # fmt: skip


async def test_a_list_of_everything_counts_every_row(
    api: Api, shops: tuple[str, list[str]]
) -> None:
    answer = await api.client.get(ACCOUNTS, params={"limit": 1}, headers=api.admin())
    assert answer.json()["pagination"]["total"] >= COUNT


@pytest.mark.parametrize("limit", [1, 5, 22, 23, 24, 100])
async def test_following_the_cursor_shows_each_row_once(
    api: Api, shops: tuple[str, list[str]], limit: int
) -> None:
    word, newest_first = shops
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    for _ in range(COUNT + 1):
        body = await page(api, word, limit=limit, **cursor)
        seen += ids_of(body)
        if not body["pagination"]["has_more"]:
            assert body["pagination"]["next_cursor"] is None
            break
        cursor = {"cursor": body["pagination"]["next_cursor"]}
    assert seen == newest_first


async def test_a_newcomer_does_not_move_the_pages_behind_a_cursor(api: Api) -> None:
    word = f"list-{uuid4().hex}"
    made = [(await api.new_account(external_id=f"{word}-{n}"))["id"] for n in range(4)][::-1]
    first = await page(api, word, limit=2)
    await api.new_account(external_id=f"{word}-new")
    second = await page(api, word, limit=2, cursor=first["pagination"]["next_cursor"])
    assert ids_of(first) + ids_of(second) == made


async def test_pages_and_offsets_count_the_same_rows(
    api: Api, shops: tuple[str, list[str]]
) -> None:
    word, newest_first = shops
    assert ids_of(await page(api, word, page=3, limit=10)) == newest_first[20:]
    assert ids_of(await page(api, word, offset=21, limit=10)) == newest_first[21:]
    both = await page(api, word, offset=0, page=2, limit=10)
    assert ids_of(both) == newest_first[:10], "an offset wins over a page"
    beyond = await page(api, word, page=9, limit=10)
    assert (beyond["data"], beyond["pagination"]["has_more"]) == ([], False)
    assert beyond["pagination"]["total"] == COUNT


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"limit": -1}, {"page": 0}, {"page": -1},
        {"offset": -1}, {"offset": 10_001}, {"page": 10_000, "limit": 100}, {"cursor": "x" * 513},
        {"limit": 1.5}, {"page": "1;DROP"},
    ],
)  # fmt: skip
async def test_a_page_nobody_can_turn_to_is_refused(api: Api, query: dict[str, Any]) -> None:
    answer = await api.client.get(ACCOUNTS, params=query, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


@pytest.mark.parametrize("cursor", ["nonsense", "bnVsbA", "W10", "' OR 1=1 --"])
async def test_a_cursor_nobody_gave_out_is_refused(api: Api, cursor: str) -> None:
    answer = await api.client.get(ACCOUNTS, params={"cursor": cursor}, headers=api.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_CURSOR")


async def test_a_search_goes_on_behind_the_accounts_that_it_has_gone_through(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare word costs a page as much as a frequent one, however many accounts there are."""
    word, others = f"rare-{uuid4().hex}", f"list-{uuid4().hex}"
    made = []
    for n in range(2):
        made.append((await api.new_account(external_id=f"{n}-of-{word}"))["id"])
        for one in range(6):
            await api.new_account(external_id=f"{others}-{n}-{one}")
    monkeypatch.setattr("api.routes.admin.accounts.GONE_THROUGH", 4)
    seen, cursor = [], None
    for found in ([], made[1:], [], made[:1]):
        body = await page(api, word, **({"cursor": cursor} if cursor else {}))
        assert ids_of(body) == found
        assert body["pagination"]["has_more"], "older accounts are not looked at yet"
        assert body["pagination"]["total"] == 0, "of the newest that a page goes through"
        seen += ids_of(body)
        cursor = body["pagination"]["next_cursor"]
    assert seen == made[::-1]
    counted = await page(api, word, page=1)
    assert (ids_of(counted), counted["pagination"]["has_more"]) == (seen, False), "a number's page"
    full = await page(api, others, limit=3)
    rest = await page(api, others, limit=3, cursor=full["pagination"]["next_cursor"])
    assert (len(full["data"]), len(rest["data"])) == (3, 3)
    assert 3 <= full["pagination"]["total"] <= 4, "of six, those it went through"


@pytest.mark.parametrize(
    "path", ["balance", "credits/transactions", "credits/lots", "records?start_date=2027-01-01"]
)
async def test_balance_and_usage_of_an_unknown_account_are_empty(api: Api, path: str) -> None:
    headers = api.token(f"early-{uuid4().hex}", ["member"])
    answer = await api.client.get(f"/api/v1/billing/{path}", headers=headers)
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    assert answer.json().get("balance_cents", 0) == 0


@pytest.mark.parametrize(
    "path",
    [
        "usage/budgets", "usage/recommendations", "usage/aggregations",
        "billing/payment-methods/available", "admin/search?q=nothing",
    ],
)  # fmt: skip
async def test_a_list_that_is_whole_says_so_as_every_list_does(api: Api, path: str) -> None:
    headers = api.admin() | {"X-Account-Id": (await api.new_account())["id"]}
    answer = (await api.client.get(f"/api/v1/{path}", headers=headers)).json()
    found = len(answer["data"])
    assert answer["pagination"] == {
        "limit": max(found, 1), "offset": 0, "page": 1, "has_more": False, "next_cursor": None,
        "total": found,
    }  # fmt: skip


async def test_an_account_and_its_audit_have_their_ids_under_the_names_of_paths(api: Api) -> None:
    made = await api.new_account()
    assert made["account_id"] == made["id"]
    trail = await api.client.get(f"{ACCOUNTS}/{made['id']}/audit", headers=api.admin())
    assert [one["audit_id"] for one in trail.json()["data"]] == ids_of(trail.json()) != []
