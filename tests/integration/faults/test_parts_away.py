"""A part of the stack is away, or wakes up late: what is refused, what is kept, what waits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from devstack.options import ChildName
from sandbox.control import Json
from sandbox.webhooks import signature
from tests.integration.actors import API, Actors, instant, wait_for
from tests.integration.faults.failpoints import Failpoints
from tests.integration.faults.flows import SavedCardPurchase, insist
from tests.integration.faults.recovery_flows import CONFIRM
from tests.integration.past_triggers import past_triggers
from tests.integration.payments.manual_payments import submit
from tests.integration.rebuild.conftest import billing
from workflows.attributes import BILLING_STATUS, HALTED


@asynccontextmanager
async def away(doomed: Actors, part: ChildName) -> AsyncIterator[None]:
    """Meanwhile this part is dead and stays so; afterwards it is back and healthy."""
    await doomed.control.kill(part, hold=True)
    try:
        yield
    finally:
        await doomed.control.start(part)


async def deliver(doomed: Actors, event: Json) -> int:
    """Post a signed event as Stripe does; answers the status."""
    body = json.dumps(event)
    header = signature(body, doomed.stack.stripe_webhook_secret, int(time.time()))
    answer = await doomed.client.post(
        f"{API}/webhooks/stripe", content=body.encode(), headers={"Stripe-Signature": header}
    )
    return answer.status_code


async def test_an_event_that_cannot_be_kept_is_not_acknowledged(doomed: Actors) -> None:
    subject = {"id": "pi_nobody", "object": "payment_intent", "metadata": {}}
    event = {
        "id": f"evt_{uuid4().hex}",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "data": {"object": subject},
    }
    async with away(doomed, "postgres"):
        assert await deliver(doomed, event) == 503

    async def accepted() -> bool:
        return await deliver(doomed, event) == 200

    await wait_for(accepted, "Stripe's next delivery is accepted")
    rows = await doomed.sql(
        "SELECT deliveries FROM stripe_webhook_events WHERE stripe_event_id = %(id)s",
        id=event["id"],
    )
    assert [row["deliveries"] for row in rows] == [1]


async def test_without_temporal_nothing_is_begun_and_everything_can_be_read(
    doomed: Actors,
) -> None:
    customer = await insist(doomed.customer, "an account is made")
    await insist(customer.credits, "the API has found its database again")

    async def noticed() -> bool:
        answer = await doomed.client.get("/health/detailed")
        return str(answer.json()["dependencies"]["temporal"]["status"]) == "unhealthy"

    async with away(doomed, "temporal"):
        await wait_for(noticed, "the API, which asks each second, notices")
        for path, body in (
            ("/billing/purchases", {"pack": "small"}),
            ("/billing/trials", {}),
            ("/billing/subscription", {"plan": "free"}),
        ):
            await customer.refused("TEMPORAL_UNAVAILABLE", "POST", path, body)
        assert await customer.credits() == 0
        assert (await customer.ask("GET", "/billing/purchases"))["data"] == []
    written = await customer.rows("SELECT workflow_id FROM matters WHERE account_id = %(me)s")
    assert written == []
    await insist(lambda: customer.ask("POST", "/billing/trials"), "the trial is taken")


async def test_without_temporal_no_card_is_charged_anew_for_a_use(doomed: Actors) -> None:
    customer = await insist(doomed.customer, "an account is made")
    await insist(customer.save_card, "a card is saved")
    use = {"product_id": "gpt-4", "usage_amount": "1000", "on_insufficient": "defer"}
    put_off = await customer.ask("POST", "/usage/record", use, status=201)
    body = {"billing_id": put_off["billing_id"], "billing_method": "payment_charge"}
    await customer.script("insufficient_funds", then="normal")
    declined = ("CARD_DECLINED", "POST", "/billing/process", body)
    await customer.refused(*declined, key="declined")

    async def noticed() -> bool:
        answer = await doomed.client.get("/health/detailed")
        return str(answer.json()["dependencies"]["temporal"]["status"]) == "unhealthy"

    async with away(doomed, "temporal"):
        await wait_for(noticed, "the API, which asks each second, notices")
        await customer.refused("TEMPORAL_UNAVAILABLE", "POST", "/billing/process", body, key="k")
        await customer.refused(*declined, key="declined")
        assert await customer.effects() == []
    paid = await insist(
        lambda: customer.ask("POST", "/billing/process", body, key="k"), "the card is charged"
    )
    assert paid["billing_status"] in ("pending", "completed")


async def test_without_a_worker_a_purchase_is_taken_down_and_waits(doomed: Actors) -> None:
    customer = await insist(doomed.customer, "an account is made")
    async with away(doomed, "worker"):
        begun = await customer.ask(
            "POST", "/billing/purchases", {"pack": "small"}, status=202, key="patience"
        )
        assert begun["next_action"] == {"type": "wait"}
    ready = await wait_for(
        lambda: customer.purchase(begun["purchase_id"]),
        "the purchase can be paid",
        lambda seen: seen["next_action"]["type"] == "confirm_card",
    )
    await customer.pay(ready)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert len(await customer.effects()) == 1


async def test_without_a_worker_recorded_money_is_kept_and_waits(doomed: Actors) -> None:
    customer = await insist(doomed.customer, "an account is made")
    recorded, approved = [
        await insist(partial(customer.buy, "small", "manual", key=key), "a pack is ordered")
        for key in ("recorded", "approved")
    ]
    reported = await submit(customer, approved["invoice_id"])
    path = f"/admin/invoices/{recorded['invoice_id']}/record-payment"
    money = {"amount_cents": 999, "reference": f"TRX-{uuid4().hex[:10]}"}
    decision = f"{API}/admin/payments/{reported['payment_id']}/approve"
    one_person = doomed.headers("*", "admin", "approved")
    async with away(doomed, "worker"):
        waits = await doomed.operate("POST", path, money, key="recorded", status=202)
        assert waits["amount_remaining"] == 999
        answer = await doomed.client.post(decision, json={}, headers=one_person)
        assert (answer.status_code, answer.json()["amount_remaining"]) == (202, 999)
    for one in (recorded, approved):
        await customer.until_purchase(one["purchase_id"], "completed")
    booked = await doomed.operate("POST", path, money, key="recorded", status=200)
    assert booked["status"] == "paid"
    answer = await doomed.client.post(decision, json={}, headers=one_person)
    assert (answer.status_code, answer.json()["invoice_status"]) == (200, "paid")
    assert await customer.credits() == 200


async def test_without_a_worker_an_order_to_go_on_is_answered_in_words(doomed: Actors) -> None:
    customer = await insist(doomed.customer, "an account is made")
    begun = await insist(lambda: customer.buy("small"), "a purchase is begun")
    payment = (await customer.ask("GET", "/billing/payments"))["data"][0]["payment_id"]
    name = f"purchase/{begun['purchase_id']}"
    async with away(doomed, "worker"):
        refused = await doomed.operate("POST", f"/admin/matters/{name}/resume", status=503)
        assert (refused["code"], refused["detail"]) == (
            "TEMPORAL_UNAVAILABLE",
            "no worker answers: the matter tries again by itself within the hour",
        )
        checked = await doomed.operate("POST", f"/admin/payments/{payment}/check", status=202)
        assert checked["payment_id"] == payment

        halt = "UPDATE matters SET status = 'halted' WHERE workflow_id = %(name)s"
        await past_triggers(doomed.stack, halt, name=name)
        code, said = await billing(doomed, "unpark")
        assert code == 0, said
        told = " ".join(said.split())
        assert f"no worker answered for 1, which try again within the hour: {name}" in told


async def test_without_temporal_an_operator_reads_that_money_may_move_again(
    doomed: Actors,
) -> None:
    customer = await insist(doomed.customer, "an account is made")
    begun = await insist(lambda: customer.buy("small"), "a purchase is begun")
    halt = "UPDATE matters SET status = 'halted' WHERE workflow_id = %(name)s"
    await past_triggers(doomed.stack, halt, name=f"purchase/{begun['purchase_id']}")
    code, said = await billing(doomed, "park", "--reason", "a restore")
    assert code == 0, said
    async with away(doomed, "temporal"):
        code, said = await billing(doomed, "unpark")
        assert code == 1, said
        assert "money may move again, but Temporal does not answer" in " ".join(said.split())
    assert await doomed.sql("SELECT * FROM parkings WHERE ended_at IS NULL") == []


@pytest.mark.parametrize(
    ("place", "intents"), [("charge.attempt_written", 2), ("intent.stored", 1)]
)
async def test_a_worker_that_wakes_up_late_does_not_try_the_card_again(
    doomed: Actors, place: str, intents: int
) -> None:
    flow = await insist(lambda: SavedCardPurchase.prepare(doomed), "a card is saved")
    customer, failpoints = flow.customer, Failpoints(doomed.stack)
    failpoints.arm(place, "late")
    buying = asyncio.create_task(flow.run())
    try:

        async def asleep() -> bool:
            return failpoints.holds(place)

        await wait_for(asleep, "somebody sleeps before the charge")
        await buying  # by another hand, after the sleeper's time was over
    finally:
        failpoints.release()

    async def woken() -> list[Json]:
        # Before the intent is stored it makes one, under the same key, and finds its step done.
        return await customer.requests("POST /v1/payment_intents")

    await wait_for(woken, "the sleeper wakes up", lambda seen: len(seen) == intents)
    await asyncio.sleep(2)  # long enough for the confirm that must not come
    assert len(await customer.requests(CONFIRM)) == 1
    await flow.prove()


async def test_what_halted_while_postgres_was_away_goes_on_once_it_is_back(
    doomed: Actors,
) -> None:
    """The register could not note the halt: the matter looked open and waited for its hour."""
    customer = await insist(doomed.customer, "an account is made")
    begun = await insist(lambda: customer.buy("small"), "a purchase is begun")
    run = doomed.temporal.get_workflow_handle(f"purchase/{begun['purchase_id']}")

    async def halted() -> bool:
        seen = await run.describe()
        is_noting = bool(seen.raw_description.pending_activities)
        return seen.typed_search_attributes.get(BILLING_STATUS) == HALTED and not is_noting

    async with away(doomed, "postgres"):
        await run.signal("changed")
        await wait_for(halted, "a round of tries and the note of the halt fail", patience=200)
    await insist(lambda: customer.pay(begun), "the payer pays")
    await customer.until_purchase(begun["purchase_id"], "completed", patience=60)


async def test_what_is_committed_is_accepted_though_its_result_cannot_be_read(
    doomed: Actors,
) -> None:
    customer = await insist(
        lambda: doomed.customer_on_clock("2027-01-01T10:00:00Z"), "an account is made"
    )
    begun = await insist(lambda: customer.subscribed("basic"), "it subscribes")
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    gift, key = {"days": 7, "reason": "an outage"}, str(uuid4())
    refused = await doomed.client.post(
        f"{API}{path}", json=gift, headers=doomed.headers("*", "admin")
    )
    assert refused.json()["code"] == "IDEMPOTENCY_KEY_REQUIRED"
    places = Failpoints(doomed.stack)
    places.arm("api.started")
    asked = asyncio.create_task(doomed.operate("POST", path, gift, key=key, status=202))
    await wait_for(_holds(places, "api.started"), "the extension is committed")
    async with away(doomed, "postgres"):
        places.release()
        accepted = await asked
    assert accepted["status"] == "accepted"
    assert accepted["subjects"] == [begun["subscription_id"]]
    assert accepted["next_action"] == {"type": "wait"}
    read = await insist(
        lambda: doomed.operate("POST", path, gift, key=key, status=200), "its result is read"
    )
    assert instant(read["current_period_end"]) - instant(begun["current_period_end"]) == timedelta(
        days=7
    )


def _holds(places: Failpoints, name: str) -> Callable[[], Awaitable[bool]]:
    async def held() -> bool:
        return places.holds(name)

    return held
