"""Use at an earlier price of its cycle keeps that price, whatever a later one would make of it."""

from typing import Final

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import RENEWAL, lines, use
from tests.integration.arrears.test_agreed_limits import agree
from tests.integration.arrears.test_tiered_overage import subscribed, usage_lines
from tests.integration.arrears.test_voids import owed
from tests.integration.money_seen import charged
from tests.integration.operator_acts import check_books, void
from tests.integration.recomputed_sums import differences

PLAIN: Final = "0.02"
# 2,000 units that cost 40.00 by the unit are 20.00 by volume and 45.00 at the most on the way, and
# graduated 40.00 as well.
VOLUME: Final[Json] = {
    "model": "volume", "tiers": [{"up_to": "1500", "unit_price": "0.03"}, {"unit_price": "0.01"}],
}  # fmt: skip
GRADUATED: Final[Json] = {
    "model": "graduated",
    "tiers": [{"up_to": "1000", "unit_price": "0.03"}, {"unit_price": "0.01"}],
}  # fmt: skip
BOTH: Final = pytest.mark.parametrize("terms", [VOLUME, GRADUATED], ids=["volume", "graduated"])


async def price(customer: Customer, terms: Json | str) -> None:
    """The price of a unit from now on; none is included."""
    await agree(customer, "0", prices={"USD": terms})


async def billed(customer: Customer) -> tuple[int, bool]:
    """The cents of the cycle's one line, which the card paid, and whether it shows its tiers."""
    expected = await owed(customer)
    await customer.advance(to=RENEWAL)
    [(*_, cents)] = await lines(customer)
    [line] = await usage_lines(customer)
    assert await charged(customer) == [1900, 1900 + cents]
    assert await differences(customer.actors.sql, [customer.uuid]) == []
    await check_books(customer)
    assert cents <= expected
    return cents, line["tiers"] is not None


@BOTH
@pytest.mark.parametrize("days", [0, 3])
async def test_a_later_price_by_tiers_leaves_what_was_used_before(
    actors: Actors, terms: Json, days: int
) -> None:
    customer = await subscribed(actors, PLAIN, included="0")
    await use(customer, "2000")
    if days:
        await customer.advance(days=days)
    await price(customer, terms)
    assert await billed(customer) == (4000, False)


@BOTH
@pytest.mark.parametrize("days", [0, 3])
async def test_uses_of_both_prices_cost_their_sum_and_a_void_takes_out_its_own(
    actors: Actors, terms: Json, days: int
) -> None:
    customer = await subscribed(actors, PLAIN, included="0")
    first = await use(customer, "1000")
    await use(customer, "1000")
    if days:
        await customer.advance(days=days)
    await price(customer, terms)
    # By volume 2,100 units come to less than the 40.00 they cost already.
    later = 0 if terms is VOLUME else 100
    await use(customer, "100")
    assert await owed(customer) == 4000 + later
    await void(actors, first)
    assert await owed(customer) == 2000 + later
    assert await billed(customer) == (2000 + later, False)


@BOTH
async def test_what_is_left_of_one_price_is_priced_as_if_the_other_had_never_been(
    actors: Actors, terms: Json
) -> None:
    customer = await subscribed(actors, PLAIN, included="0")
    wrong = await use(customer, "2000")
    await price(customer, terms)
    await use(customer, "100")
    await void(actors, wrong)
    assert await owed(customer) == 300
    assert await billed(customer) == (300, True)


@BOTH
async def test_tiers_price_what_was_used_while_they_held_together(
    actors: Actors, terms: Json
) -> None:
    customer = await subscribed(actors, terms, included="0")
    await use(customer, "1400")
    await use(customer, "600")
    await price(customer, PLAIN)
    # A volume price shows its greatest total until the close.
    assert await owed(customer) == (4200 if terms is VOLUME else 4000)
    assert await billed(customer) == (2000 if terms is VOLUME else 4000, True)


@BOTH
@pytest.mark.parametrize("days", [0, 3])
async def test_a_later_price_of_one_unit_is_added_and_taken_out_again(
    actors: Actors, terms: Json, days: int
) -> None:
    before = 4200 if terms is VOLUME else 4000
    for is_void in (False, True):
        customer = await subscribed(actors, terms, included="0")
        await use(customer, "1400")
        await use(customer, "600")
        if days:
            await customer.advance(days=days)
        await price(customer, PLAIN)
        wrong = await use(customer, "100")
        assert await owed(customer) == before + 200
        if is_void:
            await void(actors, wrong)
            assert await billed(customer) == (2000 if terms is VOLUME else 4000, True)
        else:
            assert await billed(customer) == (before + 200, False)


@BOTH
async def test_a_void_prices_the_rest_by_the_tiers_of_their_time(
    actors: Actors, terms: Json
) -> None:
    customer = await subscribed(actors, terms, included="0")
    wrong = await use(customer, "1400")
    await use(customer, "600")
    await price(customer, PLAIN)
    await void(actors, wrong)
    assert await owed(customer) == 1800
    assert await billed(customer) == (1800, True)


@BOTH
async def test_a_late_use_of_the_earlier_time_has_its_price_too(
    actors: Actors, terms: Json
) -> None:
    customer = await subscribed(actors, PLAIN, included="0")
    await use(customer, "1900")
    await customer.advance(days=3)
    await price(customer, terms)
    await use(customer, "100", at="2027-01-02T10:00:00Z")
    assert await billed(customer) == (4000, False)
