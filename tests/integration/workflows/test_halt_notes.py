"""A halt is noted once, whatever becomes of the tries to note it."""

from dataclasses import replace
from datetime import timedelta

from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.matter_notes import MatterNoteActivities
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import store as matters
from billing.matters.kinds import ACCOUNT
from tests.integration.actors import Customer
from workflows.contracts import HaltRequest, MatterRef

NOTED = "SELECT action FROM billing_audit WHERE subject = %(name)s ORDER BY id"
STATUS = "SELECT status FROM matters WHERE workflow_id = %(name)s"
WHY = "charge: PROVIDER_UNAVAILABLE"


async def test_a_note_whose_answer_is_lost_is_made_once(
    customer: Customer, database: Database
) -> None:
    """Another try wrote it again, and one that was late halted a matter that had gone on."""
    name = ACCOUNT.workflow_id(customer.uuid)
    ref = MatterRef(
        account_id=customer.uuid, kind=ACCOUNT.name, subject_id=customer.uuid, workflow_id=name
    )
    async with database.tenant(customer.uuid) as connection:
        at = real_now()
        await matters.ensure_account(connection, customer.uuid, due=at + timedelta(days=9), at=at)
    notes = MatterNoteActivities(Dependencies(database, None, None))  # type: ignore[arg-type]

    async def noted(
        activity_id: str, reason: str | None, *, attempt: int = 1
    ) -> tuple[str, list[str]]:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, activity_id=activity_id, attempt=attempt)
        await environment.run(notes.halted, HaltRequest(ref=ref, reason=reason))
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
