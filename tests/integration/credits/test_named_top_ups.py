"""The card that is named for top-ups pays them while it can."""

import pytest

from billing.core import ids
from tests.integration.actors import Customer
from tests.integration.credits.test_top_ups import give, spend, until, wants


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
