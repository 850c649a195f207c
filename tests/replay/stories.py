"""Recorded lives: one short life per way in which a workflow can go, on a running stack.

Each story answers the id of the workflow whose newest run is kept.
"""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import uuid4

from billing.core import ids
from billing.matters.schemas import Planned
from billing.matters.store import show
from tests.integration.actors import Actors, Customer, intent_of, wait_for
from tests.integration.payments.manual_payments import submit
from tests.integration.workflows.test_at_once import failing
from tests.replay.account_stories import ACCOUNT_STORIES
from tests.replay.cast import START, Story, live, on_clock, subscribed
from workflows.contracts import DunningCommand, DunningExtension, Settled
from workflows.start import begin

DUNNING_COMMANDS: Final = [
    ("pause_dunning", DunningCommand(reason="the customer called")),
    ("resume_dunning", DunningCommand()),
    ("extend_dunning", DunningExtension(days=2)),
    ("retry_now", DunningCommand()),
]
"""Commands that an operator gives on Temporal's page."""


async def charge_paid(actors: Actors) -> str:
    """A use that a saved card pays at once."""
    return await _charge(await live(actors))


async def charge_failed(actors: Actors) -> str:
    """The card does not pay; an order to try it again has it paid by a second run."""
    customer = await live(actors)
    await _charge(customer)
    await customer.script("insufficient_funds", then="normal")
    name = await _charge(customer, "failed")
    body = {"billing_id": name.partition("/")[2]}
    await customer.ask("POST", "/billing/process", body, status=200, key="anew")
    return name


async def _charge(customer: Customer, status: str = "completed") -> str:
    if status == "completed":
        await customer.save_card()
    body = {
        "product_id": "gpt-4", "usage_amount": "1000", "billing_method": "payment_charge",
        "event_id": str(uuid4()),
    }  # fmt: skip
    answer = 201 if status == "completed" else 402
    done = await customer.ask("POST", "/usage/record", body, status=answer)
    return f"charge/{done['billing_id']}"


async def purchase_completed(actors: Actors) -> str:
    """A live account: wall timers are set and canceled."""
    done = await (await live(actors)).bought()
    return f"purchase/{done['purchase_id']}"


async def purchase_by_saved_card(actors: Actors) -> str:
    """Charged at once."""
    customer = await live(actors)
    await customer.save_card()
    done = await customer.buy("small", "saved_card")
    return f"purchase/{done['purchase_id']}"


async def purchase_declined(actors: Actors) -> str:
    """A saved card that is declined."""
    customer = await live(actors)
    await customer.save_card()
    await customer.script("lost_card")
    body = {"pack": "small", "payment_method": "saved_card"}
    refused = await customer.refused(
        "CARD_DECLINED", "POST", "/billing/purchases", body, key="declined"
    )
    return f"purchase/{refused['purchase_id']}"


async def purchase_answered_in_time(actors: Actors) -> str:
    """Stripe is away for longer than its buyer, or anybody who asks again, waits."""
    customer = await live(actors)
    await customer.save_card()
    away = await failing(customer, "/v1/payment_intents")
    begun = await customer.buy("small", "saved_card")
    name = f"purchase/{begun['purchase_id']}"
    asked = actors.temporal.get_workflow_handle(name).execute_update("settled", result_type=Settled)
    assert await asked == Settled(settled=False)
    await actors.sandbox.clear("faults", away)
    await customer.until_purchase(begun["purchase_id"], "completed")
    return name


async def purchase_on_a_page(actors: Actors) -> str:
    """Paid by a hosted page."""
    customer = await live(actors)
    begun = await customer.buy("small", "checkout", return_url="https://shop.example/back")
    await actors.sandbox.pay_session(begun["checkout_url"].rpartition("/")[2])
    await customer.until_purchase(begun["purchase_id"], "completed")
    return f"purchase/{begun['purchase_id']}"


async def purchase_expired(actors: Actors) -> str:
    """Nobody pays for a day."""
    customer = await on_clock(actors)
    begun = await customer.buy()
    await customer.advance(days=1)
    return f"purchase/{begun['purchase_id']}"


async def purchase_canceled(actors: Actors) -> str:
    """Canceled by its buyer while it waits for the payment."""
    customer = await live(actors)
    begun = await customer.buy("small")
    await customer.ask("POST", f"/billing/purchases/{begun['purchase_id']}/cancel", status=200)
    return f"purchase/{begun['purchase_id']}"


async def purchase_late_money(actors: Actors) -> str:
    """Money after the end: a second run."""
    customer = await live(actors)
    begun = await customer.buy()
    await customer.restored_as_expired(begun["purchase_id"])
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    return f"purchase/{begun['purchase_id']}"


async def purchase_halted_and_resumed(actors: Actors) -> str:
    """Stripe does not know the intent any more; an operator's resume does not help."""
    customer = await on_clock(actors)
    begun = await customer.buy()
    await actors.sandbox.reset(await customer.stripe_customer())
    name = f"purchase/{begun['purchase_id']}"
    await customer.aim_clock(days=1)

    async def halted() -> bool:
        clock = await customer.clock()
        return bool(clock["status"] == "blocked")

    await wait_for(halted, f"{name} is halted")
    await actors.operate("POST", f"/admin/matters/{name}/resume", {})
    await wait_for(halted, f"{name} is halted again")
    return name


async def trial_expired(actors: Actors) -> str:
    """Fourteen days."""
    customer = await on_clock(actors)
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.advance(days=15)
    return f"trial/{customer.id}"


async def trial_converted(actors: Actors) -> str:
    """A first paid subscription."""
    customer = await on_clock(actors)
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.subscribed("pro")
    await customer.advance(days=15)
    return f"trial/{customer.id}"


async def subscription_lived(actors: Actors) -> str:
    """Trial, two renewals, and a scheduled end."""
    customer = await on_clock(actors)
    await customer.save_card()
    begun = await customer.subscribe("pro", trial=True)
    await customer.advance(days=50)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    await customer.advance(days=30)
    return f"subscription/{begun['subscription_id']}"


async def subscription_running(actors: Actors) -> str:
    """An open one, in the middle of its second month."""
    customer, name = await subscribed(actors)
    await customer.advance(days=40)
    return name


async def subscription_rebuilt(actors: Actors) -> str:
    """Its workflow was lost; the new one waits for its next step, and is woken before."""
    return await _rebuilt(actors, timedelta())


async def subscription_asleep(actors: Actors) -> str:
    """The same; it is woken before a worker has seen the new one."""
    return await _rebuilt(actors, timedelta(days=20))


async def _rebuilt(actors: Actors, asleep_for: timedelta) -> str:
    customer = await live(actors)
    name = f"subscription/{(await customer.subscribed('pro'))['subscription_id']}"
    await actors.temporal.get_workflow_handle(name).terminate("lost")
    (row,) = await customer.rows("SELECT * FROM matters WHERE workflow_id = %(name)s", name=name)
    standing = Planned(status="active", asleep_for=asleep_for)
    assert await begin(actors.temporal, show(row), standing)
    await asyncio.sleep(1)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await actors.temporal.get_workflow_handle(name).result()
    return name


async def subscription_told_by_hand(actors: Actors) -> str:
    """A signal names a step that no worker knows; in `as_activities` its run does it for ever."""
    name = await subscription_of_a_live_account(actors)
    told = {"name": "rename", "due": START, "key": "by hand"}
    await actors.temporal.get_workflow_handle(name).signal("changed", told)
    return name


async def subscription_of_a_live_account(actors: Actors) -> str:
    """An open one that waits for real time."""
    active = await (await live(actors)).subscribed("pro")
    return f"subscription/{active['subscription_id']}"


async def subscription_yearly(actors: Actors) -> str:
    """Cycles between renewals."""
    customer = await on_clock(actors)
    active = await customer.subscribed("pro", interval="yearly")
    await customer.advance(days=70)
    return f"subscription/{active['subscription_id']}"


async def subscription_never_paid(actors: Actors) -> str:
    """Expired after 23 hours."""
    customer = await on_clock(actors)
    begun = await customer.subscribe("pro")
    await customer.advance(days=1)
    return f"subscription/{begun['subscription_id']}"


async def subscription_asked_by_its_bank(actors: Actors) -> str:
    """A first payment with 3-D Secure."""
    customer = await live(actors)
    begun = await customer.subscribe("pro")
    await customer.confirm(begun, "pm_card_authenticationRequired")
    await actors.sandbox.authenticate(intent_of(begun))
    await customer.until_subscription("active")
    return f"subscription/{begun['subscription_id']}"


async def subscription_never_approved(actors: Actors) -> str:
    """Its first payment is sent by hand, and nobody decides on it."""
    customer = await on_clock(actors)
    begun = await customer.subscribe("pro")
    [draft] = await customer.rows("SELECT id FROM invoices WHERE account_id = %(me)s")
    await submit(customer, ids.encode(ids.INVOICE, draft["id"]))
    await customer.advance(days=16)
    return f"subscription/{begun['subscription_id']}"


async def dunning_recovered(actors: Actors) -> str:
    """Declined on day 0, paid on day 3."""
    customer, name = await subscribed(actors)
    await customer.script("insufficient_funds")
    await customer.advance(days=40)
    return name


async def dunning_exhausted(actors: Actors) -> str:
    """Declined on day 0, 3 and 7; unpaid."""
    customer, name = await subscribed(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=45)
    return name


async def dunning_steered(actors: Actors) -> str:
    """Paused, resumed and extended from Temporal's page; then paid by a retry."""
    customer, name = await subscribed(actors)
    await customer.script("insufficient_funds")
    await customer.advance(to="2027-02-01T10:00:00Z")
    workflow = actors.temporal.get_workflow_handle(name)
    for update, argument in DUNNING_COMMANDS:
        await workflow.execute_update(update, argument)
    await customer.until_subscription("active")
    return name


async def dunning_tried_beside(actors: Actors) -> str:
    """Tries that were asked for fail, before the planned end and after it."""
    customer, name = await subscribed(actors)
    await customer.script("insufficient_funds", then="last")
    workflow = actors.temporal.get_workflow_handle(name)
    for moment in ("2027-02-08T20:00:00Z", "2027-02-09T12:00:00Z"):
        await customer.advance(to=moment)
        await workflow.execute_update("retry_now", DunningCommand())
    await customer.advance(days=2)
    return name


async def collection_paid(actors: Actors) -> str:
    """An end with an open invoice; the card works again."""
    customer, invoice = await _pursued(actors)
    await customer.script()
    await customer.advance(days=5)
    return f"collection/{invoice}"


async def collection_given_up(actors: Actors) -> str:
    """The same, and the card never works again."""
    customer, invoice = await _pursued(actors)
    await customer.advance(days=20)
    return f"collection/{invoice}"


async def _pursued(actors: Actors) -> tuple[Customer, str]:
    customer, _ = await subscribed(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-02T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    listed = await customer.ask("GET", "/billing/invoices?status=open")
    return customer, listed["data"][0]["invoice_id"]


async def subscription_changed(actors: Actors) -> str:
    """An add-on that its card declines, then one that it pays; a debt is paid for good."""
    customer, name = await subscribed(actors, "basic")
    more = {"add_ons": [{"add_on": "ai-500", "quantity": 1}]}
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "PUT", "/billing/subscription", more)
    await customer.ask("PUT", "/billing/subscription", more)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=33)
    await customer.script("succeed", then="last")
    await customer.ask("POST", "/billing/pay-overdue", {}, key=str(uuid4()))
    await customer.until_subscription("active")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    return name


async def clock_walked(actors: Actors) -> str:
    """A walk over two renewals."""
    customer, _ = await subscribed(actors)
    await customer.advance(days=70)
    return f"clock/{customer.id}"


async def reversal_made(actors: Actors) -> str:
    """A part of a payment goes back, then the rest."""
    customer = await live(actors)
    await customer.bought()
    [payment] = (await customer.ask("GET", "/billing/payments"))["data"]
    path = f"/api/v1/admin/payments/{payment['payment_id']}/refund"
    for body in ({"amount_cents": 333, "reason": "a part"}, {"reason": "the rest"}):
        held = actors.headers("*", "admin", str(uuid4()))
        answer = await actors.client.post(path, json=body, headers=held)
        assert answer.status_code == 200, answer.text
    return f"reversal/{payment['payment_id']}"


async def reconciliation_waited(actors: Actors) -> str:
    """A comparison with the provider that waits for it once, and then ends."""
    await (await live(actors)).bought()
    await actors.sandbox.fault("error_500_unstored", method="GET", path="/v1/disputes")
    body = {"acknowledge": True}
    run = await actors.operate("POST", "/billing/reconcile", body, key=str(uuid4()))
    return f"reconciliation/{run['run_id']}"


STORIES: Final[dict[str, Story]] = {
    story.__name__.replace("_", "-"): story
    for story in (
        purchase_completed, purchase_by_saved_card, purchase_declined, purchase_on_a_page,
        purchase_answered_in_time, purchase_expired, purchase_canceled, purchase_late_money,
        purchase_halted_and_resumed,
        charge_paid, charge_failed, trial_expired, trial_converted, subscription_told_by_hand,
        subscription_lived, subscription_running, subscription_rebuilt, subscription_asleep,
        subscription_of_a_live_account, subscription_yearly, subscription_never_paid,
        subscription_asked_by_its_bank, subscription_never_approved, dunning_recovered,
        dunning_exhausted, dunning_steered, dunning_tried_beside,
        collection_paid, collection_given_up, subscription_changed, clock_walked, reversal_made,
        reconciliation_waited,
        *ACCOUNT_STORIES,
    )
}  # fmt: skip
