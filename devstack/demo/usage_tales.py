"""Tales of metering: one use told twice, a batch sent again, credits held and captured."""

from typing import Final

from devstack.demo.stage import Customer, Json, Stage

BATCH: Final = 500
GIVEN: Final = "10"
RECORDS: Final = "SELECT count(*) FROM billing_records WHERE account_id = %(me)s"
ENTRIES: Final = "SELECT count(*) FROM credit_transactions WHERE account_id = %(me)s"
UNBALANCED: Final = (
    "SELECT b.balance - coalesce((SELECT sum(remaining) FROM credit_lots l"
    " WHERE l.account_id = b.account_id), 0) AS apart"
    " FROM credit_balances b WHERE b.account_id = %(me)s"
)


async def metered(stage: Stage) -> None:
    """A platform records model calls by credits; what it sends twice counts once."""
    stage.title("An AI platform sends its usage, part of it twice")
    shop = await stage.customer("grace")
    gift = {"account_id": shop.id, "amount": GIVEN, "reason": "a gift to begin with"}
    await stage.operate("POST", "/admin/credits/adjust", gift, **{"Idempotency-Key": shop.id})
    await _one_call(stage, shop)
    await _one_batch(stage, shop)
    await _too_much(stage, shop)
    await _held(stage, shop)
    apart = (await shop.rows(UNBALANCED))[0]["apart"]
    stage.check("the balance is the sum of its lots", apart == 0, apart)


async def _one_call(stage: Stage, shop: Customer) -> None:
    call = _use("req-1", "gpt-4", "1000") | {"user_id": "ann"}
    first = await shop.ask("POST", "/usage/record", call)
    again = await shop.ask("POST", "/usage/record", call)
    cost = first.get("total_cost")
    stage.say(f"{first.get('billing_id')}: 1,000 tokens of gpt-4, {cost} credits")
    stage.check("1,000 tokens at 0.002 cost 2.00 credits", cost == "2.00", first)
    same = first.get("billing_id") == again.get("billing_id")
    told = await shop.count(RECORDS)
    stage.check("the same event again is the same record", same and told == 1, again)


async def _one_batch(stage: Stage, shop: Customer) -> None:
    events = [_use(f"batch-{number}", "gpt-4-mini", "10") for number in range(BATCH)]
    entries = await shop.count(ENTRIES)
    first = await shop.ask("POST", "/usage/batch", {"events": events})
    stage.say(f"{BATCH} events in one request; then the network hangs up, and all are sent again")
    again = await shop.ask("POST", "/usage/batch", {"events": events})
    stage.check(f"{BATCH} recorded at first", _verdicts(first) == {"recorded"}, _verdicts(first))
    stage.check("all known the second time", _verdicts(again) == {"duplicate"}, _verdicts(again))
    records = await shop.count(RECORDS)
    stage.check(f"{BATCH + 1} records in all", records == BATCH + 1, records)
    grown = await shop.count(ENTRIES) - entries
    stage.check("within the free units: no credits were touched", grown == 0, grown)


async def _too_much(stage: Stage, shop: Customer) -> None:
    refused = await shop.ask("POST", "/usage/record", _use("req-2", "gpt-4", "50000"))
    left = refused.get("available")
    stage.say(f"50,000 tokens more: {refused.get('code')}, {left} credits are available")
    stage.check("what cannot be paid is refused", refused["http_status"] == 402, refused)
    told = await shop.count(RECORDS)
    stage.check("and leaves no record", told == BATCH + 1, told)


async def _held(stage: Stage, shop: Customer) -> None:
    hold = await shop.ask("POST", "/billing/credits/holds", {"amount": "5"})
    stage.say("5 credits are held before an expensive call, which then costs 1.25")
    await shop.ask(
        "POST", f"/billing/credits/holds/{hold.get('hold_id')}/capture", {"amount": "1.25"}
    )
    balance = (await shop.ask("GET", "/billing/credits/balance"))["credits"]
    stage.check("6.75 credits are left, none of them held", balance == "6.75", balance)


def _use(event: str, product: str, amount: str) -> Json:
    return {
        "event_id": event,
        "product_id": product,
        "usage_amount": amount,
        "billing_method": "credit_consumption",
    }


def _verdicts(answer: Json) -> set[str]:
    return {row["status"] for row in answer.get("results", [])}
