"""An end now with a refund: what is paid and not used goes back the way it came."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.overage_uses import START, use
from tests.integration.changes.chosen_plans import LATER, PATH, begun, change
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money, newest_invoice
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_money_balance import adjust
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded, shown

NOW = {"at": "now", "refund": "refund"}
HALF = "2027-01-16T22:00:00Z"


async def ended(customer: Customer, key: str | None = None) -> Json:
    return await customer.ask("POST", f"{PATH}/cancel", NOW, status=200, key=key)


async def went_back(customer: Customer, *amounts: int) -> None:
    """The refunds at the provider, the smallest first."""

    async def arrived() -> bool:
        effects = await customer.effects("refund.succeeded")
        return sorted(one["amount"] for one in effects) == sorted(amounts)

    await wait_for(arrived, f"{amounts} went back")
    await check_books(customer)


def given(credited: int, refunded: int) -> Json:
    return {
        "credited_cents": credited,
        "refunded_cents": refunded,
        "balance_cents": credited - refunded,
    }


async def test_what_is_paid_and_not_used_goes_back_to_its_payer(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=HALF)
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    assert (seen["credited_cents"], seen["refunded_cents"], seen["status"]) == (
        2450, 2450, "canceled",
    )  # fmt: skip
    assert (await customer.subscription())["status"] == "active"

    done = await ended(customer)

    assert (done["status"], done["given_back"]) == ("canceled", given(2450, 2450))
    await went_back(customer, 2450)
    assert await money(customer) == 0
    assert await customer.credits() == 250
    payment, invoice = await shown(customer, await paid_for(customer))
    assert (payment["status"], payment["amount_refunded"]) == ("succeeded", 2450)
    [note] = invoice["credit_notes"]
    assert (note["amount"], note["reason"], invoice["amount_refunded"]) == (
        2450, "time not used", 2450,
    )  # fmt: skip
    assert note["kind"] == "canceled"
    (written,) = await customer.rows("SELECT lines FROM credit_notes WHERE account_id = %(me)s")
    assert [one["description"] for one in written["lines"]] == [
        "Pro, 1 Jan 2027 to 1 Feb 2027: 16 Jan 2027 to 1 Feb 2027"
    ]
    told = await customer.published()
    for kind in ("subscription.rest_refunded", "refund.created", "refund.succeeded"):
        assert told.count(f"evt.billing.{kind}") == 1
    assert (await customer.subscription())["given_back"] == given(2450, 2450)


async def test_it_goes_back_once_however_often_it_is_asked_for(actors: Actors) -> None:
    customer, key = await begun(actors, "pro"), str(uuid4())
    first = await ended(customer, key)
    await went_back(customer, 4900)
    again = await ended(customer, key)
    assert again["given_back"] == first["given_back"] == given(4900, 4900)
    await customer.refused("SUBSCRIPTION_STATE", "POST", f"{PATH}/cancel", NOW)
    payment, _ = await shown(customer, await paid_for(customer))
    assert (payment["status"], payment["amount_refunded"]) == ("refunded", 4900)
    await went_back(customer, 4900)
    assert await money(customer) == 0
    assert await customer.credits() == 0


async def test_each_invoice_gives_back_over_its_own_payment(actors: Actors) -> None:
    customer = await begun(actors)
    await choose(customer, ai_500=1)
    await use(customer, "1100")
    await customer.advance(to=LATER)
    await change(customer, plan="pro")
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    done = await ended(customer)
    # As for a credit; no note takes more than the total of its invoice.
    assert seen["refunded_cents"] == seen["credited_cents"] == 2626 + 375
    assert done["given_back"] == given(2626 + 375, 2626 + 375)
    await went_back(customer, *[one["amount"] for one in await notes(customer)])
    assert await money(customer) == 0


async def notes(customer: Customer) -> list[Json]:
    return await customer.rows(
        "SELECT sum(amount_minor)::int AS amount FROM credit_notes"
        " WHERE account_id = %(me)s GROUP BY invoice_id"
    )


async def test_what_the_money_balance_paid_stays_there(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await adjust(customer, 3900)
    await customer.subscribed("pro")
    done = await ended(customer)
    assert done["given_back"] == given(4900, 1000)
    await went_back(customer, 1000)
    assert await money(customer) == 3900


async def test_money_that_came_by_transfer_stays_on_the_money_balance(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer("pro")
    paper = {"amount_cents": 4900, "reference": f"TRX-{uuid4().hex[:10]}"}
    await commanded(customer, await newest_invoice(customer), "record-payment", paper)
    assert (await ended(customer))["given_back"] == given(4900, 0)
    assert await money(customer) == 4900


async def test_use_that_the_end_bills_is_paid_from_it_first(actors: Actors) -> None:
    customer = await begun(actors, interval="yearly")
    await use(customer, "700")
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    credited, used = seen["credited_cents"], seen["invoice"]["balance_applied_cents"]
    assert (used, seen["due_now_cents"]) == (400, 0)
    done = await ended(customer)
    assert done["given_back"] == given(credited, credited - used)
    await went_back(customer, credited - used)
    assert await money(customer) == 0


async def test_a_refund_that_the_bank_returns_is_on_the_money_balance(actors: Actors) -> None:
    customer = await begun(actors, "pro", card="pm_card_refundFail")
    assert (await ended(customer))["given_back"]["credited_cents"] == 4900

    async def failed() -> bool:
        return "evt.billing.refund.failed" in await customer.published()

    await wait_for(failed, "the refund fails")
    await check_books(customer)
    assert (await customer.subscription())["given_back"] == given(4900, 0)
    assert await money(customer) == 4900


async def test_what_went_back_before_does_not_go_back_again(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await refunded(customer, await paid_for(customer), 2450)
    assert (await ended(customer))["given_back"] == given(2450, 2450)
    await went_back(customer, 2450, 2450)
    assert await money(customer) == 0


async def test_what_a_bank_disputes_is_not_lost_to_an_end_or_change_before_that_is_decided(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    for body in (NOW, {"at": "now", "refund": "credit"}):
        for path in (f"{PATH}/cancel?dry_run=true", f"{PATH}/cancel"):
            await customer.refused("PAYMENT_PENDING", "POST", path, body)
    for plan in ("enterprise", "basic"):
        wish = {"plan": plan, "at": "now"}
        await customer.refused("PAYMENT_PENDING", "POST", f"{PATH}/preview", wish)
        await customer.refused("PAYMENT_PENDING", "PUT", PATH, wish)
    await change(customer, plan="basic")

    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")

    await customer.advance(to=HALF)
    assert (await ended(customer))["given_back"] == given(2450, 2450)


async def test_an_end_that_asks_for_nothing_back_waits_for_no_bank(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    payment = await paid_for(customer)
    await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    done = await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert (done["status"], done["given_back"]) == ("canceled", None)
    assert await customer.effects("refund.succeeded") == []


async def test_what_is_owed_falls_and_only_what_was_paid_goes_back(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer("pro", days_until_due=30)
    await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", {"refund": "refund"})
    assert (await ended(customer))["given_back"] is None
    assert await money(customer) == 0


@pytest.mark.parametrize("down", ["growth", "starter", None])
async def test_no_credits_stay_of_a_change_whose_money_went_back(
    actors: Actors, down: str | None
) -> None:
    customer = await begun(actors, "growth")
    await change(customer, plan="scale", at="now")
    await refunded(customer, await paid_for(customer), keep_subscription=True)
    assert await customer.credits() == 1000
    if down:
        await change(customer, plan=down, at="now")
    await ended(customer)
    assert await customer.credits() == 0
