"""Credits are bought by themselves: once while undecided, within the cap, until it fails thrice."""

import asyncio
from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors, Merchant, wait_for

AUTO = "/billing/credits/auto-top-up"
TOP_UPS = "/billing/credits/top-ups"
START = "2027-01-10T10:00:00Z"


async def give(merchant: Merchant, amount: str, **more: Any) -> None:
    body = {"account_id": merchant.id, "amount": amount, "reason": "test"} | more
    headers = merchant.actors.headers("*", "admin", str(uuid4()))
    answer = await merchant.actors.client.post(
        "/api/v1/admin/credits/adjust", json=body, headers=headers
    )
    assert answer.status_code == 201, answer.text


async def spend(merchant: Merchant, amount: str) -> None:
    hold = await merchant.ask("POST", "/billing/credits/holds", {"amount": amount}, status=201)
    await merchant.ask("POST", f"/billing/credits/holds/{hold['hold_id']}/capture", {})


async def wants(merchant: Merchant, threshold: str = "10", **more: Any) -> Any:
    body = {"threshold": threshold, "pack": "small"} | more
    return await merchant.ask("PUT", AUTO, body, status=200)


async def until(merchant: Merchant, *statuses: str) -> list[Any]:
    """The top-ups, oldest first, as soon as they stand so."""

    async def listed() -> list[Any]:
        return list(reversed((await merchant.ask("GET", TOP_UPS))["data"]))

    return await wait_for(
        listed,
        f"top-ups of {merchant.id} are {statuses}",
        lambda seen: tuple(one["status"] for one in seen) == statuses,
    )


async def test_few_credits_left_buy_a_pack_with_the_saved_card(merchant: Merchant) -> None:
    await merchant.save_card()
    await give(merchant, "30")
    kept = await wants(merchant)
    assert (kept["is_enabled"], kept["threshold"], kept["undecided"]) == (True, "10.00", None)
    await spend(merchant, "20")
    assert (await merchant.ask("GET", TOP_UPS))["data"] == [], "ten are enough"
    await spend(merchant, "0.5")
    (bought,) = await until(merchant, "completed")
    assert (bought["available"], bought["threshold"], bought["amount_cents"]) == (
        "9.50", "10.00", 999,
    )  # fmt: skip
    assert (await merchant.purchase(bought["purchase_id"]))["status"] == "completed"
    assert await merchant.credits() == 109.5
    assert [effect["amount"] for effect in await merchant.effects()] == [999]
    assert "evt.billing.top_up.completed" in await merchant.published()


async def test_many_holds_at_once_want_one_pack(merchant: Merchant) -> None:
    await merchant.save_card()
    await give(merchant, "30")
    await wants(merchant, "25")
    answers = await asyncio.gather(
        *(merchant.call("POST", "/billing/credits/holds", {"amount": "1"}) for _ in range(30))
    )
    assert {one.status_code for one in answers} == {201}
    await until(merchant, "completed")
    assert len(await merchant.effects()) == 1


async def test_an_account_below_its_threshold_is_filled_when_it_says_so(
    merchant: Merchant,
) -> None:
    await merchant.save_card()
    await wants(merchant)
    await until(merchant, "completed")
    assert await merchant.credits() == 100


async def test_a_refused_hold_is_a_wish_too(merchant: Merchant) -> None:
    await merchant.save_card()
    await give(merchant, "20")
    await wants(merchant)
    await give(merchant, "-15")
    hold = {"amount": "50"}
    refused = await merchant.refused("INSUFFICIENT_CREDITS", "POST", "/billing/credits/holds", hold)
    assert refused["top_up"] is True
    await until(merchant, "completed")
    again = await merchant.call("POST", "/billing/credits/holds", hold)
    assert again.status_code == 201


async def test_what_cannot_be_bought_is_refused_at_once(merchant: Merchant) -> None:
    body = {"threshold": "10", "pack": "small"}
    await merchant.refused("PAYMENT_METHOD_REQUIRED", "PUT", AUTO, body)
    await merchant.refused("INVALID_PACK", "PUT", AUTO, body | {"pack": "gigantic"})
    await merchant.refused("VALIDATION_FAILED", "PUT", AUTO, body | {"threshold": "0"})
    await merchant.refused("VALIDATION_FAILED", "PUT", AUTO, body | {"monthly_cap_cents": 0})
    nothing = await merchant.ask("GET", AUTO)
    assert (nothing["is_enabled"], nothing["pack"]) == (False, None)
    off = await merchant.ask("PUT", AUTO, body | {"is_enabled": False}, status=200)
    assert off["is_enabled"] is False


async def test_a_declined_card_is_tried_three_times_and_the_account_is_told(
    actors: Actors,
) -> None:
    merchant = await actors.merchant_on_clock(START)
    await merchant.save_card()
    await merchant.script("insufficient_funds", then="last")
    await wants(merchant)
    await until(merchant, "failed")
    assert (await merchant.ask("GET", AUTO))["failures"] == 1
    await spend_nothing(merchant)
    await merchant.advance(days=3)
    failed = await until(merchant, "failed", "failed", "failed")
    assert [one["decided_at"] for one in failed] == [
        "2027-01-10T10:00:00Z", "2027-01-10T11:00:00Z", "2027-01-11T11:00:00Z",
    ]  # fmt: skip
    assert {one["reason"] for one in failed} == {"insufficient_funds"}
    kept = await merchant.ask("GET", AUTO)
    assert (kept["failures"], kept["stopped_at"]) == (3, "2027-01-11T11:00:00Z")
    told = [name for name in await merchant.published() if "top_up" in name]
    assert told == [
        "evt.billing.top_up.settings_written",
        *["evt.billing.top_up.failed"] * 3,
        "evt.billing.top_up.stopped",
    ]
    assert len(await merchant.effects("charge.failed")) == 3
    assert await merchant.effects() == []
    await merchant.script(then="normal")
    await wants(merchant)
    await until(merchant, "failed", "failed", "failed", "completed")


async def spend_nothing(merchant: Merchant) -> None:
    """A hold during the pause after a failure wants nothing anew."""
    hold = {"amount": "1"}
    await merchant.refused("INSUFFICIENT_CREDITS", "POST", "/billing/credits/holds", hold)
    assert len((await merchant.ask("GET", TOP_UPS))["data"]) == 1


async def test_a_month_costs_no_more_than_its_cap_and_the_next_one_buys_again(
    actors: Actors,
) -> None:
    merchant = await actors.merchant_on_clock(START, zone="Europe/Berlin")
    await merchant.save_card()
    await wants(merchant, monthly_cap_cents=1500)
    await until(merchant, "completed")
    await spend(merchant, "95")
    await until(merchant, "completed", "capped")
    await merchant.refused(
        "INSUFFICIENT_CREDITS", "POST", "/billing/credits/holds", {"amount": "50"}
    )
    assert len(await merchant.effects()) == 1
    await merchant.advance(days=21)
    listed = await until(merchant, "completed", "capped")
    assert listed[1]["reason"] == "the month's limit is reached"
    await merchant.advance(to="2027-02-01T00:00:00Z")
    listed = await until(merchant, "completed", "capped", "completed")
    assert listed[2]["wanted_at"] == "2027-01-31T23:00:00Z", "midnight in Berlin"
    assert await merchant.credits() == 105


async def test_credits_that_came_meanwhile_are_not_bought_again(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock(START)
    await merchant.save_card()
    await merchant.script("insufficient_funds", then="normal")
    await wants(merchant)
    await until(merchant, "failed")
    await give(merchant, "50")
    await merchant.advance(days=2)
    await until(merchant, "failed")
    assert await merchant.effects() == []


async def test_what_is_switched_off_buys_nothing(merchant: Merchant) -> None:
    await merchant.save_card()
    await give(merchant, "30")
    await wants(merchant)
    await wants(merchant, is_enabled=False)
    await spend(merchant, "25")
    assert (await merchant.ask("GET", TOP_UPS))["data"] == []


async def test_an_account_is_told_once_a_week_before_its_credits_end(actors: Actors) -> None:
    merchant = await actors.merchant_on_clock("2027-01-01T10:00:00Z")
    await give(merchant, "30", expires_at="2027-01-31T10:00:00Z")
    await give(merchant, "5", expires_at="2027-01-05T10:00:00Z")
    await spend(merchant, "10")
    await merchant.advance(days=22)
    assert "evt.billing.credits.expiring" not in await merchant.published()
    await merchant.advance(days=20)
    told = await merchant.rows(
        "SELECT data, occurred_at FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.credits.expiring'"
    )
    assert [(row["data"]["credits"], row["occurred_at"].isoformat()) for row in told] == [
        ("25.00", "2027-01-24T10:00:00+00:00")
    ]
    assert await merchant.credits() == 0
