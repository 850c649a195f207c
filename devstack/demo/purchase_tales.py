"""Tales of buying: webhooks twice and late, a trial taken twice, a worker killed mid-purchase."""

import asyncio
from datetime import timedelta

from devstack.demo.stage import Json, Stage

GRANTS = (
    "SELECT count(*) FROM credit_transactions WHERE account_id = %(me)s AND kind = 'grant'"
    " AND subject = %(purchase)s"
)


async def webhooks_twice_and_late(stage: Stage) -> None:
    """A card purchase whose webhook comes three times and once more after everything is over."""
    stage.title("A card purchase: the webhook comes three times, and once more too late")
    buyer = await stage.customer("ada")
    plan = await stage.sandbox.webhooks(
        "duplicate", copies=2, types=["payment_intent.succeeded"], metadata={"account": buyer.id}
    )
    begun = await buyer.ask("POST", "/billing/purchases", {"pack": "medium"})
    purchase = begun["purchase_id"]
    stage.say(f"{purchase}: 500 credits for 39.99 USD, Stripe wants the card confirmed")
    await buyer.confirm(begun)
    await buyer.until_status(f"/billing/purchases/{purchase}", "completed")
    await stage.sandbox.clear("webhooks", plan)
    event = (await _paid_events(stage, buyer.id))[0]["stripe_event_id"]
    await stage.sandbox.redeliver(event)

    async def heard() -> bool:
        return bool((await _paid_events(stage, buyer.id))[0]["deliveries"] >= 4)

    await stage.until(heard, "the late webhook to arrive")
    seen = (await _paid_events(stage, buyer.id))[0]["deliveries"]
    stage.say(f"the inbox knows one event, delivered {seen} times")
    grants = await buyer.count(GRANTS, purchase=purchase)
    stage.check("one grant in the ledger", grants == 1, grants)
    charged = [c["amount"] for c in await buyer.charges() if c["name"] == "charge.succeeded"]
    stage.check("one charge of 39.99 in Stripe's journal", charged == [3999], charged)
    balance = (await buyer.ask("GET", "/billing/credits/balance"))["credits"]
    stage.check("the balance is 500.00 credits", balance == "500.00", balance)
    proof = await buyer.ask("GET", f"/billing/purchases/{purchase}/proof")
    stage.check("the proof of fulfilment holds together", proof.get("consistent") is True, proof)
    for line in proof.get("checks", [])[:6]:
        stage.say(f"[green]proof[/] {line['sentence'] if isinstance(line, dict) else line}")


async def trial_twice(stage: Stage) -> None:
    """One trial per account, ended by the clock."""
    stage.title("A trial of 500 credits: taken twice, then ended by the clock")
    taker = await stage.customer("ben", clock_at="2027-03-01T09:00:00Z")
    first = await taker.ask("POST", "/billing/trials")
    stage.check("the first time: 201, 500 credits", first["http_status"] == 201, first)
    second = await taker.ask("POST", "/billing/trials")
    refused = (second["http_status"], second.get("code"))
    stage.check(
        "the second time: 409 TRIAL_ALREADY_USED", refused == (409, "TRIAL_ALREADY_USED"), refused
    )
    clock = await taker.advance(days=14)
    stage.say(f"the account's own clock walked to {clock['clock_at'][:10]}")
    trial = await taker.ask("GET", "/billing/trials")
    stage.check("the trial has expired", trial["status"] == "expired", trial)
    balance = (await taker.ask("GET", "/billing/credits/balance"))["credits"]
    stage.check("its credits expired", balance == "0", balance)
    told = await taker.count(
        "SELECT count(*) FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.trial.expired'"
    )
    stage.check("evt.billing.trial.expired went out once", told == 1, told)


async def refunded(stage: Stage) -> None:
    """A third of a pack goes back: once, with a credit note, and its credits with it."""
    stage.title("An operator gives a third of a pack back")
    buyer = await stage.customer("bea")
    begun = await buyer.ask("POST", "/billing/purchases", {"pack": "medium"})
    await buyer.confirm(begun)
    await buyer.until_status(f"/billing/purchases/{begun['purchase_id']}", "completed")
    (payment,) = (await buyer.ask("GET", "/billing/payments"))["data"]
    path, key = f"/admin/payments/{payment['payment_id']}/refund", {"Idempotency-Key": buyer.id}
    wish = {"amount_cents": 1333, "reason": "a third was not wanted"}
    made = [await stage.operate("POST", path, wish, **key) for _ in range(2)]
    stage.check("asked for twice under one key, made once", made[0] == made[1], made)
    given = await buyer.moved("refund.succeeded")
    stage.check("13.33 USD went back in Stripe's journal", given == [1333], given)
    invoice = await buyer.ask("GET", f"/billing/invoices/{payment['invoice_id']}")
    notes = [one["amount"] for one in invoice["credit_notes"]]
    stage.check("a credit note of 13.33 USD on its invoice", notes == [1333], notes)
    for note in invoice["credit_notes"]:
        stage.say(f"{note['number']}: {note['reason']}")
    balance = (await buyer.ask("GET", "/billing/credits/balance"))["credits"]
    stage.check("a third of the 500 credits went with it", balance[:6] == "333.33", balance)


async def worker_killed(stage: Stage) -> None:
    """The worker dies between the charge and the grant."""
    stage.title("The worker is killed with SIGKILL between the charge and the grant")
    buyer = await stage.customer("cleo")
    begun = await buyer.ask("POST", "/billing/purchases", {"pack": "large"})
    purchase = begun["purchase_id"]
    (stage.stack.data / "failpoints" / "check.before_result").write_text("kill")
    pid = (await stage.control.status())["worker"].pid
    await buyer.confirm(begun)
    died = asyncio.get_running_loop().time()

    async def gone() -> bool:
        return (await stage.control.status())["worker"].pid != pid

    await stage.until(gone, "the worker to die")
    before = await buyer.count(GRANTS, purchase=purchase)
    stage.say(f"worker {pid} is dead: Stripe has the money, the ledger has {before} grants")
    await buyer.until_status(f"/billing/purchases/{purchase}", "completed")
    took = timedelta(seconds=asyncio.get_running_loop().time() - died)
    stage.say(f"a new worker finished it {took.total_seconds():.1f} s later")
    charged = [c for c in await buyer.charges() if c["name"] == "charge.succeeded"]
    stage.check("still one charge", len(charged) == 1, charged)
    grants = await buyer.count(GRANTS, purchase=purchase)
    stage.check("and one grant", grants == 1, grants)
    paid = await buyer.count(
        "SELECT count(*) FROM invoices WHERE account_id = %(me)s AND status = 'paid'"
    )
    stage.check("and one paid invoice", paid == 1, paid)


async def _paid_events(stage: Stage, account: str) -> list[Json]:
    return await stage.sql(
        "SELECT stripe_event_id, deliveries FROM stripe_webhook_events"
        " WHERE type = 'payment_intent.succeeded'"
        " AND payload #>> '{data,object,metadata,account}' = %(account)s",
        account=account,
    )
