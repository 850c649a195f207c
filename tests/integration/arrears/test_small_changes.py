"""Changes too small for a card: carried, and charged with what was carried before once a card can
pay both, so that nobody has more and more of a plan on credit.
"""

from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import START
from tests.integration.money_seen import charged

PATH = "/billing/subscription"


async def sold(actors: Actors, price: int) -> str:
    """A plan at this price in cents, with an add-on for 40 of them."""
    key = f"small-{uuid4().hex[:8]}"
    add_on = {"key": f"one-{key}", "name": "One more", "meter": "ai_responses", "units": "1",
              "prices": {"USD": 40}}  # fmt: skip
    body = {"name": "Small", "family": key, "prices": {"month": {"USD": price}},
            "add_ons": [add_on],
            "limits": [{"meter": "ai_responses", "included": "1", "then": "block"}]}  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    return key


def wish(key: str, quantity: int) -> Json:
    return {"add_ons": [{"add_on": f"one-{key}", "quantity": quantity}]}


async def owed(customer: Customer) -> int:
    return -int((await customer.ask("GET", "/billing/balance"))["balance_cents"])


async def test_small_changes_are_charged_together_once_a_card_can_pay_them(actors: Actors) -> None:
    key = await sold(actors, 1000)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key)
    await customer.ask("PUT", PATH, wish(key, 1), status=200)
    assert (await charged(customer), await owed(customer)) == ([1000], 40)

    seen = await customer.ask("POST", f"{PATH}/preview", wish(key, 2), status=200)
    assert seen["due_now_cents"] == 80
    await customer.ask("PUT", PATH, wish(key, 2), status=200)
    assert (await charged(customer), await owed(customer)) == ([1000, 80], 0)

    await customer.ask("PUT", PATH, wish(key, 3), status=200)
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "PUT", PATH, wish(key, 4))
    (add_on,) = (await customer.subscription())["add_ons"]
    assert (add_on["quantity"], await owed(customer)) == (3, 40)
    # The renewal asks for what is carried.
    await customer.advance(days=31)
    assert await charged(customer) == [1000, 80, 1000 + 3 * 40 + 40]


async def test_who_has_no_card_begins_a_small_plan_once(actors: Actors) -> None:
    key = await sold(actors, 40)
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe(key)
    assert (begun["status"], await owed(customer)) == ("active", 40)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    await customer.refused("PAYMENT_METHOD_REQUIRED", "POST", f"{PATH}/resume")
    assert (await customer.subscription())["status"] == "paused"

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    begun = await customer.subscribe(key)
    assert (begun["status"], await owed(customer)) == ("incomplete", 0)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert await owed(customer) == 40
    await customer.subscribed(key)
    assert (await charged(customer), await owed(customer)) == ([80], 0)
