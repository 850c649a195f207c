"""The past half: every step and change with its cause, newest first, without gaps or repetition."""

from tests.integration.actors import Actors, Customer, Json
from tests.integration.dunning.dunning_setup import owed
from tests.integration.invoices.operator_commands import commanded
from tests.integration.workflows.test_trial_ends import TRIAL_END, on_trial


async def past(customer: Customer, query: str = "limit=100") -> list[Json]:
    shown = await customer.ask("GET", f"/billing/timeline?{query}")
    happened: list[Json] = shown["past"]
    return happened


async def test_each_entry_says_what_happened_and_why(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    await customer.advance(days=31)
    seen = {(one["source"], one["name"]): one for one in reversed(await past(customer))}

    renewed = seen["step", "renew"]
    assert renewed["cause"]["words"] == "it was due"
    assert renewed["cause"]["due_at"] == renewed["at"] == "2027-02-01T10:00:00Z"
    assert renewed["subject"].startswith("subscription/sub_")

    charged = seen["payment", "charge"]
    assert (charged["amount_cents"], charged["currency"]) == (4900, "USD")
    assert charged["words"] == "charge of 49.00 USD by visa 4242: succeeded"

    told = seen["step", "check"]
    assert told["cause"]["stripe_event_id"].startswith("evt_")
    assert told["cause"]["words"].startswith("Stripe told of payment_intent.succeeded")

    asked = seen["change", "subscription.created"]
    assert asked["cause"]["words"].startswith("asked for by billing:somebody-")
    assert asked["cause"]["correlation_id"]

    paid = seen["change", "invoice.paid"]
    assert (paid["words"], paid["amount_cents"]) == ("the invoice of 49.00 USD was paid", 4900)
    assert paid["cause"]["workflow_id"] == renewed["subject"]

    granted = seen["credits", "arrived"]
    assert granted["credits"] == "500.00"
    assert seen["credits", "expired"]["credits"] == "500.00"


async def test_declines_and_skipped_tries_are_told_with_their_reason(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=40)
    tries = [one for one in await past(customer) if one["source"] == "payment"]
    assert [one["words"] for one in tries] == [
        "charge of 49.00 USD by visa 4242: declined (insufficient_funds)"
    ] * 3
    words = {one["words"] for one in await past(customer)}
    assert {"pro is past due", "a try brought no money: insufficient_funds"} <= words


async def test_a_skipped_try_keeps_the_amount_that_was_owed_then(actors: Actors) -> None:
    customer = await on_trial(actors, "invoice")
    await customer.advance(to=TRIAL_END)

    async def skipped() -> list[tuple[str, int]]:
        tries = [one for one in await past(customer) if one["source"] == "payment"]
        return [(one["words"], one["amount_cents"]) for one in tries if "not tried" in one["words"]]

    told = [("charge of 19.00 USD: not tried (no_payment_method)", 1900)]
    assert await skipped() == told
    note = {"amount_cents": 500, "reason": "goodwill"}
    await commanded(customer, await owed(customer), "credit-note", note)
    await customer.save_card()
    await customer.until_subscription("active")
    assert [one["amount"] for one in await customer.effects()] == [1400]
    assert await skipped() == told


async def test_pages_hold_everything_once_and_newest_first(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    await customer.advance(days=65)
    whole = await past(customer)
    assert [one["at"] for one in whole] == sorted((one["at"] for one in whole), reverse=True)
    shown = await customer.ask("GET", "/billing/timeline?limit=7&upcoming=0")
    pages = list(shown["past"])
    assert shown["pagination"]["total"] == len(whole)
    while shown["pagination"]["has_more"]:
        cursor = shown["pagination"]["next_cursor"]
        shown = await customer.ask("GET", f"/billing/timeline?limit=7&cursor={cursor}&upcoming=0")
        pages += shown["past"]
    assert pages == whole
    await customer.refused("INVALID_CURSOR", "GET", "/billing/timeline?cursor=nonsense")


async def test_an_operator_sees_the_same_timeline(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    own = await customer.ask("GET", "/billing/timeline")
    seen = await actors.operate("GET", f"/admin/accounts/{customer.id}/timeline")
    by_name = await actors.operate(
        "GET", f"/admin/accounts/{customer.account['external_id']}/timeline"
    )
    assert own == seen == by_name
    assert own["now"] == "2027-01-01T10:00:00Z"


async def test_a_fresh_account_has_a_birth_and_no_future(customer: Customer) -> None:
    shown = await customer.ask("GET", "/billing/timeline")
    assert shown["future"] == []
    assert [one["name"] for one in shown["past"]] == ["account.created"]


async def test_a_cancellation_says_who_asked_for_it(customer: Customer) -> None:
    await customer.subscribed("basic")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "period_end"})
    told = next(
        one for one in await past(customer) if one["name"] == "subscription.cancel_scheduled"
    )
    assert told["words"].startswith("basic will end on ")
    assert told["cause"]["actor"].startswith("billing:somebody-")
    assert told["cause"]["words"] == f"asked for by {told['cause']['actor']}"
