"""The card that a subscription names is the one it is charged to."""

from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.dunning.dunning_setup import owed
from tests.integration.payments.manual_payments import decide, submit

START = "2027-01-01T10:00:00Z"
CHOOSE = "/billing/subscription/payment-method"


async def two_cards(actors: Actors) -> tuple[Customer, Json, Json]:
    """A customer with a default card and another one."""
    customer = await actors.customer_on_clock(START)
    default = await customer.save_card()
    other = await customer.save_card("pm_card_mastercard")
    return customer, default, other


async def charged(customer: Customer) -> list[str]:
    """The brand of the card of each charge, in order."""
    rows = await customer.rows(
        "SELECT m.brand FROM payment_attempts t JOIN payment_methods m"
        " ON m.id = t.payment_method_id WHERE t.account_id = %(me)s ORDER BY t.real_started_at"
    )
    return [row["brand"] for row in rows]


async def test_a_card_named_at_subscribing_pays_the_first_period_and_all_after_it(
    actors: Actors,
) -> None:
    customer, default, other = await two_cards(actors)
    begun = await customer.subscribe("basic", payment_method_id=other["id"])
    assert (begun["status"], begun["payment_method_id"]) == ("active", other["id"])
    await customer.advance(days=32)
    assert await charged(customer) == ["mastercard", "mastercard"]
    back = await customer.ask("PUT", CHOOSE, {"payment_method_id": default["id"]})
    assert back["payment_method_id"] == default["id"]
    await customer.advance(days=28)
    assert await charged(customer) == ["mastercard", "mastercard", "visa"]


async def test_a_card_named_for_a_trial_pays_its_end(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("pro", trial=True, payment_method_id=other["id"])
    await customer.advance(days=15)
    assert await charged(customer) == ["mastercard"]


async def test_without_its_own_card_the_default_one_is_charged(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic", payment_method_id=other["id"])
    path = f"/billing/payment-methods/{other['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"})
    await customer.advance(days=32)
    assert await charged(customer) == ["mastercard", "visa"]


async def test_an_invoice_is_paid_by_the_default_card_where_the_own_one_is_barred(
    actors: Actors,
) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic", payment_method_id=other["id"])
    await customer.script("insufficient_funds")
    await customer.advance(days=32)
    await customer.rows(
        "UPDATE payment_methods SET barred_at = '2027-02-01T10:00:00Z'"
        " WHERE account_id = %(me)s AND brand = 'mastercard'"
    )
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", path, {"payment_method": "saved_card"}, key="k", status=200)
    assert await charged(customer) == ["mastercard", "mastercard", "visa"]


async def test_a_card_chosen_while_it_is_overdue_is_tried_at_once(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic")
    await customer.script("insufficient_funds")
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.ask("PUT", CHOOSE, {"payment_method_id": other["id"]})
    await customer.until_subscription("active")
    assert await charged(customer) == ["visa", "visa", "mastercard"]


async def test_a_debt_whose_own_card_was_refused_is_tried_with_what_its_payer_gives(
    actors: Actors,
) -> None:
    customer, _, other = await two_cards(actors)
    await customer.subscribe("basic", payment_method_id=other["id"])
    await customer.script(*["expired_card"] * 6)
    await customer.advance(days=32)
    tried = ["mastercard", "mastercard", "visa"]
    assert await charged(customer) == tried, "the default takes the place of the own card"

    async def again(what: Awaitable[Any], brand: str) -> None:
        await what
        tried.append(brand)
        await customer.advance(days=1)
        assert await charged(customer) == tried

    await customer.advance(days=1)
    own = {"payment_method_id": other["id"]}
    await again(customer.ask("PUT", CHOOSE, own), "mastercard")
    await again(customer.save_card("pm_card_mastercard"), "mastercard")
    await again(customer.ask("PUT", CHOOSE, {"payment_method_id": None}), "visa")
    await customer.ask("PUT", CHOOSE, own)
    tried.append("mastercard")
    await customer.advance(days=8)
    assert (await customer.subscription())["status"] == "unpaid"
    amex = await customer.save_card("pm_card_amex")
    await customer.ask("POST", f"/billing/payment-methods/{amex['id']}/default", status=200)
    await customer.until_subscription("active")
    assert (await charged(customer))[-1] == "amex"


async def test_a_card_of_nobody_is_refused(actors: Actors) -> None:
    customer, _, _ = await two_cards(actors)
    await customer.subscribe("basic")
    for name in ("mth_00000000000000000000000000", ""):
        stranger = {"payment_method_id": name}
        await customer.refused("PAYMENT_METHOD_NOT_FOUND", "PUT", CHOOSE, stranger)
        order = stranger | {"pack": "small", "payment_method": "saved_card"}
        await customer.refused(
            "PAYMENT_METHOD_NOT_FOUND", "POST", "/billing/purchases", order, key="k" + name
        )


async def test_a_card_to_enter_and_a_saved_one_are_never_named_at_once(actors: Actors) -> None:
    customer, _, other = await two_cards(actors)
    both = {"payment_method": "card", "payment_method_id": other["id"]}
    for path, order in (
        ("/billing/subscription", both | {"plan": "basic", "trial": False}),
        ("/billing/purchases", both | {"pack": "small"}),
        ("/billing/purchases", both | {"pack": "small", "payment_method": "checkout"}),
        ("/billing/credit-packages/small/purchase", both),
    ):
        await customer.refused("VALIDATION_FAILED", "POST", path, order, key=str(uuid4()))
    assert (await charged(customer), await customer.invoices()) == ([], [])
    await customer.refused("SUBSCRIPTION_NOT_FOUND", "GET", "/billing/subscription")


async def test_the_default_card_that_is_removed_hands_over_to_the_newest_other_one(
    actors: Actors,
) -> None:
    customer, default, _ = await two_cards(actors)
    await customer.subscribe("basic")
    path = f"/billing/payment-methods/{default['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"})
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "active"
    assert await charged(customer) == ["visa", "mastercard"]


async def test_the_last_card_that_can_pay_a_subscription_stays(actors: Actors) -> None:
    customer, default, other = await two_cards(actors)
    await customer.save_card("pm_sepaDebit_success")
    await customer.subscribe("basic")
    await customer.rows(
        "UPDATE payment_methods SET barred_at = '2027-01-01T10:00:00Z'"
        " WHERE account_id = %(me)s AND brand = 'mastercard'"
    )
    in_use = ("PAYMENT_METHOD_IN_USE", "DELETE", f"/billing/payment-methods/{default['id']}")
    assert "another" in (await customer.refused(*in_use))["detail"]
    path = f"/billing/payment-methods/{other['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"}, status=200)

    good = await customer.save_card("pm_card_amex")
    await customer.save_card("pm_card_mastercard")
    await customer.rows(
        "UPDATE payment_methods SET barred_at = '2027-01-01T10:00:00Z'"
        " WHERE account_id = %(me)s AND brand = 'mastercard' AND status = 'active'"
    )
    await customer.ask("DELETE", in_use[2], {"confirm": "DELETE"}, status=200)
    (crowned,) = [one for one in await methods_of(customer) if one["is_default"]]
    assert crowned["id"] == good["id"], "the newest one that can pay"


async def test_a_change_is_paid_by_the_backup_where_the_default_cannot(actors: Actors) -> None:
    customer, _, backup = await two_cards(actors)
    await customer.subscribe("basic")
    await customer.ask("POST", f"/billing/payment-methods/{backup['id']}/backup", status=200)
    await customer.rows(
        "UPDATE payment_methods SET barred_at = '2027-01-01T10:00:00Z'"
        " WHERE account_id = %(me)s AND is_default"
    )
    await customer.ask("PUT", "/billing/subscription", {"plan": "pro"}, status=200)
    assert await charged(customer) == ["visa", "mastercard"]


async def test_after_the_backup_that_paid_the_default_is_one_that_can(actors: Actors) -> None:
    customer, _, backup = await two_cards(actors)
    good = await customer.save_card("pm_card_amex")
    await customer.subscribe("basic")
    path = f"/billing/payment-methods/{backup['id']}"
    await customer.ask("POST", f"{path}/backup", status=200)
    await customer.rows(
        "UPDATE payment_methods SET barred_at = '2027-01-01T10:00:00Z'"
        " WHERE account_id = %(me)s AND is_default"
    )
    await customer.ask("DELETE", path, {"confirm": "DELETE"}, status=200)
    (crowned,) = [one for one in await methods_of(customer) if one["is_default"]]
    assert crowned["id"] == good["id"]
    await customer.advance(days=32)
    assert await charged(customer) == ["visa", "amex"]


async def test_the_card_of_a_subscription_that_is_sent_invoices_may_go(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    card = await customer.save_card()
    sent = (await customer.subscribe_by_transfer())["latest_invoice_id"]
    await decide(customer, await submit(customer, sent), "approve")
    await customer.until_subscription("active")
    path = f"/billing/payment-methods/{card['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"}, status=200)


async def methods_of(customer: Customer) -> list[Json]:
    return list((await customer.ask("GET", "/billing/payment-methods"))["data"])
