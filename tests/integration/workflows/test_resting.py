"""A sweep wakes what has rested page by page, and the worker looks at it."""

from datetime import timedelta

from activities import resting
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.kinds import ACCOUNT, REST
from tests.integration.actors import Actors


async def test_pages_of_what_has_rested_are_looked_at_in_one_run(
    actors: Actors, database: Database
) -> None:
    customers = [await actors.customer() for _ in range(3)]
    names = [ACCOUNT.workflow_id(customer.uuid) for customer in customers]
    for customer, name in zip(customers, names, strict=True):
        await customer.rows(
            "INSERT INTO matters (workflow_id, account_id, subject_id, kind, status, created_at,"
            " woken_at, started_at, next_due)"
            " VALUES (%(name)s, %(me)s, %(me)s, 'account', 'resting', now(), now(), now(),"
            " now() + interval '2 hours') RETURNING 1",
            name=name,
        )
    async with database.operator() as connection:
        there = await sweeps.still_resting(connection, names, real_now() + timedelta(hours=1))
    assert there == [], "they are due later than that"
    await resting.wake(database, actors.temporal, page=1)
    async with database.operator() as connection:
        assert await sweeps.still_resting(connection, names, real_now() + REST) == []
