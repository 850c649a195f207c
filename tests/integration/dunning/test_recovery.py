"""An unpaid invoice is recovered beside its slots: a new card, a retry, the payer himself."""

from typing import Final

import pytest

from billing.core import ids
from tests.integration.actors import Actors, instant, wait_for
from tests.integration.dunning.dunning_setup import (
    RENEWAL,
    attempts,
    case,
    overdue,
    owed,
    steer,
    tried,
    until_tried,
)
from tests.integration.operator_acts import audited

METHODS: Final = "/billing/payment-methods"


async def test_a_new_card_is_tried_at_once_and_recovers(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    await customer.advance(days=1)
    card = await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    await customer.until_subscription("active")
    assert await attempts(customer) == [
        ("attempt-0", "declined"),
        (f"card-{card['id']}", "succeeded"),
    ]
    ended = await case(customer)
    assert (ended["status"], ended["slots_used"]) == ("recovered", 1), "no slot was used up"
    assert (await customer.published()).count("evt.billing.dunning.recovered") == 1
    assert await customer.credits() == 500
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await tried(customer) == 3


async def test_a_new_card_counts_although_the_frozen_clock_has_not_moved(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    await customer.until_subscription("active")


async def test_a_lost_card_is_tried_again_once_its_bank_has_replaced_it(actors: Actors) -> None:
    customer = await overdue(actors, "lost_card", "succeed")
    [card] = (await customer.ask("GET", METHODS))["data"]
    assert card["barred_at"] is not None
    [kept] = await customer.rows(
        "SELECT stripe_payment_method_id AS id FROM payment_methods WHERE account_id = %(me)s"
    )
    await customer.advance(days=1)
    await actors.sandbox.reissue(kept["id"], "pm_card_mastercard")
    await customer.until_subscription("active")
    [now] = (await customer.ask("GET", METHODS))["data"]
    assert (now["id"], now["barred_at"]) == (card["id"], None)


async def test_a_new_card_that_fails_too_moves_no_slot_and_is_not_tried_twice(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=2)
    await customer.save_card(make_default=True, confirm="DEFAULT")
    await until_tried(customer, 2)
    assert (await case(customer))["next_at"] == "2027-02-04T10:00:00Z"
    await customer.advance(days=1)
    assert [mark for mark, _ in await attempts(customer)][-1] == "attempt-1"
    assert await tried(customer) == 4


async def test_a_card_that_is_chosen_again_is_tried_again_at_once(actors: Actors) -> None:
    customer = await overdue(actors, policy={"days": [0]})
    [first] = (await customer.ask("GET", METHODS))["data"]
    await customer.advance(days=2)
    await customer.until_subscription("unpaid")
    second = await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    await until_tried(customer, 2)
    await customer.advance(days=1)
    await customer.ask("POST", f"{METHODS}/{first['id']}/default", {"confirm": "DEFAULT"})
    await until_tried(customer, 3)
    await customer.advance(days=1)
    await customer.script("succeed")
    await customer.ask("POST", f"{METHODS}/{second['id']}/default", {"confirm": "DEFAULT"})
    assert await until_tried(customer, 4) == [
        ("attempt-0", "declined"), (f"card-{second['id']}", "declined"),
        (f"card-{first['id']}", "declined"), (f"card-{second['id']}/chosen-1", "succeeded"),
    ]  # fmt: skip
    await customer.until_subscription("active")
    shown = (await customer.ask("GET", "/billing/timeline?limit=100"))["past"]
    causes = [one["cause"]["words"] for one in shown if one["source"] == "payment"]
    assert causes[:3] == ["a new card was chosen"] * 3


async def test_a_new_card_that_is_declined_does_not_put_the_final_action_off(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-09T09:00:00Z")
    await customer.save_card(make_default=True, confirm="DEFAULT")
    await until_tried(customer, 4)
    await customer.advance(to="2027-02-09T09:59:59Z")
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(to="2027-02-09T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"


async def test_a_retry_now_is_a_try_of_its_own_once_per_key(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "insufficient_funds", "succeed")
    seen = await steer(customer, "retry-now")
    assert [one["status"] for one in seen["attempts"]] == ["declined", "declined"]
    assert (seen["slots_used"], seen["next_at"]) == (1, "2027-02-04T10:00:00Z")

    path = f"/api/v1/admin/dunning/{seen['dunning_case_id']}/retry-now"
    headers = actors.headers("*", "admin", customer.id)
    first, second = [await actors.client.post(path, json={}, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()["status"]) == (200, "recovered"), first.text
    assert second.headers["Idempotent-Replayed"] == "true"
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0", "now-1", "now-2"]
    assert (await customer.subscription())["status"] == "active"


async def test_the_payer_pays_with_the_saved_card(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "generic_decline", "succeed")
    invoice = (await owed(customer))["invoice_id"]
    path = f"/billing/invoices/{invoice}/pay"
    refused = await customer.refused("CARD_DECLINED", "POST", path, {}, key="first")
    assert (refused["decline_code"], refused["decline_class"]) == ("generic_decline", "soft")
    assert (await owed(customer))["status"] == "open"

    paid = await customer.ask("POST", path, {}, key="second", status=200)

    assert (paid["status"], paid["amount_remaining"]) == ("paid", 0)
    assert paid["next_action"] == {"type": "none"}
    assert (await customer.subscription())["status"] == "active"
    assert await customer.ask("POST", path, {}, key="second") == paid, "the same key, the same word"
    await customer.refused("INVOICE_ALREADY_PAID", "POST", path, {}, key="third")
    assert await tried(customer) == 4
    assert await audited(customer, "invoice.pay_asked") == [invoice] * 2


async def test_the_payer_pays_with_another_saved_card_than_the_default(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    other = await customer.save_card("pm_card_mastercard")
    assert not other["is_default"]
    invoice = (await owed(customer))["invoice_id"]
    paid = await customer.ask(
        "POST",
        f"/billing/invoices/{invoice}/pay",
        {"payment_method_id": other["id"]},
        key="k",
        status=200,
    )
    assert paid["attempts"][-1]["payment_method_id"] == other["id"]
    assert paid["status"] == "paid"


async def test_the_payer_confirms_another_card_in_the_browser_and_it_stays(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    invoice = (await owed(customer))["invoice_id"]
    offered = await customer.ask(
        "POST", f"/billing/invoices/{invoice}/pay", {"payment_method": "card"}, key="k", status=200
    )
    assert offered["next_action"]["type"] == "confirm_card"
    assert await audited(customer, "invoice.pay_offered") == [invoice]
    [intent] = {payment["stripe_payment_intent_id"] for payment in offered["payments"]}
    assert offered["next_action"]["client_secret"].startswith(str(intent)), "the same intent"

    await customer.script("succeed")
    await customer.pay(offered, "pm_card_mastercard")

    await customer.until_subscription("active")
    [default] = await customer.rows(
        "SELECT id, brand FROM payment_methods WHERE account_id = %(me)s AND is_default"
    )
    assert default["brand"] == "mastercard", "what the old card could not pay, the new one does"
    [paid] = (await customer.ask("GET", "/billing/payments?status=succeeded&limit=1"))["data"]
    assert ids.decode(ids.PAYMENT_METHOD, paid["payment_method_id"]) == default["id"]


async def test_what_the_payer_confirmed_is_found_without_any_webhook(actors: Actors) -> None:
    customer = await overdue(actors)
    invoice = (await owed(customer))["invoice_id"]
    offered = await customer.ask(
        "POST", f"/billing/invoices/{invoice}/pay", {"payment_method": "card"}, key="k"
    )
    await customer.script("succeed")
    async with customer.unheard():
        await customer.pay(offered)
        await customer.advance(to="2027-02-01T10:00:59Z")
        assert (await customer.subscription())["status"] == "past_due"
        await customer.advance(to="2027-02-01T10:01:00Z")
        assert (await customer.subscription())["status"] == "active"


async def test_a_card_that_asks_for_3d_secure_is_finished_by_its_payer(actors: Actors) -> None:
    customer = await overdue(actors, "authentication_required", "authentication_required")
    declined = (await case(customer))["attempts"][0]
    assert declined["decline_class"] == "action"
    invoice = (await owed(customer))["invoice_id"]
    standing = await customer.subscription()
    assert standing["latest_decline"]["decline_class"] == "action"
    assert standing["next_action"] == {"type": "none"}, "its payer has begun nothing"

    answer = await customer.ask("POST", f"/billing/invoices/{invoice}/pay", {}, key="k", status=200)

    assert answer["next_action"]["type"] == "confirm_card"
    assert (await customer.subscription())["next_action"] == answer["next_action"]
    intent = answer["next_action"]["client_secret"].partition("_secret")[0]
    await actors.sandbox.authenticate(intent)
    await customer.until_subscription("active")


async def test_3d_secure_that_nobody_told_of_is_found_by_the_calendar(actors: Actors) -> None:
    customer = await overdue(actors, "authentication_required", "authentication_required")
    invoice = (await owed(customer))["invoice_id"]
    answer = await customer.ask("POST", f"/billing/invoices/{invoice}/pay", {}, key="k")
    async with customer.unheard():
        intent = answer["next_action"]["client_secret"].partition("_secret")[0]
        await actors.sandbox.authenticate(intent)
        await customer.advance(to="2027-02-01T10:01:00Z")
        assert (await customer.subscription())["status"] == "active"


async def test_a_bank_that_takes_its_time_decides_before_the_next_slot(actors: Actors) -> None:
    customer = await overdue(actors, "processing")
    assert await attempts(customer) == [("attempt-0", "processing")]
    await customer.refused(
        "PAYMENT_PENDING",
        "POST",
        f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay",
        {},
        key="k",
    )
    for dry_run in (True, False):
        await customer.refused(
            "PAYMENT_PENDING", "POST", "/billing/pay-overdue", {"dry_run": dry_run}, key="l"
        )
    await customer.advance(to="2027-02-01T10:30:00Z")
    assert await tried(customer) == 1, "a charge that is processing is neither paid nor declined"
    [intent] = {p["stripe_payment_intent_id"] for p in (await owed(customer))["payments"]}
    await actors.sandbox.settle(intent, "insufficient_funds")
    await customer.until_subscription("past_due")
    opened = await case(customer)
    assert (opened["slots_used"], instant(opened["opened_at"])) == (
        1, instant("2027-02-01T10:30:00Z"),
    )  # fmt: skip


@pytest.mark.parametrize(("word", "status"), [("succeed", "active"), ("declined", "unpaid")])
async def test_a_bank_that_takes_weeks_puts_the_end_of_service_off_by_two_of_them(
    actors: Actors, word: str, status: str
) -> None:
    customer = await overdue(actors, "processing")
    await customer.advance(to="2027-02-15T09:00:00Z")
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(to="2027-02-16T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    assert await tried(customer) == 1, "nothing else is tried while the bank decides"
    # The last slot was planned for the 8th.
    await customer.advance(to="2027-02-22T09:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    [intent] = {p["stripe_payment_intent_id"] for p in (await owed(customer))["payments"]}
    await actors.sandbox.settle(intent, "succeed" if word == "succeed" else "insufficient_funds")
    if word == "declined":
        await wait_for(
            customer.published, "the bank's word is followed",
            lambda seen: "evt.billing.dunning.attempt_failed" in seen,
        )  # fmt: skip
    await customer.until_subscription(status)
    assert (await customer.published()).count("evt.billing.dunning.opened") == 1


async def test_each_decline_is_told_to_the_outside_once(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=3)

    async def handled() -> object:
        rows = await customer.rows(
            "SELECT status FROM stripe_webhook_events WHERE account_id = %(me)s"
            " AND type = 'payment_intent.payment_failed'"
        )
        return [row["status"] for row in rows]

    await wait_for(handled, "both events are handled", lambda seen: seen == ["handled"] * 2)
    told = await customer.published()
    assert told.count("evt.billing.payment.failed") == 2
    assert told.count("evt.billing.dunning.attempt_failed") == 2
    assert told.count("evt.billing.dunning.opened") == 1


async def test_fifteen_declines_in_thirty_days_are_the_most_a_card_gets(actors: Actors) -> None:
    customer = await overdue(actors)
    for number in range(1, 15):
        await steer(customer, "retry-now")
        assert await tried(customer) == 2 + number
    refused = await steer(customer, "retry-now", status=402)
    assert (refused["code"], refused["decline_code"]) == ("CARD_DECLINED", "too_many_attempts")
    assert await tried(customer) == 16
    await customer.advance(to=RENEWAL.replace("02-01", "02-08"))
    assert await tried(customer) == 16, "slots keep the rule too"
    await customer.save_card(make_default=True, confirm="DEFAULT")
    await customer.advance(to="2027-02-08T11:00:00Z")
    assert await tried(customer) == 16, "and it is the same card when it is saved again"
