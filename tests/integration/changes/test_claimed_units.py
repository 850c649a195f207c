"""Units of an open claim count as used: their time, or they, cannot be taken back meanwhile."""

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.changes.chosen_plans import PATH, begun
from tests.integration.changes.test_endings import NOW
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books


async def claim(customer: Customer, amount: str, feature: str = "ai_responses") -> None:
    """Ask before the work, as a backend does; it is allowed."""
    body = {
        "feature_type": feature, "requested_amount": amount, "consume": True,
        "event_id": f"job-{amount}",
    }  # fmt: skip
    answer = await customer.ask("POST", "/quota/check", body, status=200)
    assert answer["allowed"] is True


@pytest.mark.parametrize(("claimed", "given_back"), [("5000", 0), ("2500", 2450)])
async def test_the_time_of_claimed_units_is_not_given_back(
    actors: Actors, claimed: str, given_back: int
) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, claimed)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == given_back
    await check_books(customer)


async def test_a_claim_that_has_expired_keeps_nothing(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await claim(customer, "5000")
    await customer.advance(to="2027-01-01T10:30:00Z")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) > 4890


async def test_claimed_units_of_an_add_on_stay(actors: Actors) -> None:
    """Also where nothing was used of the meter yet."""
    customer = await begun(actors, "basic")
    await choose(customer, ai_500=1)
    await claim(customer, "1000")
    await customer.refused("UNITS_SPENT", "PUT", PATH, {"add_ons": [], "at": "now"})
    await customer.advance(to="2027-01-01T10:30:00Z")
    await customer.ask("PUT", PATH, {"add_ons": [], "at": "now"}, status=200)
