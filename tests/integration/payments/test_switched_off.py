"""A way to pay that operators have switched off: nothing new is begun, what was begun goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.payments.manual_payments import SUBMIT, submit
from tests.integration.payments.test_paypal import BACK, order_of
from tests.integration.payments.test_transfers import by_transfer

OFF = "PAYMENT_METHOD_NOT_OFFERED"
BY_HAND = {"pack": "small", "payment_method": "manual"}
TOLD = {"payment_method": "bank_transfer", "transaction_reference": "TRX-OFF-1"}
KINDS = {
    "bank_transfer": {"kind": "bank_transfer", "provider": "manual"},
    "paypal": {"kind": "other", "provider": "paypal"},
}


@asynccontextmanager
async def switched_off(actors: Actors, key: str, *, gone: bool = False) -> AsyncIterator[None]:
    """No kind of this provider is offered meanwhile; `gone`: it is taken out of the catalog."""
    was = (await actors.sql("SELECT * FROM payment_method_configs WHERE key = %(key)s", key=key))[0]
    path, terms = f"/admin/payment-method-configs/{key}", KINDS[key]
    kept = {name: was[name] for name in ("countries", "currencies")}
    try:
        await actors.operate("PUT", path, terms | kept | {"is_active": False})
        if gone:
            await actors.sql("DELETE FROM payment_method_configs WHERE key = %(key)s", key=key)
        yield
    finally:
        await actors.operate("PUT", path, terms | kept)
        place = "UPDATE payment_method_configs SET position = %(position)s WHERE key = %(key)s"
        await actors.sql(place, position=was["position"], key=key)


async def test_money_by_hand_for_a_paid_invoice_is_refused_as_always(actors: Actors) -> None:
    customer = await actors.customer()
    told = TOLD | {"invoice_id": (await customer.bought())["invoice_id"]}
    async with switched_off(actors, "bank_transfer"):
        refused = await customer.refused("INVOICE_ALREADY_PAID", "POST", SUBMIT, told)
    assert refused["status"] == 400


@pytest.mark.parametrize("gone", [False, True])
async def test_money_by_hand_that_is_not_offered_is_not_taken(actors: Actors, gone: bool) -> None:
    customer = await actors.customer()
    begun = await customer.ask("POST", "/billing/purchases", BY_HAND, key="begun")
    card = await customer.buy("small")
    async with switched_off(actors, "bank_transfer", gone=gone):
        again = await customer.ask("POST", "/billing/purchases", BY_HAND, key="begun")
        assert again == begun, "the first answer to its key"
        await customer.refused(OFF, "POST", "/billing/purchases", BY_HAND, key="new")
        told = TOLD | {"invoice_id": card["invoice_id"]}
        await customer.refused(OFF, "POST", SUBMIT, told)
        await submit(customer, begun["invoice_id"])
        _, sent = await by_transfer(actors)
        assert sent["next_action"]["type"] == "manual", "terms are an operator's to grant"
    await submit(customer, card["invoice_id"])


async def test_an_order_of_paypal_is_shown_again_after_it_was_switched_off(
    actors: Actors,
) -> None:
    customer, begun = await by_transfer(actors)
    path = f"/billing/invoices/{begun['next_action']['invoice_id']}/pay"
    body = {"payment_method": "paypal", "return_url": BACK}
    offered = await customer.ask("POST", path, body, key="offered")
    other, owing = await by_transfer(actors)
    async with switched_off(actors, "paypal"):
        assert await customer.ask("POST", path, body, key="offered") == offered
        assert order_of(await customer.ask("POST", path, body, key="new")) == order_of(offered)
        await _is_refused(other, str(owing["next_action"]["invoice_id"]), body)


async def _is_refused(customer: Customer, invoice: str, body: dict[str, str]) -> None:
    await customer.refused(OFF, "POST", f"/billing/invoices/{invoice}/pay", body, key="new")
