"""After a wrong price is undone, unused time is credited at the right one: the overcharge of that
time was given back already.
"""

from typing import Any, Final

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.changes.chosen_plans import PATH, begun, change, lines
from tests.integration.changes.test_wrong_prices import MEANT, TERMS, undo
from tests.integration.money_seen import money
from tests.integration.recomputed_sums import differences
from tests.integration.reversals.refunds_made import paid_for, refunded

HALF: Final = "2027-01-16T22:00:00Z"
THREE_DAYS_LEFT: Final = "2027-01-29T10:00:00Z"
CREDIT: Final[Json] = {"at": "now", "refund": "credit"}


async def published(actors: Actors, plan: str, right: int, wrong: int, **more: Any) -> None:
    for cents in (right, wrong):
        terms = TERMS | {"prices": {"month": {"USD": cents}}} | more
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", terms)


async def given_back(customer: Customer) -> int:
    """The money that was refunded at the provider, with that on the money balance."""
    effects = await customer.effects("refund.succeeded")
    return int(sum(one["amount"] for one in effects)) + await money(customer)


@pytest.mark.parametrize("to", ["balance", "payer"])
@pytest.mark.parametrize(
    ("right", "wrong", "at", "unused"),
    # Half of 20.00, and 3 of its 31 days.
    [(2000, 3000, HALF, 1000), (2000, 30_000, THREE_DAYS_LEFT, 194)],
)
async def test_an_end_credits_its_unused_time_at_the_right_price(
    actors: Actors, to: str, right: int, wrong: int, at: str, unused: int
) -> None:
    plan = f"slip-ends-{wrong}-{to}"
    await published(actors, plan, right, wrong)
    paid = await begun(actors, plan)
    await undo(actors, plan=plan, to=to)
    await paid.advance(to=at)
    assert await given_back(paid) == wrong - right
    foreseen = await paid.ask("POST", f"{PATH}/cancel?dry_run=true", CREDIT, status=200)
    assert foreseen["credited_cents"] == unused
    await paid.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    assert await given_back(paid) == wrong - right + unused
    assert await differences(actors.sql, [paid.uuid]) == []


async def test_a_downgrade_credits_it_at_the_right_price(actors: Actors) -> None:
    await published(actors, "slip-down", 4000, 6000)
    paid = await begun(actors, "slip-down")
    await undo(actors, plan="slip-down")
    await paid.advance(to=HALF)
    await change(paid, plan="basic", at="now")
    assert (await lines(paid))[1] == [("proration", -950), ("plan", 950)]
    # Half of 40.00, less half of 19.00.
    assert await money(paid) == 2000 + 1050
    assert await differences(actors.sql, [paid.uuid]) == []


async def test_what_has_no_room_on_its_own_invoice_lowers_the_price_too(actors: Actors) -> None:
    """The unused half of the earlier plan has paid a part of it."""
    await published(actors, "slip-up", 3000, 6000)
    paid = await begun(actors, "pro")
    await paid.advance(to=HALF)
    await change(paid, plan="slip-up", at="now")
    assert (await lines(paid))[1] == [("proration", -2450), ("plan", 3000)]
    await undo(actors, plan="slip-up")
    assert await money(paid) == 1500, "9.50 of it in place of what the earlier plan had paid"
    await paid.advance(to="2027-01-24T16:00:00Z")
    await paid.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    assert await money(paid) == 1500 + 750
    assert await differences(actors.sql, [paid.uuid]) == []


async def test_what_is_owed_at_the_wrong_price_is_owed_for_the_time_served(
    actors: Actors,
) -> None:
    await published(actors, "slip-owes", 2000, 3000)
    owes = await begun(actors, "slip-owes")
    await owes.script("insufficient_funds", then="last")
    await owes.advance(to="2027-02-01T11:00:00Z")
    await undo(actors, plan="slip-owes")
    await owes.advance(to="2027-02-02T10:00:00Z")
    await owes.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    (newest, *_) = (await owes.ask("GET", "/billing/invoices?limit=1"))["data"]
    # One of 28 days; the undoing credited 10.00 of January too, which were paid.
    assert (newest["amount_remaining"], await money(owes)) == (71, 1000)
    assert await differences(actors.sql, [owes.uuid]) == []


@pytest.mark.parametrize("seats", [4, 1])
async def test_seats_after_it_cost_the_right_price_at_once(actors: Actors, seats: int) -> None:
    plan = f"slip-seats-{seats}"
    await published(actors, plan, 2000, 3000, seats={"least": 1, "most": 10})
    paid = await begun(actors, plan, quantity=2)
    await undo(actors, plan=plan)
    await paid.advance(to=HALF)
    await change(paid, quantity=3, at="now")
    await change(paid, quantity=seats, at="now")
    assert (await lines(paid))[1:] == [
        [("proration", -2000), ("plan", 3000)],
        [("proration", -min(3000, seats * 1000)), ("plan", seats * 1000)],
    ]
    again = await undo(actors, plan=plan)
    assert [one["is_repeated"] for one in again["data"]] == [True]
    # What the undoing gave back has paid for seats; of fewer it has the rest.
    left = 2000 - (seats - 2) * 1000
    assert await money(paid) == left
    await paid.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    assert await money(paid) == left + seats * 1000
    assert await differences(actors.sql, [paid.uuid]) == []


async def test_an_operators_refund_lowers_no_price_that_was_right(actors: Actors) -> None:
    paid = await begun(actors, "pro")
    await refunded(paid, await paid_for(paid), 1000, keep_credits=True)
    await paid.advance(to=HALF)
    await paid.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    assert await money(paid) == 2450
