"""While billing is parked nothing moves money, and what came meanwhile is done afterwards."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.exceptions import ApplicationError

from activities import clock
from activities.clock import ClockActivities
from activities.dependencies import Dependencies
from billing.core.database import Database
from billing.platform.parking import service, store
from billing.platform.parking.service import CODE
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.test_single_charges import CHARGED
from tests.integration.money_seen import charged
from tests.integration.operator_acts import check_books
from tests.integration.rebuild.conftest import billing
from workflows import start
from workflows.contracts import WalkMove

SEEN = "SELECT 1 FROM stripe_webhook_events WHERE account_id = %(me)s AND type = %(type)s"


@pytest.fixture
async def unparked(actors: Actors) -> AsyncIterator[None]:
    """The stack is everybody's: it is never left parked."""
    yield
    await billing(actors, "unpark")


@pytest.mark.usefixtures("unparked")
async def test_nothing_moves_money_while_billing_is_parked(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small")
    code, said = await billing(actors, "park", "--reason", "restored to ten o'clock")
    assert code == 0, said
    assert "parked since" in said

    async def refusal() -> str:
        answer = await customer.call("POST", "/billing/purchases", {"pack": "small"}, key="again")
        return f"{answer.status_code} {answer.json().get('code')}"

    await wait_for(refusal, "the API knows", lambda found: found == "503 BILLING_PARKED")
    gift = {"amount_cents": 500, "reason": "a gift"}
    path = f"/admin/accounts/{customer.id}/balance/adjust"
    refused = await actors.operate("POST", path, gift, status=503)
    assert refused["code"] == "BILLING_PARKED"

    await customer.pay(begun)
    await wait_for(
        lambda: customer.rows(SEEN, type="payment_intent.succeeded"), "the webhook is taken"
    )
    assert (await customer.purchase(begun["purchase_id"]))["status"] == "pending"
    code, said = await billing(actors, "doctor")
    assert code == 1
    assert "parking nothing moves money for" in " ".join(said.split())
    assert (await customer.credits()) == 0

    code, said = await billing(actors, "unpark")
    assert (code, "money may move again" in said) == (0, True), said
    await customer.until_purchase(begun["purchase_id"], "completed")
    trail = await actors.sql(
        "SELECT action FROM billing_audit WHERE subject = 'parking' ORDER BY id DESC LIMIT 2"
    )
    assert [row["action"] for row in trail] == ["parking.ended", "parking.began"]


@pytest.mark.usefixtures("unparked")
async def test_a_use_that_a_card_pays_is_not_recorded_while_billing_is_parked(
    actors: Actors, customer: Customer
) -> None:
    await customer.save_card()
    first = await customer.ask("POST", "/usage/record", CHARGED | {"event_id": "first"})
    code, said = await billing(actors, "park", "--reason", "a restore")
    assert code == 0, said

    async def refusal() -> str:
        answer = await customer.call("POST", "/billing/purchases", {"pack": "nobody's"})
        return str(answer.json().get("code"))

    await wait_for(refusal, "the API knows", lambda found: found == "BILLING_PARKED")
    single, row = CHARGED | {"event_id": "single"}, CHARGED | {"event_id": "row"}
    free = {"feature_type": "chat_messages", "usage_amount": "1", "event_id": "free"}
    refused = await customer.call("POST", "/usage/record", single)
    assert (refused.status_code, refused.json()["code"]) == (503, "BILLING_PARKED")
    rows = {"events": [row, free, CHARGED | {"event_id": "first"}]}
    told = (await customer.ask("POST", "/usage/batch", rows))["results"]
    assert [(one["status"], one.get("code"), one.get("retry")) for one in told] == [
        ("rejected", "BILLING_PARKED", True), ("recorded", None, None), ("duplicate", None, None),
    ]  # fmt: skip
    assert await customer.ask("POST", "/usage/record", CHARGED | {"event_id": "first"}) == first
    known = await customer.rows(
        "SELECT event_id FROM billing_records WHERE account_id = %(me)s ORDER BY event_id"
    )
    assert [one["event_id"] for one in known] == ["first", "free"]
    assert len(await customer.invoices()) == 1, "no draft waits for the end of the parking"

    await billing(actors, "unpark")
    await wait_for(
        lambda: customer.call("POST", "/usage/record", single),
        "the same use is recorded and paid",
        lambda answer: answer.json().get("billing_status") == "completed",
    )
    assert await charged(customer) == [200, 200]


WAITS = "billing is parked, or was just now: the clock goes on after billing unpark"


async def until_it_waits(customer: Customer) -> None:
    """The walk of its clock fails because of the parking, and says so."""
    walk = customer.actors.temporal.get_workflow_handle(f"clock/{customer.id}")

    async def why() -> list[str]:
        seen = (await walk.describe()).raw_description.pending_activities
        return [one.last_failure.message for one in seen]

    await wait_for(why, "the walk names the parking", lambda told: told == [WAITS], patience=45)
    assert (await customer.clock())["status"] == "advancing"


async def until_ready(customer: Customer) -> None:
    clock = await wait_for(
        customer.clock, "it stops", lambda seen: seen["status"] != "advancing", patience=45
    )
    assert clock["status"] == "ready", clock


@pytest.mark.usefixtures("unparked")
async def test_a_matter_that_parking_keeps_busy_blocks_no_clock(
    actors: Actors, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stood after the parking, too, until somebody advanced it again."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    nothing: Any = None
    walks = ClockActivities(Dependencies(database, nothing, nothing), nothing)

    async def block() -> WalkMove:
        return await walks._blocked(customer.uuid, "sub_1 is still busy")

    for order, *more in (("park", "--reason", "a restore"), ("unpark",)):
        code, said = await billing(actors, order, *more)
        assert code == 0, said
        with pytest.raises(ApplicationError) as waits:
            await block()
        assert (waits.value.type, waits.value.message) == (CODE, WAITS)
        assert (await customer.clock())["status"] == "ready"
    monkeypatch.setattr(clock, "AFTER_PARKING", timedelta())
    assert (await block()).blocked == "sub_1 is still busy"


@pytest.mark.usefixtures("unparked")
async def test_a_test_clock_does_not_move_while_billing_is_parked(actors: Actors) -> None:
    """Its steps would have failed."""
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("pro")
    code, said = await billing(actors, "park", "--reason", "a restore")
    assert code == 0, said
    await customer.rows(
        "UPDATE accounts SET clock_target = '2027-02-10', clock_status = 'advancing'"
        " WHERE id = %(me)s RETURNING 1"
    )
    await start.walk(actors.temporal, customer.uuid)
    await until_it_waits(customer)
    assert (await customer.clock())["clock_at"] == "2027-01-01T10:00:00Z"
    await billing(actors, "unpark")
    await until_ready(customer)


@pytest.mark.usefixtures("unparked")
async def test_no_number_of_an_event_is_given_again_after_a_parking(
    actors: Actors, customer: Customer
) -> None:
    await customer.bought("small")
    last = (await customer.ask("GET", "/billing/events"))["next_after"]
    for word in ("first", "again"):
        code, said = await billing(actors, "park", "--reason", word)
        assert code == 0, said
        assert f"({word})" in said, "the newest reason is the one that is shown"
    gaps = await actors.sql(
        "SELECT * FROM skipped_events WHERE reason IN ('first', 'again') ORDER BY first_number"
    )
    assert [gap["reason"] for gap in gaps] == ["first", "again"], "the backup may be a parked one"
    assert gaps[0]["first_number"] > last
    assert gaps[1]["first_number"] == gaps[0]["last_number"] + 1
    jumps = await actors.sql("SELECT detail FROM billing_audit WHERE action = 'events.skipped'")
    assert {"first", "again"} <= {jump["detail"]["reason"] for jump in jumps}
    (other,) = await actors.sql(
        "SELECT detail FROM billing_audit WHERE action = 'parking.reason_changed'"
        " ORDER BY id DESC LIMIT 1"
    )
    assert other["detail"] == {"before": "first", "reason": "again"}
    await billing(actors, "unpark")
    use = {"product_id": "gpt-4", "usage_amount": "1"}
    await customer.ask("POST", "/usage/record", use, status=201)
    await customer.bought("small")
    newcomer = await actors.customer()
    await newcomer.bought("small")

    lost = f"/billing/events?after={last + 5}"
    assert (await customer.refused("EVENTS_REWOUND", "GET", lost))["next_after"] == last
    assert (await newcomer.refused("EVENTS_REWOUND", "GET", lost))["next_after"] == 0
    for one, known in ((customer, last), (newcomer, 0)):
        page = await one.ask("GET", f"/billing/events?after={known}", status=200)
        behind = gaps[1]["last_number"] + 1
        assert [event["seq"] for event in page["data"]] == list(
            range(behind, behind + len(page["data"]))
        )
        assert {"evt.billing.credits.purchased"} <= {event["type"] for event in page["data"]}
        await check_books(one)


async def test_a_parking_waits_for_the_cold_disk_of_a_restored_database(
    superuser: AsyncConnection,
) -> None:
    """It reads every balance once, in more time than a customer's request has."""
    await superuser.execute(text("SET LOCAL statement_timeout = '5s'"))
    await service.park(superuser, "restored")
    assert await superuser.scalar(text("SHOW statement_timeout")) == "5min"


async def test_the_last_activity_before_a_parking_is_read_by_index(
    superuser: AsyncConnection,
) -> None:
    """Each event that is told is a row of the audit: no table grows faster."""
    await superuser.execute(text("SET LOCAL enable_seqscan = off"))
    plan = "\n".join(await superuser.scalars(text(f"EXPLAIN {store._DATA_UNTIL}")))
    assert "Seq Scan on billing_audit" not in plan
    assert "Bitmap Heap Scan on billing_audit" not in plan
