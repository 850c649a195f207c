"""A cancel that was answered stands: money that comes after it goes back, and none is asked for."""

from contextlib import nullcontext

import pytest

from cli import step_back
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.api_app import stack_settings
from tests.integration.dunning.dunning_setup import RENEWAL, attempts
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_money_balance import adjust
from tests.integration.reversals.refunds_made import refunded

START = "2027-01-01T10:00:00Z"
CANCEL = "/billing/subscription/cancel"


async def subscribed_at_a_slow_bank(
    actors: Actors, card: str = "pm_card_visa"
) -> tuple[Customer, str]:
    """A customer whose first payment the bank is processing, and its intent."""
    customer = await actors.customer_on_clock(START)
    await customer.save_card(card)
    await customer.script("processing")
    begun = await customer.subscribe("basic")
    assert (begun["status"], begun["next_action"]["type"]) == ("incomplete", "wait")
    return customer, await intent(customer)


async def intent(customer: Customer) -> str:
    """The newest intent of the account."""
    rows = await customer.rows(
        "SELECT stripe_payment_intent_id AS id FROM payments WHERE account_id = %(me)s"
        " ORDER BY created_at DESC, id DESC LIMIT 1"
    )
    return str(rows[0]["id"])


async def given_back(customer: Customer) -> Json:
    """The one payment of the account, once its money is back."""

    async def payment() -> Json:
        (seen,) = (await customer.ask("GET", "/billing/payments"))["data"]
        return dict(seen)

    return await wait_for(
        payment, f"{customer.id} has its money back", lambda seen: seen["status"] == "refunded"
    )


async def moved(customer: Customer, name: str) -> list[int]:
    """Amounts that moved at the provider."""
    return [effect["amount"] for effect in await customer.effects(name)]


@pytest.mark.parametrize("at", ["period_end", "now"])
async def test_money_that_a_slow_bank_brings_after_the_cancel_goes_back(
    actors: Actors, at: str
) -> None:
    customer, slow = await subscribed_at_a_slow_bank(actors)
    ended = await customer.ask("POST", CANCEL, {"at": at})
    assert (ended["status"], ended["end_reason"]) == ("canceled", "canceled by request")
    assert ended["next_action"]["type"] == "none"
    assert (await actors.sandbox.settle(slow)).status == 200
    payment = await given_back(customer)
    assert payment["amount"] == 1900
    assert await moved(customer, "charge.succeeded") == [1900]
    assert await moved(customer, "refund.succeeded") == [1900]
    assert [one["status"] for one in await customer.invoices()] == ["void"]
    told = await customer.published()
    assert told.count("evt.billing.payment.refunded") == 1
    assert "evt.billing.subscription.activated" not in told
    await customer.advance(days=62)
    assert (await customer.subscription())["status"] == "canceled"
    assert await moved(customer, "charge.succeeded") == [1900]
    assert await customer.credits() == 0


async def test_a_cancel_in_one_tab_beats_the_card_confirmed_in_the_other(
    customer: Customer,
) -> None:
    begun = await customer.subscribe("basic")
    async with customer.unheard():
        await customer.pay(begun)
        ended = await customer.ask("POST", CANCEL, {"at": "now"})
        assert ended["status"] == "canceled"
        await given_back(customer)
    assert await moved(customer, "refund.succeeded") == [1900]
    again = await customer.subscribe("pro")
    assert again["status"] == "incomplete", "another subscription may begin at once"


async def test_a_canceled_first_payment_can_not_be_made_any_more(customer: Customer) -> None:
    begun = await customer.subscribe("basic")
    await customer.ask("POST", CANCEL, {"at": "now"})
    assert (await customer.confirm(begun)).status == 400
    assert await moved(customer, "charge.succeeded") == []


async def test_while_the_bank_decides_another_subscription_waits_for_its_word(
    actors: Actors,
) -> None:
    customer, slow = await subscribed_at_a_slow_bank(actors)
    path, body = "/billing/subscription", {"plan": "pro", "trial": False}
    said = await customer.refused("PAYMENT_PENDING", "POST", path, body)
    assert (said["status"], "bank" in said["detail"]) == (409, True)
    await actors.sandbox.settle(slow)
    assert (await customer.until_subscription("active"))["plan"]["key"] == "basic"


async def test_a_bank_slower_than_the_period_brings_nothing_and_takes_nothing(
    actors: Actors,
) -> None:
    customer, slow = await subscribed_at_a_slow_bank(actors)
    await customer.advance(days=30)
    assert (await customer.subscription())["status"] == "incomplete"
    await customer.advance(days=10)
    assert (await customer.subscription())["status"] == "incomplete_expired"
    await actors.sandbox.settle(slow)
    await given_back(customer)
    await customer.advance(days=31)
    assert await moved(customer, "charge.succeeded") == [1900]
    assert await moved(customer, "refund.succeeded") == [1900]


async def test_a_refund_that_takes_a_while_is_looked_at_until_it_has_arrived(
    actors: Actors,
) -> None:
    customer, slow = await subscribed_at_a_slow_bank(actors, card="pm_card_pendingRefund")
    await customer.ask("POST", CANCEL, {"at": "now"})
    await actors.sandbox.settle(slow)
    rows = "SELECT status FROM refunds WHERE account_id = %(me)s"
    await wait_for(
        lambda: customer.rows(rows),
        "the refund is on its way",
        lambda seen: [one["status"] for one in seen] == ["processing"],
    )
    await wait_for(
        lambda: moved(customer, "refund.succeeded"),
        "the bank has given it back",
        lambda seen: seen == [1900],
    )
    await customer.advance(days=1)
    await given_back(customer)
    assert await moved(customer, "refund.pending") == [1900]


@pytest.mark.parametrize("way", ["webhook", "poll"])
async def test_a_refund_that_the_bank_returns_later_is_money_of_the_customer(
    actors: Actors, way: str
) -> None:
    customer, slow = await subscribed_at_a_slow_bank(actors, card="pm_card_refundFail")
    await customer.ask("POST", CANCEL, {"at": "now"})
    silence = customer.unheard() if way == "poll" else nullcontext()
    async with silence:
        await actors.sandbox.settle(slow)
        await customer.advance(days=20)
        await wait_for(
            lambda: moved(customer, "refund.failed"), "the bank has returned it",
            lambda seen: seen == [1900],
        )  # fmt: skip
    await wait_for(
        lambda: customer.ask("GET", "/billing/balance"), "the money is on the balance",
        lambda seen: seen["balance_cents"] == 1900, patience=60,
    )  # fmt: skip
    (payment,) = (await customer.ask("GET", "/billing/payments"))["data"]
    assert payment["status"] == "succeeded"
    rows = await customer.rows("SELECT status, failure FROM refunds WHERE account_id = %(me)s")
    assert rows == [{"status": "failed", "failure": "expired_or_canceled_card"}]
    told = await customer.published()
    assert told.count("evt.billing.refund.succeeded") == 1
    assert told.count("evt.billing.refund.failed") == 1
    await check_books(customer)


async def test_a_transfer_approved_after_the_cancel_is_kept_for_the_customer(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    begun = await customer.subscribe("basic")
    sent = await customer.ask(
        "POST",
        "/billing/payments/manual",
        {
            "invoice_id": begun["latest_invoice_id"],
            "payment_method": "bank_transfer",
            "transaction_reference": "T-1",
        },
    )
    ended = await customer.ask("POST", CANCEL, {"at": "now"})
    assert ended["status"] == "canceled"
    await actors.operate("POST", f"/admin/payments/{sent['payment_id']}/approve", {})
    await wait_for(
        customer.published,
        "the money is told to be kept",
        lambda seen: "evt.billing.payment.kept" in seen,
    )
    assert (await customer.subscription())["status"] == "canceled"


async def test_a_cancel_says_why_and_collects_its_final_invoice_at_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    use = {"feature_type": "ai_responses", "usage_amount": "900"}
    await customer.ask("POST", "/usage/record", use, status=201)
    why = {"at": "now", "reason": "too_expensive", "comment": "We found another one."}
    ended = await customer.ask("POST", CANCEL, why)
    assert (ended["cancel_reason"], ended["cancel_comment"]) == (why["reason"], why["comment"])
    matter = "SELECT started_at FROM matters WHERE account_id = %(me)s AND kind = 'collection'"
    (collection,) = await customer.rows(matter)
    await wait_for(
        lambda: moved(customer, "charge.succeeded"),
        "the final invoice is charged",
        lambda seen: seen == [1900, 800],
        patience=2,
    )
    assert collection


async def test_a_second_cancel_that_says_nothing_keeps_what_the_first_said(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.ask("POST", CANCEL, {"reason": "too_expensive", "comment": "far"})
    ended = await customer.ask("POST", CANCEL, {"at": "now"})
    assert (ended["status"], ended["cancel_reason"]) == ("canceled", "too_expensive")
    assert ended["cancel_comment"] == "far"


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"comment": "bye"}, ("too_expensive", "bye")),
        ({"reason": "unused"}, ("unused", "far")),
    ],
)
async def test_a_second_cancel_changes_only_what_it_says(
    actors: Actors, more: Json, kept: tuple[str, str]
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.ask("POST", CANCEL, {"reason": "too_expensive", "comment": "far"})
    ended = await customer.ask("POST", CANCEL, {"at": "now"} | more)
    assert (ended["cancel_reason"], ended["cancel_comment"]) == kept


async def test_what_the_cancel_said_is_taken_back_with_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    said = await customer.ask("POST", CANCEL, {"reason": "unused"})
    assert (said["cancel_at_period_end"], said["cancel_reason"]) == (True, "unused")
    back = await customer.ask("POST", "/billing/subscription/reactivate")
    assert (back["cancel_at_period_end"], back["cancel_reason"]) == (False, None)


async def tried_as_it_ends(actors: Actors, rest: str) -> tuple[Customer, Json]:
    """A customer whose card is being tried for a renewal while it ends in that second; and what
    the end has answered.
    """
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    owner = await customer.stripe_customer()
    # Within the client's patience: one that it gave up would be called back, and charge nothing.
    path = "/v1/payment_intents/*/confirm"
    await actors.sandbox.fault("slow", path=path, customer=owner, seconds=1)
    await customer.aim_clock(to=RENEWAL)

    async def trying() -> bool:
        return [result for _, result in await attempts(customer)] == ["pending"]

    await wait_for(trying, "the card is being tried", bool)
    ended = await customer.ask("POST", CANCEL, {"at": "now", "refund": rest}, status=200)
    assert ended["status"] == "canceled"
    await customer.advance(to="2027-02-01T10:00:01Z")
    assert await moved(customer, "charge.succeeded") == [1900, 1900]
    return customer, ended


@pytest.mark.parametrize("rest", ["none", "credit"])
async def test_what_a_try_under_way_takes_for_time_not_served_stays_on_the_balance(
    actors: Actors, rest: str
) -> None:
    """The end credits the debt, so nothing is given back; the charge was sent before it."""
    customer, ended = await tried_as_it_ends(actors, rest)
    assert ended["given_back"] is None
    assert await money(customer) == 1900
    assert "evt.billing.payment.kept" in await customer.published()
    paid = (await customer.ask("GET", "/billing/payments"))["data"][0]
    await refunded(customer, paid)
    assert await moved(customer, "refund.succeeded") == [1900]
    assert await money(customer) == 0


async def rest_went_back(customer: Customer, credited: int, refunded: int) -> None:
    """The payer has what a charge under way brought for time not served, and it was told once."""
    told = await wait_for(
        customer.published, "it is back", lambda seen: "evt.billing.refund.succeeded" in seen
    )
    for kind in ("subscription.rest_refunded", "refund.created", "refund.succeeded"):
        assert told.count(f"evt.billing.{kind}") == 1
    assert "evt.billing.payment.kept" not in told
    assert await moved(customer, "charge.succeeded") == [1900, 1900]
    assert await moved(customer, "refund.succeeded") == [refunded]
    sums = {
        "credited_cents": credited,
        "refunded_cents": refunded,
        "balance_cents": credited - refunded,
    }
    assert (await customer.subscription())["given_back"] == sums
    path = "/billing/events?type=evt.billing.subscription.rest_refunded"
    (event,) = (await customer.ask("GET", path))["data"]
    assert event["data"].items() >= ({"plan": "basic", "status": "canceled"} | sums).items()
    assert (await customer.invoices())[-1]["status"] == "paid"
    assert await money(customer) == 0
    await check_books(customer)


async def test_what_a_try_under_way_takes_for_time_not_served_goes_back_as_the_end_asked(
    actors: Actors,
) -> None:
    customer, _ = await tried_as_it_ends(actors, "refund")
    await rest_went_back(customer, 1900, 1900)


@pytest.mark.parametrize(
    ("at", "debt", "credited"),
    [
        (RENEWAL, 0, 1900),
        # Half of the 28 days were served.
        ("2027-02-15T10:00:00Z", 0, 950),
        ("2027-02-15T10:00:00Z", 300, 950),
    ],
)
async def test_a_debit_undecided_at_the_end_pays_what_was_served_and_the_rest_goes_back(
    actors: Actors, at: str, debt: int, credited: int
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await customer.script("processing")
    await customer.advance(to=at)
    ended = await customer.ask("POST", CANCEL, {"at": "now", "refund": "refund"}, status=200)
    assert (ended["status"], ended["given_back"]) == ("canceled", None)
    unknown = await step_back.unknown(stack_settings(actors.stack))
    assert any(one.startswith("payments whose rest goes back") for one in unknown)
    if debt:
        await adjust(customer, -debt)
    assert (await actors.sandbox.settle(await intent(customer))).status == 200
    await rest_went_back(customer, credited, credited - debt)
