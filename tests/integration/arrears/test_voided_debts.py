"""Use that is taken back from an invoice that its payer may still pay, though it was given up."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import RENEWAL, use
from tests.integration.arrears.test_voids import basic
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import charged
from tests.integration.operator_acts import WHY, check_books, void


@pytest.mark.parametrize(
    ("paid", "credited", "back", "left"), [(0, 200, 0, 1900), (1950, 150, 50, 0)]
)
async def test_of_an_invoice_that_was_given_up_less_can_be_paid(
    actors: Actors, paid: int, credited: int, back: int, left: int
) -> None:
    customer = await basic(actors)
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    [debt] = (await customer.ask("GET", "/billing/invoices?status=open"))["data"]
    if paid:
        sent = {"amount_cents": paid, "reference": f"TRX-{uuid4().hex[:10]}"}
        await commanded(customer, debt, "record-payment", sent)
    await commanded(customer, debt, "mark-uncollectible", WHY)

    done = [await void(actors, wrong) for _ in range(2)]

    assert done[0] == done[1]
    assert (done[0]["credited_cents"], done[0]["balance_cents"]) == (credited, back)
    path = f"/billing/invoices/{debt['invoice_id']}"
    after = await customer.ask("GET", path)
    assert after["amount_remaining"] == left
    assert after["status"] == ("uncollectible" if left else "paid")
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == back
    if left:
        await customer.script("succeed", then="last")
        await customer.ask("POST", f"{path}/pay", {}, key=str(uuid4()), status=200)
        assert (await charged(customer))[-1] == left
    await check_books(customer)
