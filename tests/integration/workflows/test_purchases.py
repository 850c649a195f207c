"""Credit packs bought through the running stack: every road, and what webhooks do on the way."""

from tests.integration.actors import Merchant


async def test_a_card_confirmed_in_the_browser_brings_the_credits(merchant: Merchant) -> None:
    begun = await merchant.buy("small")
    assert begun["status"] == "pending"
    await merchant.pay(begun)
    done = await merchant.until_purchase(begun["purchase_id"], "completed")
    assert done["next_action"] == {"type": "none"}
    assert await merchant.credits() == 100
    assert [effect["amount"] for effect in await merchant.effects()] == [999]
    (invoice,) = await merchant.invoices()
    assert (invoice["status"], invoice["total_minor"]) == ("paid", 999)
