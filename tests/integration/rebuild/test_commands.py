"""The operator's commands: what is wrong is named with what to do, and the exit code says so."""

import pytest

from tests.integration.actors import Actors, Json, wait_for
from tests.integration.rebuild.conftest import billing

# What the doctor must find: damage, its repair, and the words.
EVENT = (
    "INSERT INTO stripe_webhook_events (stripe_event_id, type, payload, status, received_at)"
    " VALUES ('evt_lost', 'payment_intent.succeeded', '{}', 'parked', clock_timestamp())"
)
SEEN = (
    "SELECT 1 FROM matters WHERE account_id = %(me)s AND started_at IS NOT NULL AND kind = 'trial'"
)
MATTER = "UPDATE matters SET {} WHERE workflow_id = %(matter)s"
TRIAL = "UPDATE trials SET credits = {} WHERE account_id = %(me)s"
TROUBLE = {
    "parked events": (
        EVENT,
        "DELETE FROM stripe_webhook_events WHERE stripe_event_id = 'evt_lost'",
        "1: evt_lost (payment_intent.succeeded)",
    ),
    "halted matters": (
        MATTER.format("status = 'halted'"),
        MATTER.format("status = 'open'"),
        "halted matters 1: trial/",
    ),
    "books": (
        TRIAL.format("credits + 1"),
        TRIAL.format("credits - 1"),
        "not so, see billing verify: a trial has one grant of its credits, which ends with it (1)",
    ),
    "late steps": (
        MATTER.format(
            "next_due = now() - interval '5 minutes', created_at = now() - interval '1 hour'"
        ),
        MATTER.format("next_due = now() + interval '14 days'"),
        "1, the oldest for 5 min: trial/",
    ),
}


async def test_the_doctor_calls_a_healthy_stack_well(actors: Actors) -> None:
    code, said = await billing(actors, "doctor")
    assert code == 0, said
    assert "checks hold" in said


@pytest.mark.parametrize("what", TROUBLE)
async def test_the_doctor_finds_what_an_operator_must_mend(actors: Actors, what: str) -> None:
    customer = await actors.customer()
    await customer.ask("POST", "/billing/trials", status=201)
    named = {"matter": f"trial/{customer.id}", "me": customer.uuid}
    await wait_for(lambda: customer.rows(SEEN), "the workflow has looked at its rows")
    damage, repair, words = TROUBLE[what]
    if what == "late steps":
        await actors.control.stop("worker")  # whose sweeper would mend it
    await actors.sql(damage, **named)
    code, said = await billing(actors, "doctor")
    await actors.sql(repair, **named)
    await actors.control.start("worker")
    assert code == 1
    assert words in " ".join(said.split()), said


async def test_the_doctor_finds_a_net_that_is_taken_in(actors: Actors) -> None:
    poll = actors.temporal.get_schedule_handle("billing-poll")
    await poll.pause(note="by hand")
    try:
        code, said = await billing(actors, "doctor")
    finally:
        await poll.unpause()
    assert (code, "billing-poll is paused" in said) == (1, True), said


async def test_broken_books_are_named_by_verify(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.ask("POST", "/billing/trials", status=201)
    await actors.sql(TRIAL.format("1"), me=customer.uuid)
    code, said = await billing(actors, "verify", "--account", customer.id)
    await actors.sql(TRIAL.format("500"), me=customer.uuid)
    assert code == 1
    assert "a trial has one grant of its credits" in said
    assert "1: trl_" in said
    assert said.strip().endswith("checks, 1 broken")
    code, said = await billing(actors, "verify", "--account", "nobody")
    assert (code, said.strip()) == (1, "no account 'nobody': give its id or external id")


async def test_a_clock_is_shown_and_walked_from_the_command_line(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    code, said = await billing(actors, "clock", "show", customer.id)
    assert (code, said.strip()) == (0, "2027-01-01T10:00:00Z (ready)")
    code, said = await billing(actors, "clock", "advance", customer.id, "--days", "15")
    assert (code, said.splitlines()[-1]) == (0, "2027-01-16T10:00:00Z (ready)")
    assert await customer.credits() == 0
    real = await actors.customer()
    code, said = await billing(actors, "clock", "advance", real.id, "--days", "1")
    assert code == 1
    assert said.splitlines()[-1].startswith("CLOCK_NEEDS_TEST_ACCOUNT")


async def test_a_proof_needs_no_temporal_and_a_rebuild_says_what_it_needs(actors: Actors) -> None:
    customer = await actors.customer()
    bought = await customer.bought("small")
    await actors.control.kill("temporal", hold=True)
    try:
        proof: Json = await customer.ask("GET", f"/billing/purchases/{bought['purchase_id']}/proof")
        shown: Json = await customer.ask("GET", "/billing/timeline")
        standing: Json = await customer.ask("GET", "/billing")
        code, said = await billing(actors, "rebuild")
    finally:
        await actors.control.start("temporal")
    assert proof["consistent"]
    assert proof["workflow"]["temporal"] == {"available": False, "runs": []}
    assert len(proof["checks"]) == 8
    assert shown["past"]
    assert standing["credits"]["balance"] == "100.00"
    assert code == 1
    assert said.startswith("Temporal does not answer")
