"""A message sent to a matter by hand that nobody understands stops no customer's matter."""

from typing import Any, Final

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from tests.integration.actors import Actors, Customer
from workflows.contracts import Settled

STRANGE: Final[tuple[list[Any], ...]] = (
    ["a"],
    ["a", "b"],
    [None],
    [{"name": "renew"}],
    [{"name": "renew", "due": "2027-01-01T00:00:00Z", "key": "k"}, 1, [2]],
    [{"name": "rename", "due": "2027-01-01T00:00:00Z", "key": "k"}],
    [{"name": "check", "due": "2027-01-01T00:00:00Z", "key": "k", "event": None}],
    [{"id": "evt_unknown", "replays": "many"}],
    [{"id": "evt_unknown", "replays": 7}],
    [{"id": "evt_\x00", "more": {}}],
)


async def subscribed(actors: Actors) -> tuple[Customer, WorkflowHandle[Any, Any]]:
    """A subscription on a test clock, and its workflow."""
    customer = await actors.customer_on_clock()
    begun = await customer.subscribed("pro")
    name = f"subscription/{begun['subscription_id']}"
    return customer, actors.temporal.get_workflow_handle(name)


async def test_a_signal_that_nobody_understands_only_has_the_rows_read(actors: Actors) -> None:
    customer, matter = await subscribed(actors)
    for arguments in STRANGE:
        await matter.signal("changed", args=arguments)
    standing = await matter.execute_update("settled", result_type=Settled)
    assert standing.settled
    assert standing.halted is None

    await customer.advance(days=32)
    subscription = await customer.subscription()
    assert subscription["status"] == "active"
    paid = await customer.rows("SELECT id FROM invoices WHERE account_id = %(me)s")
    assert len(paid) == 2, "it was renewed once"


async def test_an_update_with_arguments_it_does_not_take_is_answered(actors: Actors) -> None:
    _, matter = await subscribed(actors)
    standing = await matter.execute_update("settled", args=["a", "b"], result_type=Settled)
    assert standing.settled
    for name in ("resume", "retry_now", "extend_dunning", "forgive"):
        with pytest.raises(WorkflowUpdateFailedError):
            await matter.execute_update(name, args=["a", "b"])
    standing = await matter.execute_update("settled", result_type=Settled)
    assert standing.settled


async def test_a_trial_that_is_told_of_an_event_by_hand_ends_on_its_day(actors: Actors) -> None:
    """No step of a trial looks into events."""
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    trial = actors.temporal.get_workflow_handle(f"trial/{customer.id}")
    await trial.signal("changed", {"id": "evt_1"})
    standing = await trial.execute_update("settled", result_type=Settled)
    assert (standing.settled, standing.halted) == (True, None)
    await customer.advance(days=15)
    (row,) = await customer.rows(
        "SELECT status FROM matters WHERE kind = 'trial' AND account_id = %(me)s"
    )
    assert row["status"] == "closed"
