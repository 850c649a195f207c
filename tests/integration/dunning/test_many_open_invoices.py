"""A subscription with many open invoices is read once for all of them, not once for each."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.case_answers import CaseAnswer
from api.requests.dry_runs import undone
from api.routes.admin.bulk_acts import OverduePart
from billing.core import ids
from billing.core.database import Database
from billing.core.prepared import Prepared
from billing.money.bulk_acts import customer_pauses, service
from billing.money.bulk_acts.schemas import Act, BulkAct, BulkOutcome
from billing.money.dunning import store
from billing.money.invoice_requests import locks
from billing.money.invoices.tables import invoice_series
from billing.money.subscriptions import decision_query
from tests.integration.actors import Actors, Customer
from tests.integration.dunning.dunning_setup import overdue

OLDEST_FIRST = [4900, 4900, 4900]


async def owing_three(actors: Actors) -> tuple[Customer, UUID]:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-04-01T12:00:00Z")
    name = (await customer.subscription())["subscription_id"]
    return customer, ids.decode(ids.SUBSCRIPTION, name)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each time that the rows of a subscription were read."""
    found: list[str] = []
    query = decision_query.query

    def counted(**what: bool) -> Prepared:
        found.append("deciding" if what["deciding"] else "looking")
        return query(**what)

    monkeypatch.setattr(decision_query, "query", counted)
    return found


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is sent."""
    found: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def counted(cursor: Any, query: Any, *values: Any, **more: Any) -> Any:
        found.append(str(query))
        return await execute(cursor, query, *values, **more)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", counted)
    return found


async def test_a_list_of_cases_reads_their_subscription_once(
    actors: Actors, database: Database, reads: list[str]
) -> None:
    customer, _ = await owing_three(actors)
    async with database.tenant(customer.uuid) as connection:
        cases = await store.open_of(connection, customer.uuid)
        shown = await CaseAnswer.read_all(connection, cases)
        alone = [await CaseAnswer.read(connection, one) for one in cases]
    assert shown == alone, "each has the next step of its own invoice"
    assert len({one.next_at for one in shown}) == 3
    assert reads == ["looking"] * (1 + 3)


@pytest.mark.parametrize("act", ["pause_dunning", "extend_dunning", "forgive"])
async def test_an_act_on_all_that_is_owed_reads_the_subscription_once(
    actors: Actors, database: Database, reads: list[str], act: Act
) -> None:
    customer, subscription_id = await owing_three(actors)
    order = BulkAct(act=act, reason="a bad hour", days=3, suffix=f"many/{act}/{customer.id}")
    async with database.tenant(customer.uuid) as connection:
        done = await service.apply(connection, subscription_id, order)
        assert len(reads) <= 3, "deciding, deciding again as the oracle, showing"
    assert [one.amount_minor for one in done.overdue] == OLDEST_FIRST
    told = {(one.invoice.status, one.case.status if one.case else None) for one in done.overdue}
    assert len(told) == 1
    assert done.subscription.status == ("active" if act == "forgive" else "past_due")


async def test_the_pause_of_a_customer_reads_his_subscription_once(
    actors: Actors, database: Database, reads: list[str]
) -> None:
    customer, _ = await owing_three(actors)
    async with database.tenant(customer.uuid) as connection:
        (woken,) = await customer_pauses.pause(connection, customer.uuid, reason="a bad hour")
        paused = await store.open_of(connection, customer.uuid)
        assert {one.is_paused_with_all for one in paused} == {True}
        assert len(reads) <= 2
        await customer_pauses.resume(connection, customer.uuid, reason="it is over")
        resumed = await store.open_of(connection, customer.uuid)
    assert [one.status for one in resumed] == ["open"] * 3
    assert woken.kind == "subscription"


@pytest.mark.parametrize("act", ["pause_dunning", "retry"])
async def test_what_an_act_has_done_is_read_in_as_many_statements_for_one_as_for_three(
    actors: Actors, database: Database, statements: list[str], act: Act
) -> None:
    customer, subscription_id = await owing_three(actors)
    order = BulkAct(act=act, reason="a bad hour", suffix=f"read/{act}/{customer.id}")

    async def asked(connection: AsyncConnection, done: BulkOutcome) -> tuple[int, list[int]]:
        statements.clear()
        invoices = [one.invoice.id for one in done.overdue]
        await locks.take_collectors(connection, customer.uuid, invoices)
        again = await service.read_again(connection, done)
        shown = await OverduePart.read_all(connection, again.overdue)
        return len(statements), [one.amount_cents for one in shown]

    async with undone(database.tenant(customer.uuid)) as connection:
        done = await service.apply(connection, subscription_id, order)
        first = done.model_copy(update={"overdue": done.overdue[:1]})
        counts = [await asked(connection, one) for one in (first, done)]
    sent = counts[0][0]
    assert counts == [(sent, OLDEST_FIRST[:1]), (sent, OLDEST_FIRST)]


async def test_a_dry_run_forgives_without_a_number(actors: Actors, database: Database) -> None:
    customer, subscription_id = await owing_three(actors)
    taken = select(func.sum(invoice_series.c.last_number)).where(
        invoice_series.c.series.contains(customer.id.removeprefix("acc_")[-6:].upper())
    )
    order = BulkAct(act="forgive", reason="x", suffix=f"dry/{customer.id}", is_dry_run=True)
    async with undone(database.tenant(customer.uuid)) as connection:
        before = await connection.scalar(taken)
        foreseen = await service.apply(connection, subscription_id, order)
        assert await connection.scalar(taken) == before
    real = order.model_copy(update={"is_dry_run": False})
    async with undone(database.tenant(customer.uuid)) as connection:
        done = await service.apply(connection, subscription_id, real)
        assert await connection.scalar(taken) == before + len(OLDEST_FIRST), "credit notes"
    told = [
        [(one.invoice.status, one.invoice.remaining_minor, one.amount_minor) for one in out.overdue]
        for out in (foreseen, done)
    ]
    assert told == [[("paid", 0, 4900)] * 3] * 2
    assert foreseen.subscription.status == done.subscription.status == "active"
