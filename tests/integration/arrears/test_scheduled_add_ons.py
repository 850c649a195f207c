"""Add-ons that come with the next period, and what a newer wish leaves of them."""

from typing import Any

import pytest

from tests.integration.actors import Actors
from tests.integration.arrears.chosen_add_ons import SUBSCRIPTION, choose
from tests.integration.arrears.overage_uses import START


@pytest.mark.parametrize(
    "wanted",
    [{"add_ons": [{"add_on": "ai-500", "quantity": 3}]}, {"plan": "pro", "add_ons": []}],
)
async def test_more_that_the_card_declines_leaves_what_was_scheduled(
    actors: Actors, wanted: dict[str, Any]
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    later = {"add_ons": [{"add_on": "ai-500", "quantity": 2}], "at": "period_end"}
    planned = (await customer.ask("PUT", SUBSCRIPTION, later, status=200))["scheduled_changes"]
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "PUT", SUBSCRIPTION, wanted, key="a")
    assert (await customer.subscription())["scheduled_changes"] == planned

    done = await customer.ask("PUT", SUBSCRIPTION, wanted, status=200)

    assert done["scheduled_changes"] == []
    assert [one["quantity"] for one in done["add_ons"]] == [3] * len(wanted["add_ons"])


async def test_what_was_scheduled_in_place_of_less_brings_none_of_it_back(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await choose(customer, ai_500=3)
    await choose(customer, ai_500=1)
    later = {"add_ons": [{"add_on": "ai-500", "quantity": 5}], "at": "period_end"}
    (planned,) = (await customer.ask("PUT", SUBSCRIPTION, later, status=200))["scheduled_changes"]
    path = f"{SUBSCRIPTION}/changes/{planned['change_id']}"
    await customer.ask("DELETE", path, status=200)
    (kept,) = (await customer.subscription())["add_ons"]
    assert (kept["quantity"], kept["quantity_next_period"]) == (3, 3)
