"""A recovery ends with the credit note that takes all its invoice owes, whoever writes the note."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.changes.chosen_plans import LATER, PATH, change, told
from tests.integration.dunning.dunning_setup import START, case, overdue, owed, read_case, steer
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import invoice_of
from tests.integration.payments.test_bank_debits import debited, settle
from tests.integration.payments.test_money_balance import adjust
from tests.integration.payments.test_transfers import approved, sent

WISHES: list[dict[str, Any]] = [{"plan": "enterprise"}, {"interval": "year"}]


async def changing(actors: Actors, wish: Json) -> tuple[Customer, Json, Json]:
    """A renewal whose debit has failed while a change, which its payer confirms later, waits."""
    customer = await debited(actors, "pm_usBankAccount_insufficientFunds")
    asked = await customer.ask("PUT", PATH, wish | {"payment_method": "card"}, status=200)
    await settle(customer)
    await customer.until_subscription("past_due")
    return customer, asked, await owed(customer)


async def until_paid(customer: Customer, invoice: str) -> Json:
    return await wait_for(
        lambda: invoice_of(customer, invoice),
        "it is settled",
        lambda seen: seen["status"] == "paid",
    )


@pytest.mark.parametrize("wish", WISHES, ids=["upgrade", "year"])
async def test_a_change_that_credits_the_renewal_ends_its_recovery(
    actors: Actors, wish: Json
) -> None:
    customer, asked, renewal = await changing(actors, wish)
    opened = await case(customer)
    assert (opened["status"], opened["invoice_id"]) == ("open", renewal["invoice_id"])

    await customer.pay(asked)

    settled = await until_paid(customer, renewal["invoice_id"])
    assert settled["amount_paid"] == 0
    await customer.until_subscription("active")
    closed = await read_case(customer, opened["dunning_case_id"])
    assert (closed["status"], closed["next_step"]) == ("canceled", None)
    [event] = await told(customer, "dunning.canceled")
    assert event["invoice_id"] == renewal["invoice_id"]
    await check_books(customer)


async def test_a_card_that_was_opened_for_the_renewal_is_called_back(actors: Actors) -> None:
    customer, asked, renewal = await changing(actors, WISHES[0])
    path = f"/billing/invoices/{renewal['invoice_id']}/pay"
    await customer.ask("POST", path, {"payment_method": "card"}, key="k", status=200)

    await customer.pay(asked)

    await until_paid(customer, renewal["invoice_id"])
    of_renewal = (await wait_for(
        lambda: invoice_of(customer, renewal["invoice_id"]), "it is called back",
        lambda seen: all(one["status"] == "canceled" for one in seen["payments"]),
    ))["payments"]  # fmt: skip
    assert len(of_renewal) == 1
    assert (await case(customer))["status"] == "canceled"


async def test_an_end_that_credits_the_renewal_ends_its_recovery(actors: Actors) -> None:
    customer = await overdue(actors)
    renewal = (await owed(customer))["invoice_id"]
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    await until_paid(customer, renewal)
    assert (await case(customer))["status"] == "canceled"
    assert len(await told(customer, "dunning.canceled")) == 1


async def test_forgiving_ends_a_recovery_that_an_earlier_release_left_open(actors: Actors) -> None:
    customer = await overdue(actors)
    renewal = (await owed(customer))["invoice_id"]
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    await until_paid(customer, renewal)
    await customer.rows(
        "UPDATE dunning_cases SET status = 'open', closed_at = NULL, close_reason = NULL"
        " WHERE account_id = %(me)s RETURNING id"
    )

    closed = await steer(customer, "forgive", {"reason": "nothing is owed"})

    assert (closed["status"], closed["close_reason"]) == ("canceled", "nothing is owed")
    assert len((await customer.ask("GET", "/billing/credit-notes"))["data"]) == 1
    await check_books(customer)
    refused = await steer(customer, "forgive", {"reason": "once more"}, status=409)
    assert refused["code"] == "INVOICE_STATE"


async def forgiven(customer: Customer) -> None:
    await steer(customer, "forgive", {"reason": "our fault"})


async def credited(customer: Customer) -> None:
    due = await owed(customer)
    note = {"amount_cents": due["amount_remaining"], "reason": "our fault"}
    await commanded(customer, due, "credit-note", note)


@pytest.mark.parametrize("settle_it", [forgiven, credited])
async def test_a_change_that_also_charges_a_debt_is_settled_by_one_note(
    actors: Actors, settle_it: Callable[[Customer], Awaitable[None]]
) -> None:
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer("basic", days_until_due=5)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    await adjust(customer, -1000)
    await customer.advance(to=LATER)
    await change(customer, plan="pro", at="now")
    due = await owed(customer)
    assert due["amount_remaining"] == due["total"] + 1000
    await customer.advance(days=6)
    assert (await case(customer))["status"] == "open"

    await settle_it(customer)

    settled = await invoice_of(customer, due["invoice_id"])
    assert (settled["status"], settled["amount_remaining"]) == ("paid", 0)
    assert [one["amount"] for one in settled["credit_notes"]] == [due["amount_remaining"]]
    assert await money(customer) == 0
    assert (await case(customer))["status"] == "forgiven"
    assert (await customer.subscription())["status"] == "active"
    await check_books(customer)


async def test_a_note_that_leaves_too_little_for_a_card_waits_for_the_bank(actors: Actors) -> None:
    customer = await debited(actors, "pm_usBankAccount_success")
    due = await owed(customer)
    for rest, status in ((20, 409), (0, 409), (100, 200)):
        note = {"amount_cents": due["amount_remaining"] - rest, "reason": "our fault"}
        answer = await commanded(customer, due, "credit-note", note, status=status)
        assert answer.get("code") == ("PAYMENT_PENDING" if status == 409 else None)
    assert (await owed(customer))["amount_remaining"] == 100
