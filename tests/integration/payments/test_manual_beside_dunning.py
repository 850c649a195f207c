"""Money sent by hand beside dunning: it holds the cards back, settles, or leaves them the rest."""

from typing import Any, Final
from uuid import uuid4

import pytest

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Conflict
from billing.money.invoice_requests import card, manual
from tests.integration.actors import Actors, wait_for
from tests.integration.dunning.dunning_setup import attempts, case, overdue, owed, tried
from tests.integration.money_seen import money
from tests.integration.payments.manual_payments import decide, invoice_of, submit

GIVEN_UP: Final = {"void": "void", "mark-uncollectible": "uncollectible"}


async def test_while_an_operator_decides_no_card_is_tried(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    await customer.advance(days=2)
    payment = await submit(customer, debt)
    await customer.advance(days=4)
    assert await tried(customer) == 2, "day 3 has passed"
    assert (await invoice_of(customer, debt))["next_action"] == {"type": "wait"}
    approved = await decide(customer, payment, "approve")
    assert approved["invoice_status"] == "paid"
    assert (await customer.subscription())["status"] == "active"
    assert (await case(customer))["status"] == "recovered"
    assert await customer.credits() == 500


async def test_after_five_days_the_slots_go_on_and_a_late_approval_still_counts(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    payment = await submit(customer, debt)
    await customer.advance(to="2027-02-06T09:59:59Z")
    assert await tried(customer) == 2
    await customer.advance(to="2027-02-06T10:00:00Z")
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0", "attempt-1"]
    shown = await customer.ask("GET", f"/billing/payments/{payment['payment_id']}")
    assert (shown["status"], shown["failure_code"]) == ("canceled", "approval_ended")
    events = (await customer.ask("GET", "/billing/events?limit=100"))["data"]
    told = [one["data"] for one in events if one["type"] == "evt.billing.payment.canceled"]
    ended = [one["failure_code"] for one in told if one["payment_id"] == payment["payment_id"]]
    assert ended == ["approval_ended"]
    approved = await decide(customer, payment, "approve")
    assert (approved["status"], approved["failure_code"]) == ("completed", None)
    assert (await customer.subscription())["status"] == "active"


async def test_reports_without_end_hold_the_cards_back_for_five_days_in_all(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    for day in ("02", "03"):
        payment = await submit(customer, debt)
        await customer.advance(to=f"2027-02-{day}T10:00:00Z")
        await decide(customer, payment, "reject", reason="nothing came")
    await submit(customer, debt)
    await customer.advance(to="2027-02-06T09:59:59Z")
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0"]
    await customer.advance(to="2027-02-06T10:00:00Z")
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0", "attempt-1"]
    await submit(customer, debt)
    await customer.advance(to="2027-02-13T12:00:00Z")
    assert (await customer.subscription())["status"] != "past_due", "it ends as if nobody reported"


async def test_after_a_rejection_the_slots_go_on_at_once(actors: Actors) -> None:
    customer = await overdue(actors)
    payment = await submit(customer, (await owed(customer))["invoice_id"])
    await customer.advance(days=4)
    await decide(customer, payment, "reject", reason="nothing came")
    assert (await attempts(customer))[-1] == ("attempt-1", "declined"), "the slot it held back"


async def test_the_card_collects_what_a_transfer_left_open(actors: Actors) -> None:
    customer = await overdue(actors, "insufficient_funds", "succeed")
    debt = (await owed(customer))["invoice_id"]
    payment = await submit(customer, debt, amount=4000)
    decided = await decide(customer, payment, "approve")
    assert (decided["invoice_status"], decided["amount_remaining"]) == ("open", 900)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=3)
    assert (await customer.subscription())["status"] == "active"
    assert [effect["amount"] for effect in await customer.effects()] == [4900, 900]
    assert (await case(customer))["status"] == "recovered"


async def test_a_rest_that_no_card_can_be_charged_is_carried(actors: Actors) -> None:
    customer = await overdue(actors)
    payment = await submit(customer, (await owed(customer))["invoice_id"])
    decided = await decide(customer, payment, "approve", amount_minor=4880)
    assert (decided["invoice_status"], decided["amount_remaining"]) == ("paid", 0)
    assert await money(customer) == -20
    assert (await customer.subscription())["status"] == "active"
    await customer.script("succeed", then="last")
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert [effect["amount"] for effect in await customer.effects()] == [4900, 4920]
    assert await money(customer) == 0


async def test_a_transfer_is_a_way_out_of_unpaid(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    payment = await submit(customer, (await owed(customer))["invoice_id"])
    await customer.script("succeed", then="last")
    await decide(customer, payment, "approve")
    now = await customer.until_subscription("active")
    assert now["current_period_start"] == "2027-02-01T10:00:00Z", "the period that it paid for"
    assert len(await customer.effects()) == 1, "no card is charged beside it"


async def test_a_first_payment_by_transfer_takes_its_days(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe("pro")
    payment = await submit(customer, begun["latest_invoice_id"])
    await customer.advance(days=3)
    assert (await customer.subscription())["status"] == "incomplete", "not expired after 23 hours"
    await decide(customer, payment, "approve")
    assert (await customer.subscription())["status"] == "active"
    assert await customer.credits() == 500


async def test_a_first_payment_that_was_refused_expires(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe("pro")
    payment = await submit(customer, begun["latest_invoice_id"])
    await customer.advance(days=3)
    await decide(customer, payment, "reject", reason="nothing came")
    assert (await customer.subscription())["status"] == "incomplete_expired"


async def test_a_first_payment_that_ended_before_its_try_began_can_be_reported(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock()
    begun = await customer.subscribe("pro")
    await customer.advance(days=3)
    assert (await customer.subscription())["status"] == "incomplete_expired"
    # As if the worker had been away when it was asked for.
    await customer.rows(
        "UPDATE invoices SET pay_requests = 1, pay_requested_at = created_at WHERE id = %(debt)s",
        debt=ids.decode(ids.INVOICE, begun["latest_invoice_id"]),
    )
    payment = await submit(customer, begun["latest_invoice_id"])
    assert payment["status"] == "pending_approval"


async def test_a_decline_on_its_way_while_a_transfer_is_submitted_is_not_lost(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds", "lost_card")
    debt = (await owed(customer))["invoice_id"]
    owner = await customer.stripe_customer()
    await actors.sandbox.fault(
        "slow", path="/v1/payment_intents/*/confirm", customer=owner, seconds=1
    )
    await customer.aim_clock(to="2027-02-04T10:00:00Z")

    async def trying() -> bool:
        return (await attempts(customer))[-1] == ("attempt-1", "pending")

    await wait_for(trying, "the card is being tried", bool)
    await submit(customer, debt)
    await customer.advance(to="2027-02-04T10:00:01Z")
    assert await attempts(customer) == [("attempt-0", "declined"), ("attempt-1", "declined")]
    [card] = await customer.rows(
        "SELECT barred_at IS NOT NULL AS barred FROM payment_methods WHERE account_id = %(me)s"
    )
    assert card["barred"], "the bank said: do not try again"


async def test_a_transfer_whose_wait_has_ended_stays_on_the_list_of_operators(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    payment = await submit(customer, (await owed(customer))["invoice_id"])

    async def listed() -> list[tuple[str, str]]:
        path = f"/admin/payments?undecided=true&account_id={customer.id}"
        found = (await actors.operate("GET", path))["data"]
        return [(one["payment_id"], one["status"]) for one in found]

    assert await listed() == [(payment["payment_id"], "pending_approval")]
    await customer.advance(days=6)
    assert await listed() == [(payment["payment_id"], "canceled")]
    await decide(customer, payment, "reject", reason="nothing came")
    assert await listed() == []
    second = await submit(customer, (await owed(customer))["invoice_id"])
    await wait_for(listed, "it holds up nothing", lambda seen: seen[0][1] == "canceled")
    await decide(customer, second, "approve")
    assert await listed() == []


@pytest.mark.parametrize("act", ["forgive", "void", "mark-uncollectible", "credit-note", "lines"])
async def test_a_debt_with_a_reported_transfer_is_not_given_up_before_that_is_decided(
    actors: Actors, act: str
) -> None:
    customer = await overdue(actors)
    debt = (await owed(customer))["invoice_id"]
    payment = await submit(customer, debt)
    path, body = f"/admin/invoices/{debt}/{act}", dict[str, Any](reason="goodwill")
    if act == "forgive":
        path = f"/admin/dunning/{(await case(customer))['dunning_case_id']}/forgive"
    if act == "lines":
        path = f"/admin/invoices/{debt}/credit-note"
        body |= {"lines": [{"position": 1, "amount_cents": 4900}]}
    if act == "credit-note":
        part = body | {"amount_cents": 900}
        await actors.operate("POST", path, part, key=str(uuid4()), status=200)
        body |= {"amount_cents": 4000}
    answer = await actors.operate("POST", path, body, key=str(uuid4()), status=409)
    assert answer["code"] == "PAYMENT_PENDING"
    assert "approve or reject" in answer["detail"]
    assert (await invoice_of(customer, debt))["status"] == "open"
    await decide(customer, payment, "reject", reason="nothing came")
    await actors.operate("POST", path, body, key=str(uuid4()), status=200)
    assert (await invoice_of(customer, debt))["status"] == GIVEN_UP.get(act, "paid")


async def test_a_transfer_is_not_reported_before_the_try_that_was_asked_for(
    actors: Actors, database: Database
) -> None:
    """The card was charged for it days later, once the report was rejected."""
    customer = await overdue(actors)
    debt, at = ids.decode(ids.INVOICE, (await owed(customer))["invoice_id"]), real_now()
    async with database.tenant(customer.uuid) as connection:
        await card.retry_now(connection, debt, at, suffix="x")
        with pytest.raises(Conflict) as refused:
            await manual.submit(
                connection, debt, payment_id=ids.new(), method="wire", reference="r-1",
                amount_minor=None, currency=None, at=at,
            )  # fmt: skip
    assert refused.value.code == "PAYMENT_PENDING"
