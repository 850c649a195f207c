"""An amount that no single charge can be waits for a transfer, and nothing stands still for it."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors
from tests.integration.coupons.coupons_made import coupon
from tests.integration.dunning.dunning_setup import owed
from tests.integration.payments.manual_payments import decide, invoice_of, submit
from tests.integration.taxes.taxed_addresses import collect, moved_to

CENTS = 120_000_900


async def test_a_renewal_too_large_for_a_card_is_paid_by_transfer(actors: Actors) -> None:
    """Two honest uses of 30 million responses at 0.02, less 500 included, and the fee."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("basic")
    for _ in range(2):
        use = {"feature_type": "ai_responses", "usage_amount": "30000000"}
        await customer.ask("POST", "/usage/record", use, status=201)
    await customer.advance(days=35)
    assert (await customer.subscription())["status"] == "past_due"
    debt = (await owed(customer))["invoice_id"]
    tries = await customer.rows(
        "SELECT status, decline_code FROM payment_attempts WHERE account_id = %(me)s"
        " AND status <> 'succeeded' ORDER BY started_at"
    )
    assert {(one["status"], one["decline_code"]) for one in tries} == {
        ("skipped", "amount_too_large")
    }
    await customer.refused("AMOUNT_TOO_LARGE", "POST", f"/billing/invoices/{debt}/pay", {}, key="k")
    payment = await submit(customer, debt)
    approved = await decide(customer, payment, "approve")
    assert approved["invoice_status"] == "paid"
    assert (await invoice_of(customer, debt))["total"] == CENTS
    assert (await customer.subscription())["status"] == "active"
    assert len(await customer.effects()) == 1, "the card paid the first month alone"
    await customer.advance(days=28)
    assert len(await customer.effects()) == 2


async def test_what_is_paid_first_is_not_asked_of_a_card(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    pack = {"name": "All", "credits": "1000", "prices": {"USD": 100_000_000}}
    plan = {"family": "app", "name": "All", "prices": {"month": {"USD": 100_010_000}}}
    await actors.operate("PUT", "/admin/credit-packages/everything", pack)
    await actors.operate("PUT", "/admin/plans/everything", plan)
    try:
        body = {"pack": "everything", "payment_method": "card"}
        await customer.refused("AMOUNT_TOO_LARGE", "POST", "/billing/purchases", body)
        assert (await customer.buy("everything", "manual"))["status"] == "pending"
        begun = await customer.subscribe("everything")
        assert begun["status"] == "incomplete"
        await customer.advance(days=1)
        assert (await customer.subscription())["status"] == "incomplete_expired"
        await customer.subscribed("basic")
        for path in ("/billing/subscription", "/billing/subscription?dry_run=true"):
            await customer.refused("AMOUNT_TOO_LARGE", "PUT", path, {"plan": "everything"})
        assert (await customer.subscription())["pending_change"] is None
        other = await actors.customer()
        await other.save_card()
        begun = await other.subscribe("everything")
        assert (begun["status"], begun["next_action"]) == ("incomplete", {"type": "none"})
    finally:
        await actors.operate(
            "PUT", "/admin/credit-packages/everything", pack | {"is_active": False}
        )
        await actors.operate("PUT", "/admin/plans/everything", plan | {"is_active": False})


async def test_what_a_card_is_asked_for_is_the_price_with_its_tax_less_its_coupon(
    actors: Actors,
) -> None:
    customer, country = await actors.customer(), "LU"
    await collect(actors, country, "TVA", rates={"standard": "17"})
    pack = {"name": "Much", "credits": "1000", "prices": {"USD": 90_000_000}}
    key = f"much-{uuid4().hex[:8]}"
    await actors.operate("PUT", f"/admin/credit-packages/{key}", pack)
    try:
        body: dict[str, Any] = {"pack": key, "payment_method": "card"}
        assert (await customer.buy(key))["status"] == "pending"
        await moved_to(customer, country=country)
        await customer.refused("AMOUNT_TOO_LARGE", "POST", "/billing/purchases", body)
        body["coupon"] = await coupon(actors, percent="50", duration="once")
        pack["prices"] = {"USD": 150_000_000}
        await actors.operate(
            "PUT", f"/admin/credit-packages/{key}?allow_large_change=true", pack, status=200
        )
        assert (await customer.ask("POST", "/billing/purchases", body))["status"] == "pending"
    finally:
        await actors.operate("PUT", f"/admin/credit-packages/{key}", pack | {"is_active": False})
