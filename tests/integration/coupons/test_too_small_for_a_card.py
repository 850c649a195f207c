"""A pack that a coupon makes cheaper than a card can be charged: refused at the door."""

from typing import Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors
from tests.integration.coupons.coupons_made import coupon, redeemed

WRITTEN: Final = (
    "SELECT (SELECT count(*) FROM purchases WHERE account_id = %(me)s)"
    " + (SELECT count(*) FROM invoices WHERE account_id = %(me)s)"
    " + (SELECT count(*) FROM payments WHERE account_id = %(me)s) AS n"
)


@pytest.mark.parametrize("flow", ["card", "checkout", "saved_card"])
async def test_what_no_card_can_be_charged_is_not_sold_by_card(actors: Actors, flow: str) -> None:
    code = await coupon(actors, percent="96")  # 0.40 of 9.99 USD
    customer = await actors.customer()
    if flow == "saved_card":
        await customer.save_card()
    body = {"pack": "small", "payment_method": flow, "coupon": code}
    body |= {"return_url": "https://shop.example/"} if flow == "checkout" else {}
    for _ in range(2):
        problem = await customer.refused(
            "AMOUNT_TOO_SMALL", "POST", "/billing/purchases", body, key=str(uuid4())
        )
        assert (problem["amount_cents"], problem["least_cents"], problem["currency"]) == (
            40, 50, "USD",
        )  # fmt: skip
    assert (await customer.rows(WRITTEN))[0]["n"] == 0
    assert await redeemed(actors, code) == 0
    assert await customer.effects(None) == []
    assert (await customer.buy("small", "manual", coupon=code))["status"] == "pending"


async def test_a_pack_for_nothing_is_granted_and_the_least_is_charged(actors: Actors) -> None:
    customer = await actors.customer()
    free = await customer.buy("small", coupon=await coupon(actors, percent="100"))
    assert free["status"] == "completed"
    least = await coupon(actors, percent="95")
    begun = await customer.buy("small", coupon=least)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert [one["amount"] for one in await customer.effects()] == [50]
    assert await customer.credits() == 200
