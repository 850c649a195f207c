"""An end now, with or without a credit for what is paid and not used."""

from decimal import Decimal

from tests.integration.actors import Actors
from tests.integration.arrears.test_add_ons import choose
from tests.integration.arrears.test_overage import charged, use
from tests.integration.changes.test_plan_changes import LATER, PATH, begun, change, money

NOW = {"at": "now", "refund": "credit"}


async def test_an_end_now_gives_the_rest_to_the_balance_if_it_is_asked_for(actors: Actors) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await use(customer, "1100")
    await customer.advance(to=LATER)
    await change(customer, plan="pro")
    paid = await charged(customer)
    await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", {"refund": "credit"})
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)

    ended = await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)

    assert ended["status"] == "canceled"
    # 21 of 31 days of the plan, as they were paid ten days after the add-on.
    assert seen["credited_cents"] == 3319 + 474
    assert await money(customer) == seen["credited_cents"]
    assert await customer.credits() == Decimal("370.967742") - Decimal("338.709677")
    assert await charged(customer) == paid


async def test_an_end_now_gives_nothing_back_unasked_or_where_credits_are_spent(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", "/billing/credits/holds", {"amount": "450"})
    await customer.refused("CREDITS_SPENT", "POST", f"{PATH}/cancel", NOW)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert await money(customer) == 0
