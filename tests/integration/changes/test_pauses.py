"""A pause by request: at period end or now, and the new period after it."""

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, lines
from tests.integration.money_seen import charged, money
from tests.integration.recomputed_sums import differences

NOW = {"at": "now"}


async def test_a_pause_comes_with_the_period_and_resuming_is_charged_first(actors: Actors) -> None:
    customer = await begun(actors)
    assert (await use(customer, "700"))["total_cost"] == "4.00"
    seen = await customer.ask("POST", f"{PATH}/pause?dry_run=true", status=200)
    assert (seen["status"], seen["due_now_cents"], seen["effective_at"]) == ("active", 0, RENEWAL)
    assert seen["upcoming"]["step"] == "pause"
    assert seen["upcoming"]["invoice"]["total_cents"] == 400
    (planned,) = (await customer.ask("POST", f"{PATH}/pause", status=200))["scheduled_changes"]
    assert (planned["kind"], planned["effective_at"]) == ("pause", RENEWAL)
    await customer.ask("DELETE", f"{PATH}/changes/{planned['change_id']}", status=200)
    assert (await customer.subscription())["scheduled_changes"] == []
    await customer.ask("POST", f"{PATH}/pause", {"at": "period_end"}, status=200)
    await customer.ask("PUT", PATH, {"plan": "free"}, status=200)

    await customer.advance(to=RENEWAL)

    paused = await customer.subscription()
    assert (paused["status"], paused["pause_reason"]) == ("paused", "requested")
    assert await charged(customer) == [1900, 400], "use until then is billed, and no period"
    body = {"feature_type": "ai_responses", "usage_amount": "1"}
    await customer.refused("NO_ENTITLEMENT", "POST", "/usage/record", body)
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/pause")
    await customer.ask("PUT", PATH, {"plan": "pro"}, status=200)
    await customer.advance(days=40)
    assert await charged(customer) == [1900, 400]
    assert await customer.credits() == 0

    resumed = await customer.ask("POST", f"{PATH}/resume", status=200)

    assert (resumed["status"], resumed["plan"]["key"]) == ("active", "pro")
    assert resumed["current_period_start"] == "2027-03-13T10:00:00Z"
    assert await charged(customer) == [1900, 400, 4900]
    assert await customer.credits() == 500
    told = await customer.published()
    for kind in ("subscription.paused", "subscription.restarted"):
        assert told.count(f"evt.billing.{kind}") == 1


async def test_a_pause_now_gives_nothing_back_and_a_debt_is_paid_before_it_ends(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    paused = await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
    assert (paused["status"], await money(customer)) == ("paused", 0)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    assert await charged(customer) == [1900, 1900]
    await customer.ask("POST", f"{PATH}/cancel", status=200)
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/pause")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-12T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"

    await customer.ask("POST", f"{PATH}/pause", NOW, status=200)

    await customer.refused("PAYMENT_OVERDUE", "POST", f"{PATH}/resume")
    (owed,) = (await customer.ask("GET", "/billing/invoices?status=pending"))["data"]
    # One of 28 days was served.
    assert owed["amount_remaining"] == 68
    await customer.script("succeed", then="last")
    body = {"resume": True}
    await customer.ask("POST", "/billing/pay-overdue", body, key="all", status=200)
    assert (await customer.subscription())["status"] == "active"
    assert await charged(customer) == [1900, 1900, 68, 1900]


async def test_a_use_from_before_a_pause_is_recorded_and_billed_when_it_comes_late(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(days=1)
    assert (await use(customer, "300"))["total_cost"] == "0"
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
    await customer.advance(days=1)
    then = {"occurred_at": "2027-01-03T09:00:00Z"}
    assert (await use(customer, "400", **then))["total_cost"] == "4.00", "500 are included"
    body = {"feature_type": "ai_responses", "usage_amount": "1"}
    await customer.refused("NO_ENTITLEMENT", "POST", "/usage/record", body)
    during = body | {"occurred_at": "2027-01-03T11:00:00Z"}
    await customer.refused("NO_ENTITLEMENT", "POST", "/usage/record", during)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    assert (await use(customer, "500"))["total_cost"] == "0", "a new cycle has its own"
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert [("usage", 400)] in await lines(customer)
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_resumption_that_is_not_paid_leaves_what_is_scheduled(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("PUT", PATH, {"plan": "basic"}, status=200)
    await customer.advance(days=1)
    paused = await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
    await customer.script("insufficient_funds", then="normal")

    await customer.refused("CARD_DECLINED", "POST", f"{PATH}/resume")

    after = await customer.subscription()
    (planned,) = after["scheduled_changes"]
    assert (after["plan"], [planned]) == (paused["plan"], paused["scheduled_changes"])
    ends = {"at": "now", "refund": "credit"}
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", ends, status=200)
    assert seen["credited_cents"] == 4742, "30 of the 31 days"
    waits = await customer.ask("POST", f"{PATH}/resume", {"payment_method": "card"})
    assert waits["plan"]["key"] == "pro"
    await customer.refused("CHANGE_PENDING", "DELETE", f"{PATH}/changes/{planned['change_id']}")
    await customer.pay(waits)
    resumed = await customer.until_subscription("active")
    assert (resumed["plan"]["key"], resumed["scheduled_changes"]) == ("basic", [])
    assert await charged(customer) == [4900, 1900]


async def test_no_period_is_charged_again_in_its_first_second(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/resume")
    assert await charged(customer) == [4900]
    await customer.advance(to="2027-01-01T10:00:01Z")
    await customer.ask("POST", f"{PATH}/resume", status=200)
    assert await charged(customer) == [4900, 4900]
    assert await customer.credits() == 1000


async def test_time_that_a_pause_took_off_a_debt_is_not_credited_by_an_end(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "3000")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-02T10:00:00Z")
    await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
    await customer.script("succeed", then="last")
    await customer.ask("POST", "/billing/pay-overdue", {}, key="all", status=200)
    # Of 19.00 a day of 28 is owed, and 50.00 for use.
    assert await charged(customer) == [1900, 1900 - 1832 + 5000]
    assert (await customer.subscription())["status"] == "paused"
    await customer.advance(days=5)

    ends = {"at": "now", "refund": "credit"}
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", ends, status=200)
    await customer.ask("POST", f"{PATH}/cancel", ends, status=200)

    assert (seen["credited_cents"], await money(customer)) == (0, 0)
