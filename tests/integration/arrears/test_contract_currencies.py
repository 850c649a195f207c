"""The currency of a contract: what is agreed counts for its account, or is refused."""

import pytest

from tests.integration.actors import Actors, Json
from tests.integration.arrears.contract_terms import PRICE, agree
from tests.integration.arrears.overage_uses import RENEWAL, START

PATH = "/billing/subscription"
EUROS = PRICE | {"currency": "EUR"}
COMMITTED = {"amount_cents": 24000, "currency": "EUR", "periods": 12}
IN_USD: Json = {"plan": "basic", "trial": False, "currency": "USD"}


async def test_a_contract_in_a_currency_that_the_account_does_not_pay_in_is_refused(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    euros = PRICE | {"currency": "EUR"}
    committed = {"amount_cents": 6000, "currency": "EUR", "periods": 2}
    limits = {"ai_responses": {"included": "10", "then": "overage", "prices": {"UDS": "1"}}}
    for body, field in (
        ({"prices": [euros]}, "prices"),
        ({"prices": [PRICE], "commitment": committed}, "commitment"),
        ({"prices": [PRICE | {"currency": "UDS"}]}, "UDS is not a currency"),
        ({"prices": [], "limits": limits}, "UDS is not a currency"),
    ):
        path = f"/admin/accounts/{customer.id}/contract"
        refused = await actors.operate("PUT", path, body, status=422)
        assert field in str(refused["errors"]), refused
    await agree(customer, prices=[PRICE, euros])


async def test_a_new_account_buys_in_the_currency_of_its_contract(actors: Actors) -> None:
    """It was sold the list's price in USD, and nothing of the contract ever counted."""
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 24000, "currency": "EUR", "periods": 12}
    await agree(customer, prices=[PRICE | {"currency": "EUR"}], commitment=committed)
    await customer.subscribed("basic")
    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["currency"]) == (1500, "EUR")
    assert sold["commitment"]["amount_cents"] == 24000


@pytest.mark.parametrize(
    "terms", [{"prices": [EUROS]}, {"prices": [], "commitment": COMMITTED}], ids=["price", "least"]
)
async def test_an_order_in_another_currency_than_its_contract_is_refused(
    actors: Actors, terms: Json
) -> None:
    """It was sold the list's price with the contract's limits, and without its commitment."""
    customer = await actors.customer_on_clock(START)
    await agree(customer, **terms)
    for order in (IN_USD, IN_USD | {"plan": "pro"}):
        await customer.refused("CURRENCY_MISMATCH", "POST", PATH, order)
    await customer.subscribed("pro")
    assert (await customer.subscription())["currency"] == "EUR"


async def test_a_contract_to_come_has_the_orders_before_it_in_its_currency(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[EUROS], commitment=COMMITTED, effective_from=RENEWAL)
    await customer.refused("CURRENCY_MISMATCH", "POST", PATH, IN_USD)
    begun = await customer.subscribed("basic")
    assert (begun["amount_cents"], begun["currency"]) == (1900, "EUR")
    await customer.advance(to=RENEWAL)
    sold = await customer.subscription()
    assert (sold["amount_cents"], sold["commitment"]["amount_cents"]) == (1500, 24000)


async def test_a_contract_agreed_under_a_free_plan_is_not_left_for_another_currency(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("free")
    await agree(customer, prices=[PRICE], commitment=COMMITTED | {"currency": "USD"})
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    await customer.refused("CURRENCY_MISMATCH", "POST", PATH, IN_USD | {"currency": "EUR"})
    await customer.subscribed("basic")
    assert (await customer.subscription())["commitment"]["amount_cents"] == 24000


async def test_prices_in_another_currency_than_the_commitment_are_refused(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    path, body = f"/admin/accounts/{customer.id}/contract", {"prices": [PRICE]}
    refused = await actors.operate("PUT", path, body | {"commitment": COMMITTED}, status=422)
    assert "the commitment is in EUR" in str(refused["errors"])


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({"prices": [EUROS]}, "a price is in EUR"),
        ({"prices": [PRICE, EUROS]}, "a price is in EUR"),
        ({"prices": [], "commitment": COMMITTED}, "the commitment is in EUR"),
    ],
    ids=["price", "prices", "least"],
)
async def test_overage_that_is_agreed_has_a_price_in_what_the_account_will_pay_in(
    actors: Actors, terms: Json, why: str
) -> None:
    """It was agreed, and blocked use beyond the limit."""
    customer = await actors.customer_on_clock(START)
    in_usd = {"included": "10", "then": "overage", "prices": {"USD": "0.005"}}
    path = f"/admin/accounts/{customer.id}/contract"
    body = terms | {"limits": {"ai_responses": in_usd}}
    refused = await actors.operate("PUT", path, body, status=422)
    assert [(one["field"], one["message"]) for one in refused["errors"]] == [("limits", why)]
    both = in_usd | {"prices": {"USD": "0.005", "EUR": "0.005"}}
    await agree(customer, **terms, limits={"ai_responses": both})


async def test_an_order_in_which_agreed_overage_would_block_is_refused(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    in_usd = {"included": "10", "then": "overage", "prices": {"USD": "0.005"}}
    await agree(customer, prices=[], limits={"ai_responses": in_usd})
    await customer.refused("CURRENCY_MISMATCH", "POST", PATH, IN_USD | {"currency": "EUR"})
    await customer.subscribed("basic")
