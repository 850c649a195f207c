"""Money of a period whose invoice also charged use, once a note has put that on the balance."""

import pytest

from billing.core.money import ZERO
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import RENEWAL, use
from tests.integration.changes.chosen_plans import begun
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import charged, money, newest_invoice
from tests.integration.operator_acts import WHY, check_books, void
from tests.integration.payments.test_money_balance import adjust
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for, refunded

PLAN, USE = 1900, 4000
BACK = "its payment went back"


async def renewed(actors: Actors) -> tuple[Customer, Json, Json]:
    """A subscriber whose second invoice also charged a use; the use, the payment."""
    customer = await begun(actors, "basic")
    wrong = await use(customer, "2500")
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [PLAN, PLAN + USE]
    await until_credits(customer, "100")
    return customer, wrong, await paid_for(customer)


async def voided(actors: Actors) -> tuple[Customer, Json]:
    """Such a subscriber, whose use was voided; the payment."""
    customer, wrong, payment = await renewed(actors)
    assert (await void(actors, wrong))["balance_cents"] == USE
    return customer, payment


async def lost(actors: Actors, customer: Customer, payment: Json, amount: int) -> None:
    """The bank takes an amount of the payment."""
    paid = payment["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(paid, amount=amount)
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, customer, "lost")


async def test_a_period_ends_once_all_its_own_money_was_refunded(actors: Actors) -> None:
    customer, payment = await voided(actors)
    await refunded(customer, payment, PLAN - 1)
    notes = (await newest_invoice(customer))["credit_notes"]
    assert [one["kind"] for one in notes] == ["voided_use", "refund"]
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    await refunded(customer, payment, 1)
    assert (await customer.until_subscription("canceled"))["end_reason"] == BACK
    assert (await customer.credits(), await money(customer)) == (ZERO, USE)
    await refunded(customer, payment)
    assert (await customer.credits(), await money(customer)) == (ZERO, 0)
    await check_books(customer)


async def test_a_period_that_is_kept_keeps_no_credits(actors: Actors) -> None:
    """Also where an operator's note took the use out of its invoice."""
    customer, _, payment = await renewed(actors)
    note = WHY | {"lines": [{"position": 2, "amount_cents": USE}], "to": "balance"}
    await commanded(customer, await newest_invoice(customer), "credit-note", note)
    await refunded(customer, payment, PLAN, keep_subscription=True)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    assert (await customer.credits(), await money(customer)) == (ZERO, USE)
    await refunded(customer, payment, keep_subscription=True)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    await check_books(customer)


@pytest.mark.parametrize("amount", [PLAN // 2 + 1, PLAN, PLAN + USE])
@pytest.mark.parametrize("spent", [0, USE])
async def test_a_period_ends_once_a_bank_took_more_than_half_of_its_own_money(
    actors: Actors, amount: int, spent: int
) -> None:
    customer, payment = await voided(actors)
    if spent:
        await adjust(customer, -spent)
    await lost(actors, customer, payment, amount)
    assert (await customer.until_subscription("canceled"))["end_reason"] == BACK
    await check_books(customer)


async def test_a_period_goes_on_while_a_bank_took_no_more_than_half_of_its_money(
    actors: Actors,
) -> None:
    customer, payment = await voided(actors)
    await lost(actors, customer, payment, PLAN // 2)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"
    await until_credits(customer, "50")


async def test_a_bank_that_takes_the_money_of_the_use_ends_no_period_that_is_kept(
    actors: Actors,
) -> None:
    customer, payment = await voided(actors)
    await refunded(customer, payment, PLAN, keep_subscription=True)
    await lost(actors, customer, payment, USE)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"


@pytest.mark.parametrize("by_bank", [True, False])
async def test_a_void_of_use_whose_money_had_gone_back_ends_no_period(
    actors: Actors, *, by_bank: bool
) -> None:
    customer, wrong, payment = await renewed(actors)
    if by_bank:
        await lost(actors, customer, payment, USE)
    else:
        await refunded(customer, payment, USE)
    assert (await void(actors, wrong))["balance_cents"] == PLAN
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "active"


async def test_a_period_without_its_add_ons_keeps_no_credits(actors: Actors) -> None:
    customer = await begun(actors, "basic")
    more = {"add_ons": [{"add_on": "ai-500", "quantity": 10}]}
    await customer.ask("PUT", "/billing/subscription", more, status=200)
    await customer.advance(to=RENEWAL)
    payment = await paid_for(customer)
    assert payment["amount"] == PLAN + 7000
    none = {"add_ons": [], "at": "now"}
    await customer.ask("PUT", "/billing/subscription", none, status=200)
    assert await money(customer) == 7000
    await refunded(customer, payment, PLAN, keep_subscription=True)
    assert await customer.credits() == 0
    await refunded(customer, payment, keep_subscription=True)
    assert (await customer.credits(), await money(customer)) == (ZERO, 0)
    await check_books(customer)
