"""Operators move the subscribers of an old price to that of now, with notice."""

from typing import Any

import pytest

from api.routes.admin import price_moves as route
from billing.money.subscriptions.commands import price_moves
from tests.integration.actors import API, Actors
from tests.integration.api_app import Api
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import PATH, RENEWAL, begun, told
from tests.integration.money_seen import charged

TERMS: Any = {
    "name": "Mover", "family": "move", "description": "A plan whose price rises",
    "prices": {"month": {"USD": 1000}},
}  # fmt: skip
MOVE = "/admin/plans/mover/move-subscribers"
REASON = {"reason": "prices of 2027"}


async def test_a_new_price_comes_with_the_next_period_and_is_told_before(actors: Actors) -> None:
    await actors.operate("PUT", "/admin/plans/mover", TERMS)
    stays, moves = await begun(actors, "mover"), await begun(actors, "mover")
    dearer = TERMS | {"prices": {"month": {"USD": 1200}}}
    await actors.operate("PUT", "/admin/plans/mover", dearer)
    seen = await actors.operate("POST", f"{MOVE}?dry_run=true", REASON, status=200)
    assert {one["account_id"] for one in seen["moves"]} == {stays.id, moves.id}
    assert (await moves.subscription())["scheduled_changes"] == []

    done = await actors.operate("POST", MOVE, REASON, status=200)

    assert done == seen
    (one, _) = done["moves"]
    assert (one["price_cents_before"], one["price_cents"]) == (1000, 1200)
    assert one["effective_at"] == RENEWAL
    again = await actors.operate("POST", MOVE, REASON, status=200)
    assert again == {"moves": [], "left": False, "next_cursor": None}
    (notice,) = await told(moves, "subscription.price_changes")
    assert "cancel" in notice["how_to_cancel"]
    (planned,) = (await moves.subscription())["scheduled_changes"]
    assert planned["kind"] == "price"
    path = f"{PATH}/changes/{planned['change_id']}"
    refused = await moves.refused("CHANGE_NOT_SCHEDULED", "DELETE", path)
    assert "price cannot be called off" in refused["detail"]
    assert (await moves.ask("GET", f"{PATH}/upcoming"))["invoice"]["total_cents"] == 1200
    await stays.ask("PUT", PATH, {"plan": "pro"}, status=200)
    assert (await stays.subscription())["scheduled_changes"] == []

    await moves.advance(to=RENEWAL)

    assert await charged(moves) == [1000, 1200]
    assert (await moves.subscription())["amount_cents"] == 1200
    (began,) = await told(moves, "subscription.price_changed")
    assert (began["price_cents"], began["currency"]) == (1200, "USD")


async def test_subscribers_of_a_plan_that_is_not_sold_any_more_move_too(actors: Actors) -> None:
    await actors.operate("PUT", "/admin/plans/mover", TERMS)
    customer = await begun(actors, "mover")
    closed = TERMS | {"prices": {"month": {"USD": 1200}}, "is_active": False}
    await actors.operate("PUT", "/admin/plans/mover", closed)
    seen = await actors.operate("POST", f"{MOVE}?dry_run=true", REASON, status=200)
    done = await actors.operate("POST", MOVE, REASON, status=200)
    assert done == seen
    assert customer.id in {one["account_id"] for one in done["moves"]}
    await customer.refused("PLAN_NOT_FOUND", "PUT", PATH, {"interval": "year"})
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1000, 1200]


async def test_a_minimum_moves_with_its_price(actors: Actors) -> None:
    least = {"month": {"USD": {"amount_minor": 1000, "minimum_minor": 5000}}}
    await actors.operate("PUT", "/admin/plans/mover", TERMS | {"prices": least})
    customer = await begun(actors, "mover")
    assert (await customer.subscription())["minimum_cents"] == 5000
    dearer = {"month": {"USD": {"amount_minor": 1200, "minimum_minor": 6000}}}
    await actors.operate("PUT", "/admin/plans/mover", TERMS | {"prices": dearer})
    await actors.operate("POST", MOVE, REASON, status=200)
    (told,) = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.subscription.price_changes'"
    )
    seen = (told["data"]["minimum_cents_before"], told["data"]["minimum_cents"])
    assert seen == (5000, 6000)

    await customer.advance(to=RENEWAL)

    assert (await customer.subscription())["minimum_cents"] == 6000
    # 5000 less the 1000 that were paid, and the new price.
    assert await charged(customer) == [1000, 5200]


async def test_another_version_of_an_equal_price_is_told_to_nobody(actors: Actors) -> None:
    path = "/admin/plans/mover-back"
    await actors.operate("PUT", path, TERMS)
    first = await begun(actors, "mover-back")
    await actors.operate("PUT", path, TERMS | {"prices": {"month": {"USD": 1200}}})
    second = await begun(actors, "mover-back")
    await actors.operate("PUT", path, TERMS)
    seen, done = [
        await actors.operate("POST", f"{path}/move-subscribers{query}", REASON, status=200)
        for query in ("?dry_run=true", "")
    ]
    assert done == seen
    assert [one["account_id"] for one in done["moves"]] == [second.id]
    assert (await first.subscription())["scheduled_changes"] == []


async def test_who_has_a_contract_without_a_price_of_its_own_moves_too(actors: Actors) -> None:
    path = "/admin/plans/mover-agreed"
    await actors.operate("PUT", path, TERMS)
    limited, priced = [await actors.customer_on_clock(START) for _ in range(2)]
    limits = {"ai_responses": {"included": "10", "then": "notify"}}
    await agree(limited, prices=[], limits=limits)
    own = {"plan": "mover-agreed", "interval": "month", "currency": "USD", "amount_cents": 900}
    await agree(priced, prices=[own])
    for one in (limited, priced):
        await one.subscribed("mover-agreed")
    await actors.operate("PUT", path, TERMS | {"prices": {"month": {"USD": 1200}}})

    done = await actors.operate("POST", f"{path}/move-subscribers", REASON, status=200)

    assert [one["account_id"] for one in done["moves"]] == [limited.id]


async def test_whose_next_period_has_an_agreed_price_is_told_of_no_other(actors: Actors) -> None:
    path = "/admin/plans/mover-agreeing"
    await actors.operate("PUT", path, TERMS)
    customer = await begun(actors, "mover-agreeing")
    own = {"plan": "mover-agreeing", "interval": "month", "currency": "USD", "amount_cents": 900}
    await agree(customer, prices=[own])
    await actors.operate("PUT", path, TERMS | {"prices": {"month": {"USD": 1200}}})

    seen, done = [
        await actors.operate("POST", f"{path}/move-subscribers{query}", REASON, status=200)
        for query in ("?dry_run=true", "")
    ]

    assert (seen["moves"], done["moves"]) == ([], [])
    assert (await customer.subscription())["scheduled_changes"] == []
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1000, 900]
    for kind in ("price_changes", "price_changed"):
        assert await told(customer, f"subscription.{kind}") == []


async def test_a_move_for_another_shop_is_refused_whole(actors: Actors) -> None:
    path = "/admin/plans/mover-shop"
    await actors.operate("PUT", path, TERMS)
    shop = {"platform": "shopify", "platform_domain": "shop.example"}
    customer = await actors.customer_on_clock(START, **shop)
    await customer.subscribed("mover-shop")
    await actors.operate("PUT", path, TERMS | {"prices": {"month": {"USD": 1200}}})

    async def moved(shop: str, query: str = "") -> Any:
        headers = actors.headers("*", "admin") | {"X-Shop-Domain": shop}
        url = f"{API}{path}/move-subscribers{query}"
        return (await actors.client.post(url, json=REASON, headers=headers)).json()

    for query in ("?dry_run=true", ""):
        assert (await moved("other.example", query))["code"] == "PLATFORM_MISMATCH"
    assert (await customer.subscription())["scheduled_changes"] == []
    assert [one["account_id"] for one in (await moved("shop.example"))["moves"]] == [customer.id]


async def test_moving_goes_on_behind_who_was_moved(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "PAGE", 1)
    monkeypatch.setattr(price_moves, "WALKED", 1)
    many, path = "/admin/plans/mover-many", "/admin/plans/mover-many/move-subscribers"
    await actors.operate("PUT", many, TERMS)
    customers = [await begun(actors, "mover-many") for _ in range(3)]
    await actors.operate("PUT", many, TERMS | {"prices": {"month": {"USD": 1200}}})
    for query in ("?dry_run=true&", "?"):
        seen: list[str] = []
        cursor = ""
        while not seen or cursor:
            answer = await api.client.post(
                f"{API}{path}{query}{cursor}", json=REASON, headers=api.admin()
            )
            part = answer.json()
            seen += [one["account_id"] for one in part["moves"]]
            cursor = f"cursor={part['next_cursor']}" if part["left"] else ""
        assert seen == [one.id for one in customers], "each once, the eldest first"
    again = await actors.operate("POST", path, REASON, status=200)
    assert (again["moves"], again["next_cursor"]) == ([], None)
    strange = await actors.operate("POST", f"{path}?cursor=x", REASON, status=422)
    assert strange["code"] == "INVALID_CURSOR"
