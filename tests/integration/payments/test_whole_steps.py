"""Money with three decimals: a card is charged in whole steps, and the rest is carried."""

from uuid import uuid4

from tests.integration.actors import Actors
from tests.integration.catalog.test_open_currency import currency_of
from tests.integration.money_seen import charged, money
from tests.integration.operator_acts import check_books
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.test_moved_money import first_payment

START = "2027-01-01T10:00:00Z"
KWD = {"KWD": {"amount_minor": 10_005}}
"""Stripe takes dinars in tens of fils."""


async def pack_on_sale(actors: Actors) -> str:
    """A pack for 10.005 dinars."""
    key = f"pack-{uuid4().hex[:8]}"
    body = {"name": "Pack", "credits": "10", "prices": KWD}
    await actors.operate("PUT", f"/admin/credit-packages/{key}", body)
    return key


async def test_a_first_payment_is_in_whole_steps_as_a_renewal_is(actors: Actors) -> None:
    key = f"plan-{uuid4().hex[:8]}"
    body = {"name": "Plan", "family": key, "prices": {"month": KWD}}
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key, currency="KWD")
    assert (await charged(customer), await money(customer)) == ([10_000], -5)
    await customer.advance(days=31)
    assert (await charged(customer), await money(customer)) == ([10_000, 10_010], 0)
    due = [(one["total_minor"], one["amount_due_minor"]) for one in await customer.invoices()]
    assert due == [(10_005, 10_000), (10_005, 10_010)]


async def test_a_year_ends_with_the_money_that_a_card_was_charged_for_it(actors: Actors) -> None:
    key = f"plan-{uuid4().hex[:8]}"
    body = {"name": "Plan", "family": key, "prices": {"year": KWD}}
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key, currency="KWD", interval="year")
    opened = await actors.sandbox.dispute(await first_payment(customer))
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"


async def test_a_pack_is_charged_in_whole_steps(actors: Actors) -> None:
    pack = await pack_on_sale(actors)
    customer = await actors.customer_on_clock(START)
    begun = await customer.buy(pack, currency="KWD")
    assert await money(customer) == -5
    await customer.advance(days=2)
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "expired"
    assert await money(customer) == 0, "what was carried of a void draft is not owed"
    assert await currency_of(customer) is None
    await check_books(customer)
    await customer.save_card()
    bought = await customer.buy(pack, "saved_card", currency="KWD")
    assert bought["status"] == "completed"
    assert (await charged(customer), await money(customer)) == ([10_000], -5)


async def test_a_use_is_charged_in_whole_steps(actors: Actors) -> None:
    product = f"use-{uuid4().hex[:8]}"
    body = {
        "name": "Use", "meter": "model_inference", "service_type": "model_inference",
        "prices": {"KWD": {"unit_price": "1.001"}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/products/{product}", body)
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.buy(await pack_on_sale(actors), "saved_card", currency="KWD")
    use = {"product_id": product, "usage_amount": "1", "billing_method": "payment_charge"}
    done = await customer.ask("POST", "/usage/record", use | {"event_id": "one"}, status=201)
    assert (done["billing_status"], done["total_cost"]) == ("completed", "1.001")
    assert (await charged(customer), await money(customer)) == ([10_000, 1_000], -5 - 1)
