"""The least of a period in which a subscription becomes `unpaid`: its part of the time served."""

from typing import Final

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.test_contracts import minimum
from tests.integration.dunning.dunning_setup import RENEWAL, START, owed
from tests.integration.recomputed_sums import differences

SOON: Final = "2027-02-20T10:00:00Z"
"""In the period that is owed; it became unpaid after 8 of its 28 days."""
LATER: Final = "2027-03-20T10:00:00Z"
PRICE: Final = {"plan": "pro", "interval": "month", "currency": "USD", "amount_cents": 4900}


async def declined(actors: Actors, *, least: int, **agreed: Json) -> Customer:
    """A customer whose first period came to its least, and whose cards decline from then on."""
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE | {"minimum_cents": least}], **agreed)
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    assert await minimum(customer) == [least - 4900]
    return customer


async def settle(customer: Customer) -> None:
    """Its cards are charged again, and its payer pays the debt."""
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", path, {}, key="k", status=200)


@pytest.mark.parametrize("at", [SOON, LATER])
async def test_an_end_asks_for_the_least_of_the_time_that_was_served(
    actors: Actors, at: str
) -> None:
    customer = await declined(actors, least=9800)
    await customer.advance(to=at)
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    # 8 of 28 days: 2800 at least, of which the plan's price comes to 1400.
    await wait_for(
        lambda: minimum(customer), "the rest is asked for", lambda seen: seen == [4900, 1400]
    )
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_an_end_of_its_own_asks_for_it_once(actors: Actors) -> None:
    customer = await declined(actors, least=9800)
    await customer.advance(to="2027-04-11T10:00:00Z")
    assert (await customer.subscription())["status"] == "canceled"
    assert await minimum(customer) == [4900, 1400]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_who_settles_the_debt_after_its_period_owes_the_rest_with_the_next_one(
    actors: Actors,
) -> None:
    customer = await declined(actors, least=20_000)
    await customer.advance(to=LATER)
    await settle(customer)
    assert (await customer.subscription())["status"] == "paused"
    await customer.ask("POST", "/billing/subscription/resume", {}, status=200)
    assert await minimum(customer) == [15_100]
    await customer.advance(to="2027-04-20T10:00:00Z")
    # 8 of 28 days of 20,000 are 5714, of which 4900 were paid; and the month since it went on.
    assert await minimum(customer) == [15_100, 814, 15_100]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_commitment_that_closes_in_between_counts_the_minimum_that_waits(
    actors: Actors,
) -> None:
    customer = await declined(
        actors, least=20_000, commitment={"amount_cents": 90_000, "currency": "USD", "periods": 3}
    )
    await customer.advance(to=LATER)
    await settle(customer)
    await customer.advance(to="2027-04-02T10:00:00Z")
    [closed] = await customer.rows(
        "SELECT amount_minor FROM invoice_lines WHERE account_id = %(me)s AND kind = 'commitment'"
    )
    assert closed["amount_minor"] == 90_000 - 20_000 - 4900 - 814
    assert await minimum(customer) == [15_100, 814]
    await customer.ask("POST", "/billing/subscription/resume", {}, status=200)
    await customer.advance(to="2027-05-02T10:00:00Z")
    assert await minimum(customer) == [15_100, 814, 15_100]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_debt_that_is_settled_before_its_renewal_has_come_leaves_the_minimum_owed(
    actors: Actors,
) -> None:
    customer = await declined(actors, least=20_000)
    await customer.advance(to=SOON)
    await customer.rows(
        "UPDATE accounts SET clock_at = '2027-03-01T10:00:01Z' WHERE id = %(me)s RETURNING id"
    )
    await settle(customer)
    assert (await customer.subscription())["status"] == "paused"
    await customer.ask("POST", "/billing/subscription/resume", {}, status=200)
    await customer.advance(to="2027-04-02T10:00:00Z")
    assert await minimum(customer) == [15_100, 814, 15_100]


async def test_who_pays_within_the_period_owes_the_least_of_all_of_it(actors: Actors) -> None:
    customer = await declined(actors, least=9800)
    await customer.advance(to=SOON)
    await settle(customer)
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await minimum(customer) == [4900, 4900]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_commitment_that_ends_while_unpaid_is_not_forgotten(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(
        customer,
        prices=[PRICE],
        commitment={"amount_cents": 20_000, "currency": "USD", "periods": 2},
    )
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=LATER)
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    rows = await customer.rows(
        "SELECT l.amount_minor FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
        " WHERE i.account_id = %(me)s AND l.kind = 'commitment' AND i.status <> 'void'"
    )
    # 4900 of the first month and 1400 of the second.
    assert [one["amount_minor"] for one in rows] == [20_000 - 4900 - 1400]
    assert await differences(actors.sql, [customer.uuid]) == []
