"""No step of an account waits for another one that fails, nor does the matter hear nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from billing.core import ids
from billing.core.clock import real_now
from billing.matters.kinds import ACCOUNT
from billing.matters.schemas import of_account
from billing.money.account_agenda.rules import AccountState, SetupPlan
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.operators.test_matters import taken, until_status
from tests.integration.workflows.test_at_once import failing
from workflows import failed_steps, matter, start
from workflows.account import AccountWorkflow
from workflows.attributes import BILLING_STATUS
from workflows.contracts import HaltRequest, MatterRef, MatterStatus, Settled, StepRequest
from workflows.policies import TEST

BEFORE: Final = datetime(2026, 1, 1, tzinfo=UTC)
CREDITS_CAME: Final = """
    WITH noted AS (
        INSERT INTO unpaid_retries (account_id, id, asked_at)
        VALUES (%(me)s, gen_random_uuid(), now()) RETURNING account_id
    ) SELECT account_watch(account_id, now(), now()) FROM noted
"""
"""As `usage_settle_soon` notes it, with nobody who signals the workflow."""
FORGET_IT: Final = "UPDATE limit_overrides SET due_at = NULL WHERE account_id = %(me)s"
"""The limit is to begin no longer."""
SOON: Final = 5.0
"""Seconds: a small part of a round of tries."""


async def test_a_failing_step_of_an_account_holds_no_other_up(actors: Actors) -> None:
    """While Stripe was away nothing else of the account was done, such as an agreed limit."""
    customer = await actors.customer()
    await customer.save_card()
    away = await failing(customer, "/v1/setup_intents")
    saving = asyncio.create_task(customer.call("POST", "/billing/payment-methods/setup-intent"))
    await wait_for(lambda: tried(customer, 4), "the setup is tried again")
    begins = (real_now() + timedelta(seconds=1)).isoformat()
    limit = {"included": "7", "then": "block", "effective_from": begins}
    path = f"/admin/accounts/{customer.id}/limits/ai_responses"
    await actors.operate("PUT", path, limit)
    done = "SELECT 1 FROM steps WHERE account_id = %(me)s AND name = 'limits'"
    await wait_for(lambda: customer.rows(done), "the limit begins", patience=SOON)
    await wait_for(lambda: tried(customer, 6), "and the setup still fails")

    await actors.sandbox.clear("faults", away)
    assert (await saving).status_code in {201, 202}


async def tried(customer: Customer, times: int) -> bool:
    """True once Stripe was asked so often to begin to save a card."""
    asked = [one for one in await customer.requests() if one["path"] == "/v1/setup_intents"]
    return len(asked) > times


class Rows:
    """Stands in for the rows of an account: a card is to be saved, which fails."""

    def __init__(self) -> None:
        self.limits_due: datetime | None = None
        self.is_well = self.is_saved = self.is_away = False
        self.done = Counter[str]()
        self.noted: list[str | None] = []
        self.saved_as_halted: list[bool] = []

    def state(self, ref: MatterRef) -> AccountState:
        self.saved_as_halted.append(ref.halted)
        setup = SetupPlan(setup="set_1", created_at=BEFORE, opened=False)
        return AccountState(
            status="active", account="acc_1", limits_due=self.limits_due,
            setups=() if self.is_saved else (setup,),
        )  # fmt: skip

    @activity.defn(name="account.load")
    async def load(self, ref: MatterRef) -> AccountState:
        if self.is_away:
            raise ApplicationError("the database is away")
        return self.state(ref)

    @activity.defn(name="account.setup")
    async def setup(self, request: StepRequest) -> AccountState:
        self.done["setup"] += 1
        assert request.tried + activity.info().attempt == self.done["setup"]
        if not self.is_well:
            raise ApplicationError("the provider is away")
        self.is_saved = True
        return self.state(request.ref)

    @activity.defn(name="account.limits")
    async def limits(self, request: StepRequest) -> AccountState:
        self.done["limits"] += 1
        self.limits_due = None
        return self.state(request.ref)

    @activity.defn(name="matter.halted")
    async def halted(self, request: HaltRequest) -> None:
        self.noted.append(request.reason)


@asynccontextmanager
async def living(
    client: Client, rows: Rows, *, as_before: bool = False
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """An account's workflow on a worker of its own; the handle is of its newest run. One begun
    `as_before` is named by its argument, as by the release before.
    """
    queue, subject = f"steps-apart-{uuid4()}", ids.new()
    name = f"account/{ids.encode(ids.ACCOUNT, subject)}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[AccountWorkflow],
        activities=[rows.load, rows.setup, rows.limits, rows.halted],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        ref = MatterRef(
            account_id=subject, kind="account", subject_id=subject,
            workflow_id=name if as_before else "",
        )  # fmt: skip
        await client.start_workflow(AccountWorkflow.run, ref, id=name, task_queue=queue)
        newest = client.get_workflow_handle(name)
        try:
            yield newest
        finally:
            if (await newest.describe()).close_time is None:
                await newest.terminate("the story is over")


@pytest.fixture
def short_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of three tries."""
    policies = replace(TEST, round_tries=3)
    monkeypatch.setattr(matter, "POLICIES", policies)
    monkeypatch.setattr(failed_steps, "POLICIES", policies)


async def until(look: Any, what: str) -> None:
    async def seen() -> bool:
        return bool(look())

    await wait_for(seen, what, patience=SOON)


@pytest.mark.usefixtures("short_round")
async def test_a_halted_account_does_its_other_steps_and_stays_halted(actors: Actors) -> None:
    """Each signal began another round of tries, and it did nothing else for half an hour."""
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.noted, "it is halted")
        assert (rows.done["setup"], rows.noted) == (
            3,
            ["start saving a card: the provider is away"],
        )
        rows.limits_due = real_now()
        await handle.signal("changed")
        await until(lambda: rows.done["limits"], "the limit begins")
        standing = await handle.query("standing", result_type=MatterStatus)
        assert standing.halted == rows.noted[0]
        assert rows.saved_as_halted[-2:] == [True, True]
        assert (rows.done["setup"], len(rows.noted)) == (3, 1), "nothing of it is tried or noted"

        await handle.execute_update("resume", result_type=MatterStatus)
        await until(lambda: len(rows.noted) == 3, "it is tried for another round")
        assert (rows.done["setup"], rows.noted[1]) == (6, None)
        rows.is_well = True
        await handle.execute_update("resume", result_type=MatterStatus)
        await asyncio.wait_for(handle.result(), SOON)
        assert (rows.done["setup"], rows.noted[3:]) == (7, [None])


async def test_who_waits_for_a_step_waits_for_no_other_that_fails(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a card could not be detached, each request to save one took ten seconds."""
    rows = Rows()
    with monkeypatch.context() as patched:
        slow = replace(TEST, first_retry=timedelta(hours=1), slowest_retry=timedelta(hours=1))
        patched.setattr(matter, "POLICIES", slow)
        patched.setattr(failed_steps, "POLICIES", slow)
        async with living(actors.temporal, rows) as handle:
            await until(lambda: rows.done["setup"], "it is tried")
            rows.limits_due = real_now()
            assert await answer(handle, "acc_1/limits") == Settled(settled=True)
            assert (rows.done["limits"], rows.noted) == (1, [])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(answer(handle, "set_1/"), 0.5)


async def test_who_waits_for_a_step_waits_for_no_other_after_a_new_run_either(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run was asked for all steps: the caller waited its ten seconds, and left that."""
    rows = Rows()

    def is_long(run: workflow.Info) -> bool:
        return run.continued_run_id is None and bool(rows.done["limits"])

    monkeypatch.setattr(workflow.Info, "is_continue_as_new_suggested", is_long)
    slow = replace(TEST, first_retry=timedelta(hours=1), slowest_retry=timedelta(hours=1))
    monkeypatch.setattr(matter, "POLICIES", slow)
    monkeypatch.setattr(failed_steps, "POLICIES", slow)
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.done["setup"], "it is tried")
        begun = (await handle.describe()).run_id
        rows.done.clear()
        rows.limits_due = real_now()
        asked = of_account(ids.decode(ids.ACCOUNT, handle.id.partition("/")[2]))
        answer = await start.wait_until_done(
            actors.temporal, asked, timedelta(seconds=SOON), "acc_1/limits"
        )
        assert answer == Settled(settled=True)
        assert (await handle.describe()).run_id != begun


@pytest.mark.usefixtures("short_round")
async def test_a_halted_account_answers_once_the_step_is_done(actors: Actors) -> None:
    """It answered at once, before it had done what the caller waited for."""
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.noted, "it is halted")
        rows.limits_due = real_now()
        assert await answer(handle, "acc_1/limits") == Settled(settled=True)
        assert rows.done["limits"] == 1
        assert await answer(handle, "set_1/") == Settled(settled=False, halted=rows.noted[0])
        assert await handle.execute_update("settled", result_type=Settled) == Settled(
            settled=False, halted=rows.noted[0]
        )


async def answer(handle: WorkflowHandle[Any, Any], stem: str) -> Settled:
    """Return the answer to a caller who waits for the steps of these keys."""
    asked = handle.execute_update("settled_about", stem, result_type=Settled)
    return await asyncio.wait_for(asked, SOON)


@pytest.mark.usefixtures("short_round")
async def test_an_account_that_cannot_look_stays_halted_until_another_signal(
    actors: Actors,
) -> None:
    """The signal that it was to look for ended its halt as soon as it had begun."""
    rows = Rows()
    rows.is_away, rows.is_saved = True, True
    async with living(actors.temporal, rows) as handle:
        await handle.signal("changed")
        await until(lambda: rows.noted, "it is halted")
        await asyncio.sleep(1)
        assert rows.noted == ["look at the rows: the database is away"]
        await handle.signal("changed")
        await until(lambda: len(rows.noted) == 3, "it has looked again for a round")
        rows.is_away = False
        await handle.execute_update("resume", result_type=MatterStatus)
        await asyncio.wait_for(handle.result(), SOON)


@asynccontextmanager
async def halted_at_a_limit(customer: Customer) -> AsyncIterator[None]:
    """Meanwhile an account is halted: a limit that is agreed with it cannot begin."""
    begins = real_now() + timedelta(seconds=1)
    limit = {"included": "7", "then": "block", "effective_from": begins.isoformat()}
    async with taken(customer, f"{customer.id}/limits-{begins:%Y-%m-%dT%H:%M:%S.%fZ}"):
        path = f"/admin/accounts/{customer.id}/limits/ai_responses"
        await customer.actors.operate("PUT", path, limit)
        await until_status(customer.actors, ACCOUNT.workflow_id(customer.uuid), "halted")
        yield


async def test_a_halted_account_is_told_of_other_work_by_the_sweep(actors: Actors) -> None:
    """Work that was only noted for it waited with the step that failed, unless a signal came."""
    customer = await actors.customer()
    name = ACCOUNT.workflow_id(customer.uuid)
    async with halted_at_a_limit(customer):
        await customer.rows(CREDITS_CAME)
        done = "SELECT 1 FROM steps WHERE account_id = %(me)s AND name = 'settle_uses'"
        await wait_for(lambda: customer.rows(done), "unpaid uses are paid")
        assert (await until_status(actors, name, "halted"))["closed_at"] is None

        await customer.rows(FORGET_IT)
        run = actors.temporal.get_workflow_handle(name)
        await run.signal("changed")
        await asyncio.wait_for(run.result(), SOON)
        assert (await until_status(actors, name, "closed"))["closed_at"] is not None
        seen = (await run.describe()).typed_search_attributes.get(BILLING_STATUS)
        assert seen == "active", "the end of the halt is shown in Temporal too"


async def test_an_account_whose_halt_could_not_be_noted_goes_on_with_the_sweep(
    actors: Actors,
) -> None:
    """After an outage of Postgres its failed steps, such as top-ups, waited for their hour."""
    customer = await actors.customer()
    name = ACCOUNT.workflow_id(customer.uuid)
    async with halted_at_a_limit(customer):
        lost = "UPDATE matters SET status = 'open' WHERE workflow_id = %(name)s"
        await customer.rows(lost, name=name)
    done = "SELECT 1 FROM steps WHERE account_id = %(me)s AND name = 'limits'"
    await wait_for(lambda: customer.rows(done), "the limit begins", patience=30)


async def test_signals_hasten_no_try_and_lengthen_no_history(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused hold wakes the account each time."""
    monkeypatch.setattr(
        workflow.Info,
        "is_continue_as_new_suggested",
        lambda info: info.get_current_history_length() > 60,
    )
    slow = replace(TEST, first_retry=timedelta(hours=1), slowest_retry=timedelta(hours=1))
    monkeypatch.setattr(matter, "POLICIES", slow)
    monkeypatch.setattr(failed_steps, "POLICIES", slow)
    rows = Rows()
    async with living(actors.temporal, rows) as handle:
        await until(lambda: rows.done["setup"], "it is tried")
        for number in range(3):
            await handle.signal("changed")
            await until(lambda number=number: len(rows.saved_as_halted) > number, "it has read")
        assert rows.done["setup"] == 1
        rows.done.clear()  # a new run begins a round of its own
        first = (await handle.describe()).run_id
        for _ in range(60):
            await handle.signal("changed")
            await asyncio.sleep(0.02)
        await until(lambda: rows.done["setup"], "a new run goes on")
        newest = await handle.describe()
        assert newest.run_id != first
        assert newest.raw_description.workflow_execution_info.history_length < 120
