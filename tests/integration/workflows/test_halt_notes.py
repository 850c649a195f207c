"""A halt is noted once, whatever becomes of the tries to note it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.matter_notes import MatterNoteActivities
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import store as matters
from billing.matters.agenda import Step
from billing.matters.kinds import ACCOUNT, REST
from tests.integration.actors import Customer
from workflows.contracts import HaltRequest, MatterRef

NOTED = "SELECT action FROM billing_audit WHERE subject = %(name)s ORDER BY id"
STATUS = "SELECT status FROM matters WHERE workflow_id = %(name)s"
WHY = "charge: PROVIDER_UNAVAILABLE"


def ref_of(customer: Customer) -> MatterRef:
    name = ACCOUNT.workflow_id(customer.uuid)
    return MatterRef(
        account_id=customer.uuid, kind=ACCOUNT.name, subject_id=customer.uuid, workflow_id=name
    )


async def looked_at(database: Database, customer: Customer, due_in: timedelta) -> None:
    """Its account has a matter with a step due so far ahead, at which its run has looked."""
    ref, at = ref_of(customer), real_now()
    step = Step(due=at + due_in, name="limits", key=f"{ref.workflow_id}/limits")
    async with database.tenant(customer.uuid) as connection:
        await matters.ensure_account(connection, customer.uuid, due=step.due, at=at)
        await matters.save_head(connection, ref, step, "in its time", at)


async def test_a_note_whose_answer_is_lost_is_made_once(
    customer: Customer, database: Database
) -> None:
    """Another try wrote it again, and one that was late halted a matter that had gone on."""
    name, ref = ACCOUNT.workflow_id(customer.uuid), ref_of(customer)
    await looked_at(database, customer, timedelta(days=9))
    notes = MatterNoteActivities(Dependencies(database, None, None))  # type: ignore[arg-type]

    async def noted(
        activity_id: str, reason: str | None, *, attempt: int = 1
    ) -> tuple[str, list[str]]:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, activity_id=activity_id, attempt=attempt)
        await environment.run(notes.halted, HaltRequest(ref=ref, reason=reason, rests=True))
        (row,) = await customer.rows(STATUS, name=name)
        told = [one["action"] for one in await customer.rows(NOTED, name=name)]
        return row["status"], told

    assert await noted("5", WHY) == ("halted", ["matter.halted"])
    assert await noted("5", WHY, attempt=2) == ("halted", ["matter.halted"])
    on = ["matter.halted", "matter.resumed"]
    assert await noted("6", None) == ("resting", on)
    assert await noted("5", WHY) == ("resting", on), "the first try gets the row's lock only now"
    assert await noted("7", WHY) == ("halted", [*on, "matter.halted"])
    assert await noted("8", "another step") == ("halted", [*on, *["matter.halted"] * 2])


@pytest.mark.parametrize(
    ("due_in", "rests", "is_woken", "status"),
    [
        (REST + timedelta(minutes=1), False, False, "open"),
        (REST - timedelta(minutes=1), True, False, "resting"),
        (timedelta(days=9), True, True, "open"),
    ],
    ids=["its run goes on", "its run ends", "its run is to look"],
)
async def test_a_matter_whose_halt_ends_rests_as_its_run_does(
    customer: Customer,
    database: Database,
    due_in: timedelta,
    rests: bool,
    is_woken: bool,
    status: str,
) -> None:
    """By its own clock a worker noted one as open whose run had ended, or as resting beside it."""
    ref, at = ref_of(customer), real_now()
    await looked_at(database, customer, due_in)
    if is_woken:
        async with database.tenant(customer.uuid) as connection:
            await matters.ensure_account(connection, customer.uuid, due=at, at=at)
    notes = MatterNoteActivities(Dependencies(database, None, None))  # type: ignore[arg-type]
    for reason in (WHY, None):
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, activity_id=str(reason))
        await environment.run(notes.halted, HaltRequest(ref=ref, reason=reason, rests=rests))
    (row,) = await customer.rows(STATUS, name=ref.workflow_id)
    assert row["status"] == status
