"""A decision reads what few subscriptions have rows for only where there are any."""

from datetime import UTC, datetime
from typing import Final

import pytest

from billing.core import ids
from billing.core.database import Database
from billing.core.prepared import Prepared
from billing.matters.agenda import Step
from billing.money.subscriptions import decision_query, reading
from billing.platform.decisions.service import Read
from tests.integration.actors import Actors, Customer
from tests.integration.reversals.refunds_made import paid_for, refunded

START: Final = "2027-01-05T10:00:00Z"
RENEWAL: Final = Step(name="renew", due=datetime(2027, 2, 5, 10, tzinfo=UTC), key="k")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """True for each query with the parts for rare rows, False for one without them."""
    found: list[bool] = []
    query = decision_query.query

    def noted(**what: bool) -> Prepared:
        found.append(what["rare"])
        return query(**what)

    monkeypatch.setattr(decision_query, "query", noted)
    return found


async def asked_for_a_renewal(
    database: Database, customer: Customer, asked: list[bool]
) -> list[bool]:
    """The queries of the read with which a renewal begins."""
    name = (await customer.subscription())["subscription_id"]
    wanted = Read(ids.decode(ids.SUBSCRIPTION, name), deciding=True, step=RENEWAL)
    asked.clear()
    async with database.tenant(customer.uuid) as connection:
        await reading.read(connection, wanted)
    return [*asked]


async def test_a_renewal_reads_rare_rows_only_where_there_are_any(
    actors: Actors, database: Database, asked: list[bool]
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    assert await asked_for_a_renewal(database, customer, asked) == [False]
    await customer.ask("POST", "/billing/subscription/pause", {"at": "period_end"}, status=200)
    assert await asked_for_a_renewal(database, customer, asked) == [False, True]


async def test_a_renewal_knows_that_money_of_its_period_went_back(
    actors: Actors, database: Database, asked: list[bool]
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await refunded(customer, await paid_for(customer), 100, keep_subscription=True)
    assert await asked_for_a_renewal(database, customer, asked) == [False, True]
