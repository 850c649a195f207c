"""A sweep wakes what has rested page by page, and the worker looks at it; a run rests where the
register has its matter as resting.
"""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from activities import account_base, resting
from activities.accounts import AccountActivities
from activities.dependencies import Dependencies
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.settings import Settings
from billing.matters import store as matters
from billing.matters import sweeps
from billing.matters.kinds import ACCOUNT, REST
from billing.money.account_agenda.rules import AccountState
from billing.money.reversals.reading import ENGINE as REVERSALS
from billing.platform.decisions import service as decisions
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for
from tests.integration.workflows.test_steps_apart import SOON, Rows, living
from workflows.contracts import MatterRef, Settled

LESS: Final = REST - timedelta(minutes=1)
MORE: Final = REST + timedelta(minutes=1)


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


class Judged(Rows):
    """A limit begins in about a day, which the register has or has not as rest."""

    def __init__(self, begins_in: timedelta, rests: bool | None) -> None:
        super().__init__()
        self.is_saved, self.limits_due, self.rests = True, real_now() + begins_in, rests

    def state(self, ref: MatterRef) -> AccountState:
        return super().state(ref).model_copy(update={"rests": self.rests})


@pytest.mark.parametrize(
    ("begins_in", "rests", "closes"),
    [(MORE, False, False), (LESS, True, True), (MORE, None, True), (LESS, None, False)],
    ids=["not for the register", "for it", "of an earlier release, far", "of one, near"],
)
async def test_a_run_rests_by_the_verdict_of_the_register(
    actors: Actors, begins_in: timedelta, rests: bool | None, closes: bool
) -> None:
    """By a clock that was ahead the register had a matter as open whose run had closed: no sweep
    began one until the step was late.
    """
    async with living(actors.temporal, Judged(begins_in, rests)) as handle:
        if closes:
            await asyncio.wait_for(handle.result(), SOON)
            return
        answer = await handle.execute_update("settled", result_type=Settled)
        assert answer == Settled(settled=True)
        await asyncio.sleep(0.5)
        assert (await handle.describe()).close_time is None


@pytest.mark.parametrize(("ahead", "rests"), [(timedelta(), True), (timedelta(seconds=9), False)])
async def test_the_state_tells_the_verdict_of_the_register(
    customer: Customer,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    ahead: timedelta,
    rests: bool,
) -> None:
    begins = (real_now() + REST + timedelta(seconds=6)).isoformat()
    limit = {"included": "7", "then": "block", "effective_from": begins}
    path = f"/admin/accounts/{customer.id}/limits/ai_responses"
    await customer.actors.operate("PUT", path, limit)
    monkeypatch.setattr(account_base, "now_of", lambda _: real_now() + ahead)
    nobody: Any = None
    worker = AccountActivities(Dependencies(database, nobody, Settings()))
    name = ACCOUNT.workflow_id(customer.uuid)
    ref = MatterRef(
        workflow_id=name, account_id=customer.uuid, kind="account", subject_id=customer.uuid
    )
    state = await worker.load(ref)
    async with database.operator() as connection:
        row = await matters.find(connection, name)
    assert row is not None
    assert (state.rests, row.status) == (rests, "resting" if rests else "open")


async def test_the_state_of_a_reversal_tells_it_too(actors: Actors, database: Database) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=333)
    await disputed(actors, customer, "open")
    query = "SELECT * FROM matters WHERE account_id = %(me)s AND kind = 'reversal'"
    (row,) = await wait_for(
        lambda: customer.rows(query), "it rests", lambda seen: seen[0]["status"] == "resting"
    )
    async with database.tenant(customer.uuid) as connection:
        state = await decisions.look(connection, REVERSALS, matters.show(row))
        assert state.rests is True
