"""A card is offered for a use exactly where recording the use would charge it."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.operator_acts import give
from tests.integration.taxes.taxed_addresses import collect, moved_to

CARD = "payment_charge"


async def sell(actors: Actors, **prices: Any) -> str:
    """A new product with these prices."""
    product = f"tool-{uuid4().hex[:12]}"
    body = {
        "name": "Tool", "meter": "mcp_service", "service_type": "mcp_service", "prices": prices,
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/products/{product}", body)
    return product


async def agree(customer: Customer, product: str, amount: str, refusal: int = 409) -> Json:
    """The quote of a use, which is then charged, or refused, as the quote says."""
    body = {"product_id": product, "usage_amount": amount}
    quoted = await customer.ask("POST", "/billing/calculate", body)
    use = body | {"billing_method": CARD, "event_id": str(uuid4())}
    recorded = await customer.call("POST", "/usage/record", use)
    offered = CARD in quoted["available_billing_methods"]
    assert recorded.status_code == (201 if offered else refusal), (quoted, recorded.text)
    if offered:
        assert recorded.json()["billing_status"] == "completed"
    return quoted


async def test_a_product_priced_in_money_alone_is_quoted_in_it(actors: Actors) -> None:
    customer, product = await actors.customer(), await sell(actors, USD="0.5")
    without = await agree(customer, product, "3")
    assert (without["total_cost"], without["currency"]) == ("1.50", "USD")
    assert (without["available_billing_methods"], without["suggested_billing_method"]) == ([], None)
    await customer.save_card()
    quoted = await agree(customer, product, "3")
    assert quoted["available_billing_methods"] == [CARD]
    assert (quoted["unit_price"], quoted["is_included_in_subscription"]) == ("0.50", False)
    body = {"usage_amount": "1", "product_id": await sell(actors, EUR="1")}
    await customer.refused("PRODUCT_PRICING_NOT_FOUND", "POST", "/billing/calculate", body)


@pytest.mark.parametrize("prices", [{"USD": "0.002"}, {"USD": "0.002", "CREDIT": "0.002"}])
async def test_what_is_too_small_is_offered_only_where_an_invoice_carries_it(
    actors: Actors, prices: dict[str, str]
) -> None:
    customer, product = await actors.customer_on_clock(), await sell(actors, **prices)
    await customer.save_card()
    for amount, is_offered in (("1000", True), ("10", False), ("2", False)):
        quoted = await agree(customer, product, amount)
        assert (CARD in quoted["available_billing_methods"]) == is_offered
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    for amount, is_offered in (("10", True), ("2", False)):
        quoted = await agree(customer, product, amount)
        assert (CARD in quoted["available_billing_methods"]) == is_offered


async def test_a_card_that_is_barred_is_neither_offered_nor_charged(actors: Actors) -> None:
    customer, product = await actors.customer(), await sell(actors, USD="1", CREDIT="1")
    await customer.save_card()
    await customer.rows(
        "UPDATE payment_methods SET barred_at = created_at WHERE account_id = %(me)s"
    )
    quoted = await agree(customer, product, "3", refusal=402)
    assert quoted["available_billing_methods"] == ["wallet_deduction"]


async def test_a_use_that_its_tax_lifts_over_the_minimum_is_charged(actors: Actors) -> None:
    await collect(actors, "DK", "Moms", rates={"standard": "20"})
    customer, product = await actors.customer_on_clock(), await sell(actors, USD="0.01")
    await moved_to(customer, country="DK")
    await customer.save_card()
    quoted = await customer.ask(
        "POST", "/billing/calculate", {"product_id": product, "usage_amount": "45"}
    )
    assert quoted["available_billing_methods"] == [CARD], "54 with tax is enough for a card"
    await customer.subscribe("basic")
    await customer.until_subscription("active")

    use = {"product_id": product, "usage_amount": "45", "event_id": str(uuid4())}
    use |= {"billing_method": CARD}
    await customer.ask("POST", "/usage/record", use, status=201)

    async def newest() -> Json:
        return (await customer.invoices())[-1]

    paid = await wait_for(newest, "the use is paid", lambda one: one["status"] == "paid")
    assert (paid["total_minor"], paid["settlement"]) == (54, "payment")
    assert (await customer.effects())[-1]["amount"] == 54


async def test_a_use_put_off_is_not_charged_at_a_tier(actors: Actors) -> None:
    """Tiers go on from uses that were paid otherwise: the card would pay the dearest one again."""
    tiers = [{"up_to": "100", "unit_price": "0.05"}, {"unit_price": "0.02"}]
    usd = {"model": "graduated", "tiers": tiers}
    customer, product = await actors.customer(), await sell(actors, CREDIT="0.01", USD=usd)
    await customer.save_card()
    use = {"product_id": product, "usage_amount": "150", "on_insufficient": "defer"}
    waiting = await customer.ask("POST", "/usage/record", use, status=201)
    assert (waiting["billing_status"], waiting["currency"]) == ("pending", "CREDIT")
    body = {"billing_id": waiting["billing_id"], "billing_method": CARD}
    await customer.refused(
        "PAYMENT_CHARGE_NOT_OFFERED", "POST", "/billing/process", body, key=str(uuid4())
    )
    assert await customer.effects() == []


async def test_a_card_that_is_suggested_is_quoted_what_it_would_pay(actors: Actors) -> None:
    customer, product = await actors.customer(), await sell(actors, USD="0.5", CREDIT="2")
    body = {"product_id": product, "usage_amount": "3"}
    by_wallet = await customer.ask("POST", "/billing/calculate", body)
    assert by_wallet["suggested_billing_method"] == "wallet_deduction"
    assert (by_wallet["total_cost"], by_wallet["currency"]) == ("6.00", "CREDIT")
    await customer.save_card()
    quoted = await agree(customer, product, "3")
    assert quoted["suggested_billing_method"] == CARD
    assert quoted["available_billing_methods"] == ["wallet_deduction", CARD]
    same = (quoted["total_cost"], quoted["unit_price"], quoted["currency"])
    assert same == ("1.50", "0.50", "USD")
    assert [one["amount"] for one in await customer.effects()] == [150]
    await give(customer, "6")
    quoted = await agree(customer, product, "3")
    assert quoted["suggested_billing_method"] == "credit_consumption"
    assert (quoted["total_cost"], quoted["currency"]) == ("6.00", "CREDIT")
