"""Operators' commands on invoices: void, uncollectible, credit notes, money from outside."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from billing.core import ids
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import use
from tests.integration.arrears.test_voids import basic
from tests.integration.dunning.dunning_setup import overdue, owed, tried
from tests.integration.invoices.operator_commands import commanded
from tests.integration.invoices.test_documents import fetched, text_of
from tests.integration.locked import held, waiting
from tests.integration.lost_answers import lose_answer
from tests.integration.money_seen import money, newest_invoice
from tests.integration.stack.test_commands import billing

WHY = {"reason": "never ordered"}


def from_outside(amount: int, **more: Any) -> Json:
    """Money from outside."""
    return {"amount_cents": amount, "reference": f"TRX-{uuid4().hex[:10]}"} | more


async def test_an_act_for_another_shop_is_refused(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    payment = (await customer.rows("SELECT id FROM payments WHERE account_id = %(me)s"))[0]["id"]
    case = (await customer.rows("SELECT id FROM dunning_cases WHERE account_id = %(me)s"))[0]["id"]
    subscription = (await customer.subscription())["subscription_id"]
    limited = {"account_id": customer.id, "feature_type": "chat_messages", "limit": "5"}
    quota = await actors.operate("PUT", "/admin/quotas", limited)
    dunning = f"dunning/{ids.encode(ids.DUNNING_CASE, case)}"
    paid = f"payments/{ids.encode(ids.PAYMENT, payment)}"
    steered = WHY | {"act": "forgive", "subscription_ids": [subscription]}
    for method, path, body in (
        ("POST", f"invoices/{debt['invoice_id']}/void", WHY),
        ("GET", dunning, None),
        ("POST", f"{dunning}/forgive", WHY),
        ("POST", f"{paid}/reject", WHY),
        ("POST", f"{paid}/refund", WHY),
        ("GET", f"{paid}/refunds", None),
        ("POST", f"{paid}/check", None),
        ("GET", f"matters/subscription/{subscription}", None),
        ("POST", f"matters/subscription/{subscription}/resume", None),
        ("POST", "subscriptions/steer", steered),
        ("DELETE", f"quotas/{quota['quota_id']}", None),
    ):
        headers = actors.headers("*", "admin", str(uuid4())) | {"X-Shop-Domain": "other.example"}
        url = f"/api/v1/admin/{path}"
        answer = await actors.client.request(method, url, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "PLATFORM_MISMATCH"), path
    assert await actors.operate("DELETE", f"/admin/quotas/{quota['quota_id']}") == quota
    assert (await newest_invoice(customer))["status"] == "open"


async def test_a_void_invoice_is_taken_back_whole_and_asked_of_nobody(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    await commanded(customer, debt, "record-payment", from_outside(1000))
    assert (await customer.published()).count("evt.billing.payment.recorded") == 1
    key = str(uuid4())
    voided = await commanded(customer, debt, "void", WHY, key=key)
    assert (voided["status"], voided["amount_remaining"]) == ("void", 0)
    assert voided["invoice_number"] == debt["invoice_number"]
    [note] = voided["credit_notes"]
    assert (note["kind"], note["amount"], note["reason"]) == ("void", 4900, "never ordered")
    assert await money(customer) == 1000
    assert voided["dunning"]["status"] == "canceled"
    assert (await customer.subscription())["status"] == "active"
    assert await commanded(customer, debt, "void", WHY, key=key) == voided
    refused = await commanded(customer, debt, "void", WHY, status=409)
    assert refused["code"] == "INVOICE_STATE"
    paper, _ = await fetched(customer, f"/billing/credit-notes/{note['credit_note_id']}/pdf")
    for words in ("Credit note", note["number"], debt["invoice_number"], "49.00 USD", "never"):
        assert words in text_of(paper)
    before = await tried(customer)
    await customer.advance(days=10)
    assert await tried(customer) == before, "no card is tried for it any more"


async def test_a_void_invoice_gives_back_what_was_carried_to_it(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    path = f"/admin/accounts/{customer.id}/balance/adjust"
    owed_there = {"amount_cents": -300, "reason": "an old debt"}
    headers = actors.headers("*", "admin", str(uuid4()))
    answer = await actors.client.post(f"/api/v1{path}", json=owed_there, headers=headers)
    assert answer.status_code == 201
    await customer.script("insufficient_funds", then="last")
    await customer.advance(days=31)
    debt = await newest_invoice(customer)
    assert (debt["total"], debt["amount_due"]) == (4900, 5200)
    await commanded(customer, debt, "void", WHY)
    assert await money(customer) == -300


async def test_a_given_up_invoice_can_still_be_paid_from_outside(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    marked = await commanded(customer, debt, "mark-uncollectible", WHY)
    assert (marked["status"], marked["dunning"]["status"]) == ("uncollectible", "exhausted")
    assert (await customer.subscription())["status"] == "active"
    again = await commanded(customer, debt, "mark-uncollectible", WHY, status=409)
    assert again["code"] == "INVOICE_STATE"
    paid = await commanded(
        customer,
        debt,
        "record-payment",
        from_outside(4900, received_on="2027-01-31", reference="TRX-1"),
    )
    assert (paid["status"], paid["amount_paid"]) == ("paid", 4900)
    receipt, _ = await fetched(customer, f"/billing/invoices/{debt['invoice_id']}/receipt")
    assert "bank transfer TRX-1, 31 Jan 2027 49.00 USD" in text_of(receipt)


async def test_money_from_outside_is_booked_and_dunning_notices_at_once(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    key = str(uuid4())
    partly = await commanded(customer, debt, "record-payment", from_outside(1900), key=key)
    assert (partly["status"], partly["amount_remaining"]) == ("open", 3000)
    assert partly["dunning"]["status"] == "open"
    assert await commanded(
        customer, debt, "record-payment", from_outside(1900), key=key, status=422
    )
    paid = await commanded(customer, debt, "record-payment", from_outside(3500))
    assert (paid["status"], paid["amount_paid"]) == ("paid", 4900)
    assert paid["dunning"]["status"] == "recovered"
    assert (await customer.subscription())["status"] == "active"
    assert await money(customer) == 500
    refused = await commanded(customer, debt, "record-payment", from_outside(1), status=409)
    assert refused["code"] == "INVOICE_ALREADY_PAID"


async def test_odd_money_from_outside_is_refused(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    for body, code, status in (
        (from_outside(100, currency="EUR"), "CURRENCY_MISMATCH", 409),
        (from_outside(100, received_on="2027-02-02"), "INVALID_DATE", 422),
        (from_outside(100, received_on=86400), "VALIDATION_FAILED", 422),
        (from_outside(0), "VALIDATION_FAILED", 422),
        (from_outside(100, reference="4242 4242 4242 4242"), "VALIDATION_FAILED", 422),
    ):
        refused = await commanded(customer, debt, "record-payment", body, status=status)
        assert refused["code"] == code
        assert refused.get("currency") == ("USD" if code == "CURRENCY_MISMATCH" else None)
    await commanded(customer, debt, "record-payment", from_outside(100, reference="TWICE"))
    refused = await commanded(
        customer, debt, "record-payment", from_outside(100, reference="TWICE"), status=409
    )
    assert refused["code"] == "PAYMENT_REFERENCE_USED"
    assert (await owed(customer))["amount_paid"] == 100


async def test_money_that_came_today_is_recorded_where_today_has_begun(actors: Actors) -> None:
    customer = await overdue(actors, zone="Asia/Tokyo")
    await customer.advance(to="2027-02-01T23:00:00Z")
    debt = await owed(customer)
    late = from_outside(100, received_on="2027-02-03")
    refused = await commanded(customer, debt, "record-payment", late, status=422)
    assert refused["code"] == "INVALID_DATE"
    await commanded(customer, debt, "record-payment", from_outside(100, received_on="2027-02-02"))


async def test_money_that_came_today_is_recorded_by_the_days_of_receipts_too(
    actors: Actors,
) -> None:
    customer = await overdue(actors, zone="America/New_York")
    await customer.advance(to="2027-02-03T01:00:00Z")
    debt = await owed(customer)
    today = from_outside(debt["amount_remaining"], received_on="2027-02-03")
    await commanded(customer, debt, "record-payment", today)
    listed = (await customer.ask("GET", "/billing/payments"))["data"]
    [recorded] = [one for one in listed if one["provider"] == "manual"]
    assert recorded["received_on"] == "2027-02-03"


async def test_a_credit_note_takes_back_debt_first_and_then_money(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    body: Json = {"amount_cents": 900, "reason": "a bad month"}
    key = str(uuid4())
    less = await commanded(customer, debt, "credit-note", body, key=key)
    assert await commanded(customer, debt, "credit-note", body, key=key) == less
    assert (less["amount_remaining"], less["status"]) == (4000, "open")
    assert await money(customer) == 0
    path = "/billing/events?type=evt.billing.invoice.credited"
    [told] = (await customer.ask("GET", path))["data"]
    assert (told["data"]["amount_cents"], told["data"]["amount_minor"]) == (900, 900)
    kept_money: Json = {"amount_cents": 500, "reason": "sorry", "to": "balance"}
    refused = await commanded(customer, debt, "credit-note", kept_money, status=409)
    assert (refused["code"], refused["left_cents"]) == ("CREDIT_NOTE_TOO_LARGE", 0)
    await commanded(customer, debt, "record-payment", from_outside(500))
    kept = await commanded(customer, debt, "credit-note", kept_money)
    parts = [
        (one["data"]["credited_cents"], one["data"]["balance_cents"])
        for one in (await customer.ask("GET", path))["data"]
    ]
    assert parts == [(900, 0), (0, 500)], "off the debt, and to the balance"
    assert kept["amount_remaining"] == 3500
    assert await money(customer) == 500
    line = {"position": 1, "amount_cents": 3400}
    rest = await commanded(customer, debt, "credit-note", {"lines": [line], "reason": "most of it"})
    assert (rest["amount_remaining"], rest["status"]) == (100, "open")
    for body, code in (
        ({"amount_cents": 101, "reason": "more"}, "CREDIT_NOTE_TOO_LARGE"),
        ({"lines": [{"position": 2, "amount_cents": 1}], "reason": "none"}, "INVALID_AMOUNT"),
        ({"lines": [line], "reason": "twice"}, "INVALID_AMOUNT"),
        ({"reason": "how much?"}, "VALIDATION_FAILED"),
    ):
        answer = await customer.actors.client.post(
            f"/api/v1/admin/invoices/{debt['invoice_id']}/credit-note",
            json=body,
            headers=actors.headers("*", "admin", str(uuid4())),
        )
        assert answer.json()["code"] == code, answer.text
    listed = await customer.ask("GET", f"/billing/invoices/{debt['invoice_id']}/credit-notes")
    assert [one["amount"] for one in listed["data"]] == [3400, 500, 900]
    assert listed["data"] == (await customer.ask("GET", "/billing/credit-notes"))["data"]


@pytest.mark.parametrize(
    "part", [{"amount_cents": 4900}, {"lines": [{"position": 1, "amount_cents": 4900}]}]
)
async def test_a_credit_note_over_all_that_was_not_answered_is_written_once(
    actors: Actors, part: Json
) -> None:
    customer = await overdue(actors)
    debt, key = await owed(customer), str(uuid4())
    body = part | {"reason": "never served"}
    credited = await commanded(customer, debt, "credit-note", body, key=key)
    await lose_answer(actors, key)
    assert await commanded(customer, debt, "credit-note", body, key=key) == credited
    listed = await customer.ask("GET", "/billing/credit-notes")
    assert [one["amount"] for one in listed["data"]] == [4900]


async def test_a_paid_invoice_is_credited_to_the_money_balance(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    paid = await newest_invoice(customer)
    credited = await commanded(
        customer, paid, "credit-note", {"amount_cents": 700, "reason": "an outage"}
    )
    assert (credited["status"], credited["amount_credited"]) == ("paid", 0)
    assert await money(customer) == 700
    refused = await commanded(customer, paid, "void", WHY, status=409)
    assert refused["code"] == "INVOICE_STATE"
    await customer.advance(days=31)
    assert (await newest_invoice(customer))["balance_applied"] == 700


async def test_two_notes_at_once_do_not_credit_one_line_twice(actors: Actors) -> None:
    customer = await basic(actors)
    await use(customer, "600")
    await customer.advance(days=31)
    paid = await newest_invoice(customer)
    assert [one["total"] for one in paid["line_items"]] == [1900, 200]
    body = {"lines": [{"position": 2, "amount_cents": 200}], "reason": "an outage"}
    path = f"/api/v1/admin/invoices/{paid['invoice_id']}/credit-note"

    async def note() -> Json:
        headers = actors.headers("*", "admin", str(uuid4()))
        answer: Json = (await actors.client.post(path, json=body, headers=headers)).json()
        return answer

    async with held(customer):
        notes = [asyncio.create_task(note()) for _ in range(2)]
        await waiting(customer, 2)
    refused = [answer.get("code") for answer in await asyncio.gather(*notes)]
    assert sorted(refused, key=str) == ["INVALID_AMOUNT", None]
    assert await money(customer) == 200


async def test_an_invoice_of_a_pack_is_credited_to_the_balance(customer: Customer) -> None:
    bought = await customer.bought()
    body = {"amount_cents": 1, "reason": "goodwill"}
    await commanded(customer, bought, "credit-note", body, status=200)
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 1
    assert await customer.credits() == 100


async def test_the_command_line_gives_the_same_commands(actors: Actors) -> None:
    customer = await overdue(actors)
    debt = await owed(customer)
    said = ("--amount-cents", "4900", "--reason", "never ordered", "--key", str(uuid4()))
    for name in (debt["invoice_number"], debt["invoice_id"]):
        done = await asyncio.to_thread(billing, actors.stack, "invoice", "credit", name, *said)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "paid, 0 minor units of USD to be paid" in done.stdout
        assert "49.00 USD credited: 49.00 USD off what was owed, 0.00 USD to" in done.stdout
    assert (await newest_invoice(customer))["amount_credited"] == 4900
    refused = await asyncio.to_thread(billing, actors.stack, "invoice", "void", "INV-0", *said[2:])
    assert (refused.returncode, refused.stderr.strip()) == (
        1, "INVOICE_NOT_FOUND: no invoice has the id or number INV-0",
    )  # fmt: skip


async def test_the_command_line_tells_what_was_credited_and_where_it_went(
    customer: Customer,
) -> None:
    bought = await customer.bought()
    words = ("invoice", "credit", bought["invoice_id"], "--reason", "goodwill", "--amount-cents")
    lines = list[str]()
    for cents in ("100", "250"):
        done = await asyncio.to_thread(billing, customer.actors.stack, *words, cents)
        assert done.returncode == 0, done.stderr + done.stdout
        lines.append(done.stdout.strip().splitlines()[-1].partition(": ")[2])
    back = "to the money balance or the payer"
    assert lines == [
        f"1.00 USD credited: 0.00 USD off what was owed, 1.00 USD {back}",
        f"2.50 USD credited; with the notes before it: 0.00 USD off what was owed, 3.50 USD {back}",
    ]
    assert await money(customer) == 350


async def test_the_command_line_names_the_invoice_that_the_money_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    draft, late = [await customer.buy("small", "manual", key=str(uuid4())) for _ in range(2)]

    async def recorded(bought: Json, cents: str) -> str:
        said = ("--amount-cents", cents, "--reference", f"TRX-{cents}")
        words = ("invoice", "record-payment", bought["invoice_id"], *said)
        done = await asyncio.to_thread(billing, actors.stack, *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip().splitlines()[-1]

    left = await recorded(draft, "500")
    assert left == f"{draft['invoice_id']}: draft, 499 minor units of USD to be paid"
    await customer.advance(days=15)
    paid = await recorded(late, "999")
    assert paid.endswith(": paid, 0 minor units of USD to be paid")
    assert paid.startswith((await newest_invoice(customer))["invoice_number"])
