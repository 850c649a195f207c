"""The dearest that may be sold: beyond it all is refused by name, and up to it all is exact."""

from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import PATH, RENEWAL
from tests.integration.money_seen import newest_invoice

SEATS: Final = 10_000
MOST: Final = 10**15 - 1
"""The most that a period may cost, in minor units."""
DEAR: Final = MOST // SEATS
EACH: Final = 10**12 // SEATS
"""The most credits of a seat."""


def dear(**more: Any) -> Json:
    """A plan whose price and credits are as large as its seats allow."""
    limit = {"meter": "ai_responses", "included": "9" * 15}
    add_on = {
        "key": "more", "name": "More", "meter": "ai_responses", "units": "9" * 15,
        "prices": {"USD": MOST},
    }  # fmt: skip
    return {
        "family": "dear", "name": "Dear", "limits": [limit], "add_ons": [add_on],
        "seats": {"most": SEATS}, "monthly_credits": str(EACH), "prices": {"month": {"USD": DEAR}},
    } | more  # fmt: skip


async def put(actors: Actors, body: Json, status: int = 200) -> tuple[str, Json]:
    key = f"dear-{uuid4().hex[:8]}"
    return key, await actors.operate("PUT", f"/admin/plans/{key}", body, status=status)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"prices": {"month": {"USD": DEAR + 1}}}, "the price per month in USD is too large"),
        ({"monthly_credits": str(EACH + 1)}, "`monthly_credits` are more than 1000000000000"),
    ],
)
async def test_a_plan_is_not_too_dear_for_its_seats(actors: Actors, more: Json, says: str) -> None:
    _, refused = await put(actors, dear(**more), status=422)
    assert refused["code"] == "VALIDATION_FAILED"
    assert says in refused["detail"]
    assert "for 10000 seats: lower `seats.most`" in refused["detail"]
    await put(actors, dear(**more, seats={"most": 1}))


async def paid_by_transfer(customer: Customer) -> None:
    """The newest invoice is paid, as an operator records it."""
    owed = await newest_invoice(customer)
    body = {"amount_cents": owed["amount_due"], "reference": uuid4().hex}
    path = f"/admin/invoices/{owed['invoice_id']}/record-payment"
    await customer.actors.operate("POST", path, body, key=uuid4().hex)


async def test_the_dearest_subscription_is_sold_and_renews(actors: Actors) -> None:
    plan, _ = await put(actors, dear())
    customer, other = [await actors.customer_on_clock(START) for _ in range(2)]
    sold = await customer.subscribe_by_transfer(plan, quantity=SEATS)
    assert sold["amount_cents"] == DEAR * SEATS
    await paid_by_transfer(customer)
    await customer.until_subscription("active")
    assert await customer.credits() == EACH * SEATS
    for quantity, code in ((2, "PRICE_TOO_LARGE"), (SEATS, "PRICE_TOO_LARGE")):
        wish = {"add_ons": [{"add_on": "more", "quantity": quantity}]}
        await customer.refused(code, "PUT", PATH, wish)
        await customer.refused(code, "POST", f"{PATH}/preview", wish)
        await customer.refused(code, "PUT", PATH, wish | {"quantity": 1, "at": "now"})
    await customer.ask("PUT", PATH, {"add_ons": [{"add_on": "more", "quantity": 1}]}, status=200)
    await paid_by_transfer(customer)
    await customer.advance(to=RENEWAL)
    assert (await newest_invoice(customer))["total"] == DEAR * SEATS + MOST
    for path in ("", "/upcoming"):
        await customer.ask("GET", f"{PATH}{path}", status=200)
    for path in ("/billing", "/billing/entitlements", "/usage/limits", "/billing/invoices"):
        await customer.ask("GET", path, status=200)
    await other.subscribed("basic")


async def test_a_contract_is_not_too_dear_for_the_seats_of_its_plan(actors: Actors) -> None:
    plan, _ = await put(actors, dear())
    customer = await actors.customer_on_clock(START)
    price: Json = {"plan": plan, "currency": "USD", "amount_cents": DEAR}
    await agree(customer, prices=[price])
    path, body = f"/admin/accounts/{customer.id}/contract", {"prices": [price]}
    price["amount_cents"] += 1
    refused = await actors.operate("PUT", path, body, status=422)
    assert [one["field"] for one in refused["errors"]] == ["prices"]
    await put(actors, dear())
    sold = await customer.subscribe_by_transfer(plan, quantity=SEATS)
    assert sold["amount_cents"] == DEAR * SEATS


async def test_more_than_a_period_may_cost_is_refused_though_it_was_agreed(actors: Actors) -> None:
    plan, _ = await put(actors, dear(seats={"most": 1}))
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[{"plan": plan, "currency": "USD", "amount_cents": MOST}])
    await actors.operate("PUT", f"/admin/plans/{plan}", dear())
    wish = {"plan": plan, "trial": False, "collection": "send_invoice", "quantity": SEATS}
    refused = await actors.operate("POST", PATH, wish, account=customer.id, status=409)
    assert refused["code"] == "PRICE_TOO_LARGE"
