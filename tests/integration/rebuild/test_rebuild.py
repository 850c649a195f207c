"""Temporal is lost entirely, and one command brings every workflow back where it stood."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.rebuild.conftest import billing
from workflows.schedules import JOBS

pytestmark = pytest.mark.slow

T = TypeVar("T")
# Of frozen clocks: what lives in real time may have a step of its own at any moment.
FROZEN = "WHERE account_id IN (SELECT id FROM accounts WHERE clock_at IS NOT NULL)"
MATTERS = f"SELECT * FROM matters {FROZEN} ORDER BY workflow_id"
STEPS = f"SELECT count(*) AS steps FROM steps {FROZEN}"


class Said(NamedTuple):
    """The numbers a rebuild prints."""

    open: int
    started: int
    found: int
    walks: int


@dataclass
class Customers:
    """Customers in every state, all on clocks of their own or in real time."""

    active: list[Customer]
    trialing: list[Customer]
    overdue: list[Customer]
    incomplete: list[Customer]
    buying: list[tuple[Customer, Json]]
    trying: list[Customer]
    waiting_by_hand: Customer


async def rebuild(actors: Actors) -> Said:
    code, said = await billing(actors, "rebuild")
    assert code == 0, said
    numbers = re.search(
        r"(\d+) open matters: (\d+) missing and started, (\d+) found running; (\d+) clocks", said
    )
    assert numbers, said
    return Said(*map(int, numbers.groups()))


async def trying(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    return customer


async def subscribed(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    return customer


async def trialing(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock()
    await customer.save_card()
    await customer.subscribe("pro", trial=True)
    return customer


async def overdue(actors: Actors) -> Customer:
    customer = await subscribed(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=32)
    return customer


async def incomplete(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock()
    await customer.subscribe("pro")
    return customer


async def buying(actors: Actors) -> tuple[Customer, Json]:
    customer = await actors.customer()
    return customer, await customer.buy("small")


@pytest.fixture(scope="module")
async def customers(actors: Actors) -> Customers:
    by_hand = await actors.customer()
    await by_hand.buy("small", "manual")

    async def some(make: Callable[[Actors], Awaitable[T]], count: int) -> list[T]:
        return list(await asyncio.gather(*(make(actors) for _ in range(count))))

    return Customers(
        active=await some(subscribed, 6),
        trialing=await some(trialing, 4),
        overdue=await some(overdue, 3),
        incomplete=await some(incomplete, 3),
        buying=await some(buying, 3),
        trying=await some(trying, 3),
        waiting_by_hand=by_hand,
    )


@pytest.fixture(scope="module")
async def rebuilt(actors: Actors, customers: Customers) -> Said:
    """Temporal's database is deleted, and rebuilt by command."""
    code, said = await billing(actors, "verify", "--temporal")
    assert code == 0, said
    await actors.control.stop("worker")
    await customers.active[0].aim_clock(days=100)
    await actors.control.reset_temporal()
    await actors.control.start("worker")
    code, said = await billing(actors, "verify", "--temporal")
    assert code == 1, "without workflows the books are not whole"
    assert "every open matter has exactly one running workflow" in said
    return await rebuild(actors)


async def test_every_missing_workflow_is_started_and_schedules_are_back(
    actors: Actors, rebuilt: Said
) -> None:
    assert rebuilt.open >= 22
    assert rebuilt.started + rebuilt.found == rebuilt.open
    assert rebuilt.started >= rebuilt.open - 3, "a sweep or a webhook may have brought a few back"
    schedules = {one.id async for one in await actors.temporal.list_schedules()}
    assert {f"billing-{job}" for job in JOBS} <= schedules


async def test_a_walk_that_was_under_way_arrives(customers: Customers, rebuilt: Said) -> None:
    assert rebuilt.walks <= 1, "the sweep may have brought it back, and it may have arrived"
    walker = customers.active[0]

    async def arrived() -> Json | None:
        clock = await walker.clock()
        return clock if clock["status"] != "advancing" else None

    clock = await wait_for(arrived, "the walk arrives", patience=60) or {}
    assert (clock["status"], clock["clock_at"]) == ("ready", "2027-04-11T10:00:00Z")
    assert [effect["amount"] for effect in await walker.effects()] == [4900] * 4


@pytest.mark.usefixtures("rebuilt")
async def test_a_second_rebuild_changes_nothing(actors: Actors, customers: Customers) -> None:
    quiet = [customers.active[1], *customers.trialing, *customers.trying]
    await asyncio.gather(*(customer.advance(days=0) for customer in quiet))

    async def look() -> tuple[Any, Any]:
        return await actors.sql(MATTERS), await actors.sql(STEPS)

    before = await look()
    again = await rebuild(actors)
    assert (again.started, again.found) == (0, again.open)
    assert await look() == before


@pytest.mark.usefixtures("rebuilt")
async def test_the_next_renewal_happens_once(customers: Customers) -> None:
    renewing = customers.active[1:]
    await asyncio.gather(*(customer.advance(days=31) for customer in renewing))
    for customer in renewing:
        assert [effect["amount"] for effect in await customer.effects()] == [4900, 4900]
        assert (await customer.subscription())["status"] == "active"
        assert len(await customer.grants("plan")) == 2


@pytest.mark.usefixtures("rebuilt")
async def test_a_trial_is_charged_when_it_ends(customers: Customers) -> None:
    await asyncio.gather(*(customer.advance(days=14) for customer in customers.trialing))
    for customer in customers.trialing:
        assert [effect["amount"] for effect in await customer.effects()] == [4900]


@pytest.mark.usefixtures("rebuilt")
async def test_recovery_goes_on_where_it_stood(customers: Customers) -> None:
    await asyncio.gather(*(customer.advance(days=10) for customer in customers.overdue))
    for customer in customers.overdue:
        attempts = await customer.rows(
            "SELECT a.slot FROM payment_attempts a JOIN invoices i ON i.id = a.invoice_id"
            " WHERE i.account_id = %(me)s AND a.status = 'declined' ORDER BY a.real_started_at"
        )
        assert [row["slot"] for row in attempts] == [0, 1, 2]
        assert (await customer.subscription())["status"] == "unpaid"


@pytest.mark.usefixtures("rebuilt")
async def test_first_payments_and_purchases_can_still_be_paid(customers: Customers) -> None:
    for customer in customers.incomplete:
        begun = await customer.subscription()
        await customer.pay(begun)
        await customer.until_subscription("active")
        assert len(await customer.effects()) == 1
    for customer, begun in customers.buying:
        await customer.pay(begun)
        await customer.until_purchase(begun["purchase_id"], "completed")
        assert len(await customer.grants()) == 1
    waiting = await customers.waiting_by_hand.ask("GET", "/billing/purchases")
    assert waiting["data"][0]["status"] == "pending"


@pytest.mark.usefixtures("rebuilt")
async def test_trials_of_credits_still_end(customers: Customers) -> None:
    await asyncio.gather(*(customer.advance(days=15) for customer in customers.trying))
    for customer in customers.trying:
        assert await customer.credits() == 0
        assert (await customer.ask("GET", "/billing/trials"))["status"] == "expired"


@pytest.mark.usefixtures("rebuilt")
async def test_afterwards_the_books_are_right_and_every_matter_runs(actors: Actors) -> None:
    async def whole() -> bool:
        code, _ = await billing(actors, "verify", "--temporal")
        return code == 0

    await wait_for(whole, "the books and Temporal agree")
