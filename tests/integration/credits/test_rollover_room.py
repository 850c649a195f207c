"""Lives in which credits that rolled over before roll over again as far as the cap leaves room."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Json
from tests.integration.credits.test_rollover import (
    APRIL,
    MARCH,
    MAY,
    PATH,
    begun,
    notices,
    plan,
    rolled,
    spend,
)
from tests.integration.credits.test_rollover_lives import broken
from tests.integration.dunning.dunning_setup import RENEWAL, START
from tests.integration.reversals.refunds_made import paid_for, refunded


@pytest.mark.parametrize("credits", [100, 300])
async def test_a_cycle_whose_credits_never_came_leaves_the_whole_cap(
    actors: Actors, credits: int
) -> None:
    key = f"rolls-{uuid4().hex[:8]}"
    terms: Json = {
        "name": "Rolls", "family": "rolls", "monthly_credits": str(credits),
        "rollover": {"policy": "cap", "credits": "100"}, "prices": {"month": {"USD": 1000}},
        "dunning": {"final_action": "uncollectible"},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "active", "the invoice was given up"
    assert await customer.credits() == 100
    await customer.script("succeed", then="last")
    await customer.advance(to=MARCH)
    assert await customer.credits() == credits + 100, "none of February's took any of the cap"
    assert await rolled(customer) == ["100.00", "100.00"]
    assert await broken(customer) == []
    await customer.advance(to=APRIL)
    assert await customer.credits() == credits + 100, "those of March fill the cap"


async def test_a_plan_without_the_rule_ends_none_of_what_another_brought(actors: Actors) -> None:
    customer = await begun(actors, 300, 150)
    other = await plan(actors, 30, None, month=500)
    await customer.ask("PUT", PATH, {"plan": other, "at": "period_end"}, status=200)
    for to in (RENEWAL, MARCH, APRIL):
        await customer.advance(to=to)
        assert await customer.credits() == 180
        assert await broken(customer) == []
    await spend(customer, 80)
    await customer.advance(to="2027-05-01T10:00:00Z")
    assert await customer.credits() == 130, "30 of April went first"


async def test_a_downgrade_in_mid_cycle_leaves_room_for_what_rolled_over_before(
    actors: Actors,
) -> None:
    customer = await begun(actors, 300, 150)
    other = await plan(actors, 30, None, month=500)
    await customer.advance(to="2027-02-03T10:00:00Z")
    assert await customer.credits() == 450
    await customer.ask("PUT", PATH, {"plan": other, "at": "now"}, status=200)
    assert 199 < await customer.credits() < 200, "26 of 28 days of 270 credits"
    assert await broken(customer) == []
    await customer.advance(to=MARCH)
    assert await customer.credits() == 180
    assert await broken(customer) == []


@pytest.mark.parametrize("returns", [False, True])
async def test_a_refund_leaves_room_for_what_rolled_over_before(
    actors: Actors, returns: bool
) -> None:
    customer = await begun(actors, 100, 100)
    await customer.advance(to="2027-02-05T10:00:00Z")
    if returns:
        await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await refunded(customer, await paid_for(customer), 700)
    assert await customer.credits() == 130
    if returns:
        await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to=MARCH)
    assert await customer.credits() == 200, "30 of February and 70 of January roll over"
    assert (await rolled(customer))[1:] == ["30.00", "70.00"]
    assert await broken(customer) == []


async def test_what_the_cap_leaves_no_room_for_is_told_before_its_end(actors: Actors) -> None:
    customer = await begun(actors, 100, 100)
    await customer.advance(to="2027-02-02T10:00:00Z")
    ends = sorted(lot["expires_at"].month for lot in await customer.grants("plan"))
    assert ends == [3, 4], "those of January end with February, those of February may roll over"
    await customer.advance(to="2027-02-25T10:00:00Z")
    assert await notices(customer) == ["2027-03-01"]


@pytest.mark.parametrize("own", [33, 66])
async def test_after_a_downgrade_the_higher_cap_holds_until_its_credits_are_spent(
    actors: Actors, own: int
) -> None:
    customer = await begun(actors, 101, 80)
    other = await plan(actors, own, 50, month=500)
    await customer.ask("PUT", PATH, {"plan": other, "at": "period_end"}, status=200)
    for to in (RENEWAL, MARCH, APRIL, MAY):
        await customer.advance(to=to)
        assert await customer.credits() == own + 80
        assert await broken(customer) == []
    kept = [lot["remaining"] for lot in await customer.grants("plan") if lot["kept_from"]]
    assert kept[0] == 80 - min(own, 50), "of the higher plan, all that the others leave room for"
    await spend(customer, own + 80 - min(own, 50))
    await customer.advance(to="2027-07-01T10:00:00Z")
    assert await customer.credits() == own + 50, "the cap of the plan that it has"
