"""The card that is named for top-ups pays them while it can."""

from uuid import uuid4

import pytest

from billing.core import ids
from tests.integration.actors import Actors, Customer
from tests.integration.credits.test_top_ups import AUTO, spend, until, wants
from tests.integration.operator_acts import give


@pytest.mark.parametrize("what", ["removed", "barred"])
async def test_a_named_card_that_cannot_be_used_gives_way_to_the_default(
    customer: Customer, what: str
) -> None:
    default = await customer.save_card()
    named = await customer.save_card("pm_card_mastercard")
    await give(customer, "30")
    await wants(customer, payment_method_id=named["id"])
    if what == "removed":
        path = f"/billing/payment-methods/{named['id']}"
        await customer.ask("DELETE", path, {"confirm": "DELETE"})
    else:
        await customer.rows(
            "UPDATE payment_methods SET barred_at = now()"
            " WHERE account_id = %(me)s AND brand = 'mastercard'"
        )
    await spend(customer, "25")
    (bought,) = await until(customer, "completed")
    (paid,) = await customer.rows(
        "SELECT payment_method_id AS id FROM payments WHERE account_id = %(me)s"
    )
    assert ids.encode(ids.PAYMENT_METHOD, paid["id"]) == default["id"], bought


async def test_top_ups_are_switched_off_though_their_card_and_their_pack_are_gone(
    actors: Actors, customer: Customer
) -> None:
    await customer.save_card()
    named = await customer.save_card("pm_card_mastercard")
    await give(customer, "30")
    key = f"p-{uuid4().hex[:8]}"
    pack = {"name": "Soon gone", "credits": "10", "prices": {"USD": 500}}
    await actors.operate("PUT", f"/admin/credit-packages/{key}", pack)
    await wants(customer, pack=key, payment_method_id=named["id"])
    path = f"/billing/payment-methods/{named['id']}"
    await customer.ask("DELETE", path, {"confirm": "DELETE"})
    await actors.operate("PUT", f"/admin/credit-packages/{key}", pack | {"is_active": False})

    shown = await customer.ask("GET", AUTO)
    told = {name: shown[name] for name in ("threshold", "pack", "payment_method_id")}
    await customer.refused("INVALID_PACK", "PUT", AUTO, told)
    off = await customer.ask("PUT", AUTO, told | {"is_enabled": False}, status=200)

    assert (off["is_enabled"], off["pack"], off["payment_method_id"]) == (False, key, None)
    unknown = told | {"is_enabled": False, "pack": "nothing"}
    await customer.refused("INVALID_PACK", "PUT", AUTO, unknown)
