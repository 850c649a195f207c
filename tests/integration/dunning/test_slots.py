"""The slots of dunning: exactly on their days, each once, and what kind of decline skips them."""

from uuid import uuid4

import pytest

from activities.tries import SAME_KEY_TRIES
from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.dunning.dunning_setup import (
    RENEWAL,
    START,
    attempts,
    case,
    overdue,
    owed,
    steer,
    tried,
    under,
    until_tried,
)


async def test_a_failing_card_is_tried_on_day_0_3_and_7_and_at_no_other_moment(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await customer.script("insufficient_funds", then="last")
    plan = [
        ("2027-02-01T09:59:59Z", 1, "active"),
        (RENEWAL, 2, "past_due"),
        ("2027-02-04T09:59:59Z", 2, "past_due"),
        ("2027-02-04T10:00:00Z", 3, "past_due"),
        ("2027-02-08T09:59:59Z", 3, "past_due"),
        ("2027-02-08T10:00:00Z", 4, "past_due"),
        ("2027-02-09T09:59:59Z", 4, "past_due"),
        ("2027-02-09T10:00:00Z", 4, "unpaid"),
        ("2027-02-28T10:00:00Z", 4, "unpaid"),
    ]
    for moment, tries, status in plan:
        await customer.advance(to=moment)
        seen = (await tried(customer), (await customer.subscription())["status"])
        assert seen == (tries, status), moment
    assert await attempts(customer) == [
        ("attempt-0", "declined"),
        ("attempt-1", "declined"),
        ("attempt-2", "declined"),
    ]
    ended = await case(customer)
    assert (ended["status"], ended["close_reason"]) == ("exhausted", "unpaid")
    told = await customer.published()
    for kind in (
        "invoice.finalized", "subscription.past_due", "dunning.exhausted", "subscription.unpaid",
    ):  # fmt: skip
        assert told.count(f"evt.billing.{kind}") == 1


async def test_one_walk_over_all_slots_does_the_same(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=27)
    rows = await customer.rows(
        "SELECT key, started_at FROM payment_attempts WHERE account_id = %(me)s"
        " AND slot IS NOT NULL ORDER BY real_started_at"
    )
    assert [row["started_at"] for row in rows][-3:] == [
        instant(RENEWAL), instant("2027-02-04T10:00:00Z"), instant("2027-02-08T10:00:00Z"),
    ]  # fmt: skip
    assert await tried(customer) == 4
    intents = {
        effect["payment_intent"]
        for effect in await customer.effects(None)
        if effect["name"] == "charge.failed"
    }
    assert len(intents) == 1, "all tries of an invoice are confirms of one intent"


async def test_a_try_was_due_on_the_day_of_its_slot(actors: Actors) -> None:
    """It was told as due since the invoice was issued, and counted as days late."""
    customer = await overdue(actors)
    await customer.advance(to="2027-02-08T10:00:00Z")
    told = (await customer.ask("GET", "/billing/timeline", status=200))["past"]
    due = [one["cause"]["due_at"] for one in told if one["name"] == "charge"]
    assert sorted(due)[-3:] == [RENEWAL, "2027-02-04T10:00:00Z", "2027-02-08T10:00:00Z"]


async def test_tries_of_the_payer_move_neither_a_slot_nor_the_final_action(actors: Actors) -> None:
    customer = await overdue(actors)
    invoice = (await owed(customer))["invoice_id"]
    plan = [
        ("2027-02-03T14:00:00Z", ["attempt-0"]),
        ("2027-02-04T10:00:00Z", ["attempt-0", "attempt-1"]),
        ("2027-02-07T14:00:00Z", ["attempt-0", "attempt-1"]),
        ("2027-02-08T10:00:00Z", ["attempt-0", "attempt-1", "attempt-2"]),
        ("2027-02-09T09:00:00Z", ["attempt-0", "attempt-1", "attempt-2"]),
    ]
    for moment, slots in plan:
        await customer.advance(to=moment)
        seen = [mark for mark, _ in await attempts(customer) if mark.startswith("attempt")]
        assert seen == slots, moment
        await customer.refused(
            "CARD_DECLINED", "POST", f"/billing/invoices/{invoice}/pay", {}, key=str(uuid4())
        )
    assert (await case(customer))["next_at"] == "2027-02-09T10:00:00Z"
    await customer.advance(to="2027-02-09T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    assert await tried(customer) == 4 + len(plan)


async def test_a_card_that_pays_on_day_3_ends_the_case_and_grants_the_cycle(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    assert await customer.credits() == 0, "the last cycle's credits ended, this one is not paid"
    late = await customer.subscription()
    assert late["status"] == "past_due"
    assert instant(late["current_period_end"]) == instant("2027-03-01T10:00:00Z")

    await customer.advance(days=3)

    assert (await customer.subscription())["status"] == "active"
    ended = await case(customer)
    assert (ended["status"], ended["slots_used"]) == ("recovered", 1)
    assert await customer.credits() == 500
    assert [invoice["status"] for invoice in await customer.invoices()] == ["paid", "paid"]
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await tried(customer) == 3, "a recovered case tries nothing more"


async def test_a_hard_decline_makes_the_other_slots_notices_only(actors: Actors) -> None:
    customer = await overdue(actors, "expired_card")
    await customer.advance(days=7)
    assert await attempts(customer) == [
        ("attempt-0", "declined"),
        ("attempt-1", "skipped"),
        ("attempt-2", "skipped"),
    ]
    assert await tried(customer) == 2
    tries = (await case(customer))["attempts"]
    assert [one["decline_code"] for one in tries] == [
        "expired_card", "hard_decline_before", "hard_decline_before",
    ]  # fmt: skip
    await customer.advance(to="2027-02-09T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"


async def test_after_a_hard_decline_a_new_card_is_tried_again(actors: Actors) -> None:
    customer = await overdue(actors, "expired_card", "insufficient_funds", "succeed")
    await customer.advance(days=1)
    await customer.save_card(make_default=True, confirm="DEFAULT")
    tries = await until_tried(customer, 2)
    assert tries[-1][1] == "declined", "the new card's own try, at once"
    await customer.advance(days=2)
    assert (await customer.subscription())["status"] == "active"
    assert [mark for mark, _ in await attempts(customer)][-1] == "attempt-1"


async def test_a_bank_that_says_never_again_bars_the_card_for_every_invoice(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "stolen_card")
    [card] = await customer.rows("SELECT barred_at FROM payment_methods WHERE account_id = %(me)s")
    assert card["barred_at"] == instant(RENEWAL)
    invoice = (await case(customer))["invoice_id"]
    refused = await customer.refused(
        "CARD_DECLINED", "POST", f"/billing/invoices/{invoice}/pay", {}, key="again"
    )
    assert (refused["decline_code"], refused["decline_class"]) == ("card_barred", "hard")
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await tried(customer) == 2, "neither a slot nor the next renewal touches it"


async def test_without_any_card_slots_pass_and_the_case_ends_as_planned(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.rows(
        "UPDATE payment_methods SET status = 'detached', is_default = false"
        " WHERE account_id = %(me)s"
    )
    await customer.advance(days=8)
    assert [result for _, result in await attempts(customer)] == ["declined", "skipped", "skipped"]
    assert (await customer.subscription())["status"] == "unpaid"


async def test_while_stripe_is_down_the_same_slot_is_tried_hourly(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    fault = await actors.sandbox.fault(
        "error_500_unstored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
        times=None,
    )
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "unreached")]
    assert (await customer.subscription())["status"] == "active", "nobody declined anything"

    await customer.advance(to="2027-02-01T12:00:00Z")
    assert [mark for mark, _ in await attempts(customer)] == [
        "attempt-0", "attempt-0/again-1", "attempt-0/again-2",
    ]  # fmt: skip
    await actors.sandbox.clear("faults", fault)
    await customer.advance(to="2027-02-01T13:00:00Z")
    assert (await attempts(customer))[-1] == ("attempt-0/again-3", "succeeded")
    assert len(await customer.effects()) == 2, "charged once for the renewal"


@pytest.mark.parametrize(
    "lost", ["barred_at = now()", "status = 'detached', is_default = false"], ids=["barred", "gone"]
)
async def test_a_try_without_an_answer_is_seen_through_though_its_card_is_lost(
    actors: Actors, lost: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    fault = await actors.sandbox.fault(
        "timeout_before",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
        seconds=0.2,
        times=None,
    )
    await customer.aim_clock(to=RENEWAL)
    await wait_for(
        lambda: actors.sandbox.plans("faults"), "the card is tried",
        lambda seen: any(one["hits"] for one in seen if one["id"] == fault),
    )  # fmt: skip
    assert await attempts(customer) == [("attempt-0", "pending")]
    await customer.rows(f"UPDATE payment_methods SET {lost} WHERE account_id = %(me)s")
    await actors.sandbox.clear("faults", fault)
    assert await until_tried(customer, 1) == [("attempt-0", "declined")]
    await customer.advance(to="2027-02-01T12:00:00Z")
    assert await attempts(customer) == [("attempt-0", "declined")]
    assert await tried(customer) == 1, "the first payment, and nothing since"
    await customer.until_subscription("past_due")


async def test_an_intent_that_cannot_be_made_counts_as_stripe_being_down(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    fault = await actors.sandbox.fault(
        "error_500_unstored",
        method="POST",
        path="/v1/payment_intents",
        metadata={"account": customer.id},
        times=None,
    )
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "unreached")]
    await actors.sandbox.clear("faults", fault)
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert (await attempts(customer))[-1] == ("attempt-0/again-1", "succeeded")


@pytest.mark.parametrize(
    "path", ["/v1/payment_intents", "/v1/payment_intents/*/confirm"], ids=["open", "confirm"]
)
async def test_a_key_that_lost_a_right_uses_up_no_slot(actors: Actors, path: str) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    fault = await actors.sandbox.fault(
        "error_403", method="POST", path=path, metadata={"account": customer.id}, times=None
    )

    begun = [("attempt-0", "pending")]

    async def stands() -> tuple[int, list[tuple[str, str]]]:
        plans = await actors.sandbox.plans("faults")
        return next(one["hits"] for one in plans if one["id"] == fault), await attempts(customer)

    await customer.aim_clock(to=RENEWAL)
    _, tries = await wait_for(
        stands, "it is refused more often than an outage needs to count as one",
        lambda seen: seen[0] > SAME_KEY_TRIES + 1 or seen[1] not in ([], begun),
    )  # fmt: skip
    assert tries == begun
    assert (await customer.subscription())["status"] == "active"
    await actors.sandbox.clear("faults", fault)
    assert await until_tried(customer, 1) == [("attempt-0", "succeeded")]
    assert len(await customer.effects()) == 2, "charged once for the renewal"


async def shown_try(customer: Customer) -> tuple[str | None, ...]:
    """The only try of what is owed, as the customer sees it: without our account at Stripe."""
    (shown,) = (await owed(customer))["attempts"]
    return tuple(shown[name] for name in ("status", "decline_code", "decline_class", "message"))


async def test_a_charge_that_stripe_refuses_says_why_and_is_tried_hourly(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await actors.sandbox.fault(
        "error_400_stored",
        method="POST",
        path="/v1/payment_intents/*/confirm",
        metadata={"account": customer.id},
    )
    await customer.advance(to=RENEWAL)
    [tried_at_once] = await customer.rows(
        "SELECT status, decline_code, message FROM payment_attempts"
        " WHERE account_id = %(me)s AND status = 'unreached'"
    )
    assert tried_at_once["decline_code"] == "charge_refused"
    assert "Your account cannot currently make live charges" in tried_at_once["message"]
    assert await shown_try(customer) == ("unreached", "charge_refused", None, None)
    assert (await customer.subscription())["status"] == "active", "nobody declined anything"
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await attempts(customer) == [
        ("attempt-0", "unreached"), ("attempt-0/again-1", "succeeded"),
    ]  # fmt: skip


async def test_a_sum_that_stripe_finds_too_small_is_a_slot_without_a_decline(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    payer, script = await customer.stripe_customer(), actors.sandbox.script
    await script(payer, "amount_too_small", purpose="amount")
    await customer.advance(to=RENEWAL)
    assert await attempts(customer) == [("attempt-0", "unreached")]
    assert (await customer.subscription())["status"] == "past_due"
    (failed,) = (await case(customer))["attempts"]
    assert failed["decline_code"] == "provider_refused"
    assert "Amount must convert to at least" in failed["message"]
    assert await shown_try(customer) == ("unreached", "provider_refused", None, None)
    await script(payer, purpose="amount")
    await customer.advance(days=3)
    assert (await attempts(customer))[-1] == ("attempt-1", "succeeded")


async def test_slots_keep_the_hour_that_the_plan_wants_in_the_customers_zone(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-02-26T19:00:00Z", zone="Europe/Berlin")
    await customer.subscribed("pro")
    await under(customer, {"hour": 9})
    await customer.script("insufficient_funds", then="last")
    # Renewed at 20:00 on 26 March; on the 28th the clocks go forward.
    await customer.advance(to="2027-03-26T19:00:00Z")
    assert (await case(customer))["next_at"] == "2027-03-29T07:00:00Z", "9:00 in Berlin"
    await customer.advance(to="2027-03-29T07:00:00Z")
    assert (await case(customer))["next_at"] == "2027-04-02T07:00:00Z"
    assert await tried(customer) == 3


@pytest.mark.parametrize("days", [[0], [0, 1, 2, 5]])
async def test_a_plan_may_have_slots_of_its_own(actors: Actors, days: list[int]) -> None:
    customer = await overdue(actors, policy={"days": days, "grace_days": 2})
    await customer.advance(days=days[-1])
    assert await tried(customer) == 1 + len(days)
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=1)
    assert (await customer.subscription())["status"] == "unpaid"


async def test_the_cycle_goes_on_while_an_invoice_is_recovered(actors: Actors) -> None:
    customer: Customer = await overdue(actors)
    await steer(customer, "pause")
    await customer.advance(to="2027-03-01T10:00:00Z")
    now = await customer.subscription()
    assert now["status"] == "past_due"
    assert instant(now["current_period_end"]) == instant("2027-04-01T10:00:00Z")
    statuses = [invoice["status"] for invoice in await customer.invoices()]
    assert statuses == ["paid", "open", "open"]
