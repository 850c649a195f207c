"""Money goes back to its payer: by an operator's word, or made at the provider."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.overage_uses import RENEWAL, START, use
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money, newest_invoice
from tests.integration.operator_acts import check_books, void
from tests.integration.operators.test_matters import taken
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.payments.test_money_balance import adjust
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import WHY, paid_for, refunded, shown
from tests.integration.stack.test_commands import billing


async def test_a_payment_goes_back_in_parts_until_nothing_is_left(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment, key = await paid_for(customer), str(uuid4())
    first = await refunded(customer, payment, 333, key=key)
    assert first["status"] == "succeeded"
    assert {name: told for name, told in first.items() if isinstance(told, int)} == {
        "amount_cents": 333, "credited_cents": 333, "from_balance_cents": 0,
    }, "each sum once"  # fmt: skip
    assert await refunded(customer, payment, 333, key=key) == first, "once per key"
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 333)
    assert (invoice["status"], invoice["amount_refunded"], invoice["amount_paid"]) == (
        "paid", 333, 999,
    )  # fmt: skip
    [note] = invoice["credit_notes"]
    assert (note["kind"], note["amount"], note["reason"]) == ("refund", 333, WHY["reason"])
    assert (invoice["amount_credited"], invoice["credit_notes_total"]) == (0, 333)
    assert await customer.credits() == Decimal("66.666667")
    too_much = await refunded(customer, payment, 667, status=409)
    assert (too_much["code"], too_much["left_cents"]) == ("REFUND_TOO_LARGE", 666)
    rest = await refunded(customer, payment)
    assert rest["amount_cents"] == 666
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 999)
    assert sum(note["amount"] for note in invoice["credit_notes"]) == 999
    assert await customer.credits() == 0
    nothing = await refunded(customer, payment, 1, status=409)
    assert nothing["left_cents"] == 0
    moved = [one["amount"] for one in await customer.effects("refund.succeeded")]
    assert moved == [333, 666]
    path = "/billing/events?type=evt.billing.invoice.credited"
    parts = [one["data"] for one in (await customer.ask("GET", path))["data"]]
    assert [
        (one["amount_cents"], one["credited_cents"], one["balance_cents"]) for one in parts
    ] == [(333, 0, 0), (666, 0, 0)], "all of it went back to the payer"
    told = await customer.published()
    assert told.count("evt.billing.refund.succeeded") == 2
    assert told.count("evt.billing.payment.refunded") == 1
    assert told.count("evt.billing.purchase.refunded") == 1


async def test_a_pack_paid_in_two_parts_is_refunded_once_both_went_back(actors: Actors) -> None:
    customer = await actors.customer()
    begun = await customer.buy("small", "manual")
    paid = []
    for cents in (400, 599):
        transfer = await submit(customer, begun["invoice_id"], amount=cents)
        paid.append(await decide(customer, transfer, "approve"))
    await customer.until_purchase(begun["purchase_id"], "completed")
    for payment, status in zip(paid, ("completed", "refunded"), strict=True):
        await refunded(customer, payment)
        assert (await shown(customer, payment))[0]["status"] == "refunded"
        assert (await customer.purchase(begun["purchase_id"]))["status"] == status
        told = (await customer.published()).count("evt.billing.purchase.refunded")
        assert told == (status == "refunded")


@pytest.mark.parametrize("note_first", [False, True])
async def test_a_pack_paid_partly_by_the_balance_is_refunded_once_both_parts_went_back(
    actors: Actors, note_first: bool
) -> None:
    customer = await actors.customer()
    await adjust(customer, 400)
    bought = await customer.bought("small")
    payment = await paid_for(customer)

    async def by_card() -> None:
        await refunded(customer, payment)
        assert (await shown(customer, payment))[0]["status"] == "refunded"

    async def by_note() -> None:
        note = WHY | {"amount_cents": 400, "to": "balance"}
        await commanded(customer, await newest_invoice(customer), "credit-note", note)

    first, second = (by_note, by_card) if note_first else (by_card, by_note)
    await first()
    assert (await customer.purchase(bought["purchase_id"]))["status"] == "completed"
    await second()
    assert (await customer.purchase(bought["purchase_id"]))["status"] == "refunded"
    assert (await customer.published()).count("evt.billing.purchase.refunded") == 1
    assert await money(customer) == 400


async def test_the_credits_of_a_corrected_price_go_with_all_its_money(actors: Actors) -> None:
    """Also with the part that a credit note had put on the money balance."""
    customer = await actors.customer()
    await customer.bought("medium")
    payment = await paid_for(customer)
    note = WHY | {"amount_cents": 1600, "to": "balance"}
    await commanded(customer, await newest_invoice(customer), "credit-note", note)
    assert await money(customer) == 1600
    assert await customer.credits() == 500
    rest = await refunded(customer, payment)
    assert (rest["credited_cents"], rest["from_balance_cents"]) == (2399, 1600)
    seen, _ = await shown(customer, payment)
    assert (seen["status"], await money(customer)) == ("refunded", 0)
    assert await customer.credits() == 0
    await check_books(customer)


async def test_money_that_came_by_hand_goes_back_by_hand_or_to_the_balance(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribe_by_transfer("pro")
    invoice = await newest_invoice(customer)
    paper = {"amount_cents": 5400, "reference": f"TRX-{uuid4().hex[:10]}"}
    await commanded(customer, invoice, "record-payment", paper)
    assert await money(customer) == 500
    payment, granted = await paid_for(customer), await customer.credits()
    spare = await refunded(customer, payment, 500, reference="OUT-1")
    assert (spare["method"], spare["credited_cents"], spare["from_balance_cents"]) == (
        "outside", 0, 500,
    )  # fmt: skip
    assert (await money(customer), await customer.credits()) == (0, granted)
    half = await refunded(customer, payment, 2450, to="balance")
    assert (half["method"], half["credited_cents"]) == ("balance", 2450)
    assert await money(customer) == 2450
    assert await customer.credits() == granted / 2
    refused = await refunded(customer, payment, 2451, to="balance", status=409)
    assert refused["left_cents"] == 2450
    goodwill = {"amount_cents": 2450, "reason": "goodwill", "to": "balance"}
    await commanded(customer, invoice, "credit-note", goodwill)
    assert await money(customer) == 4900
    rest = await refunded(customer, payment)
    assert (rest["amount_cents"], rest["credited_cents"], rest["from_balance_cents"]) == (
        2450, 0, 2450,
    )  # fmt: skip
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("refunded", 5400)
    assert sum(note["amount"] for note in invoice["credit_notes"]) == 4900
    told = await customer.rows(
        "SELECT data ->> 'method' AS method FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.refund.succeeded' ORDER BY seq"
    )
    assert [one["method"] for one in told] == ["outside", "balance", "outside"]
    assert await customer.effects("refund.succeeded") == []


async def test_a_refund_on_its_way_holds_its_room_and_a_failed_one_gives_it_back(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    card = (await customer.effects("charge.succeeded"))[0]["customer"]
    await actors.sandbox.script(card, "requires_action", "failed", purpose="refund")
    waiting = await refunded(customer, payment, 600, status=202)
    assert waiting["status"] == "processing"
    assert await customer.credits() == 100
    refused = await refunded(customer, payment, 400, status=409)
    assert refused["left_cents"] == 399
    late = await refunded(customer, payment, 399)
    assert late["status"] in ("succeeded", "failed"), "the bank sends it back a moment later"

    await wait_for(lambda: money(customer), "the money came back", lambda cents: cents == 399)
    seen, invoice = await shown(customer, payment)
    assert (seen["status"], seen["amount_refunded"]) == ("succeeded", 0)
    assert [note["amount"] for note in invoice["credit_notes"]] == [399]
    again = await refunded(customer, payment, 399)
    assert (again["status"], again["credited_cents"], again["from_balance_cents"]) == (
        "succeeded", 0, 399,
    )  # fmt: skip
    assert await money(customer) == 0
    listed = await actors.operate("GET", f"/admin/payments/{payment['payment_id']}/refunds")
    assert [
        (one["status"], one["amount_cents"], one["credited_cents"], one["from_balance_cents"])
        for one in listed["data"]
    ] == [("succeeded", 399, 0, 399), ("failed", 399, 399, 0), ("processing", 600, 600, 0)], (
        "a note that was written stands"
    )


async def test_the_balance_gave_nothing_to_a_refund_that_its_bank_returned(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    await adjust(customer, 300)
    card = (await customer.effects("charge.succeeded"))[0]["customer"]
    await actors.sandbox.script(card, "failed", "failed", purpose="refund")
    await refunded(customer, payment, 699)
    await wait_for(lambda: money(customer), "it is back", lambda cents: cents == 300 + 699)
    await refunded(customer, payment)
    await wait_for(lambda: money(customer), "it is back", lambda cents: cents == 300 + 999)
    listed = await actors.operate("GET", f"/admin/payments/{payment['payment_id']}/refunds")
    assert [
        (one["status"], one["amount_cents"], one["credited_cents"], one["from_balance_cents"])
        for one in listed["data"]
    ] == [("failed", 999, 300, 0), ("failed", 699, 699, 0)], "the notes stand"


async def test_a_refund_that_the_provider_refuses_credits_nothing(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment = await paid_for(customer)
    await adjust(customer, 500)
    await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=300)
    await disputed(actors, customer, "open")
    failed = await refunded(customer, payment, 200)
    assert (failed["status"], failed["amount_cents"]) == ("failed", 200)
    assert (failed["credited_cents"], failed["from_balance_cents"]) == (0, 0)
    _, invoice = await shown(customer, payment)
    assert invoice["credit_notes"] == []


async def test_a_part_goes_back_once_where_stripe_keeps_a_failure_under_its_key(
    actors: Actors,
) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    payment, owner = await paid_for(customer), {"account": customer.id}
    for fault, keys in (
        ("error_500_stored", {"refund", "again-2"}),
        ("error_500_after", {"refund"}),
    ):
        plan = await actors.sandbox.fault(fault, path="/v1/refunds", method="POST", metadata=owner)
        part = await refunded(customer, payment, 333)
        assert part["status"] == "succeeded"
        asked = await actors.sandbox.requests(name="POST /v1/refunds", metadata=owner)
        mine = [one["key"] for one in asked if one["key"].startswith(part["refund_id"])]
        assert {key.rpartition("/")[2] for key in mine} == keys
        assert await actors.sandbox.clear("faults", plan) == 1
    rest = await refunded(customer, payment)
    moved = [one["amount"] for one in await customer.effects("refund.succeeded")]
    assert (rest["amount_cents"], moved) == (333, [333, 333, 333])


async def test_a_halted_reversal_gives_back_what_a_cancellation_refunds(actors: Actors) -> None:
    """Nobody told it: the refund waited for its next try, up to an hour later."""
    customer = await actors.customer()
    await customer.subscribed("basic")
    payment, owner = await paid_for(customer), {"account": customer.id}
    name, intent = f"reversal/{payment['payment_id']}", payment["stripe_payment_intent_id"]
    charge = {"id": "ch_1", "object": "charge", "payment_intent": intent, "metadata": owner}
    await actors.sandbox.webhooks("delay", metadata=owner, types=["charge.refunded"], seconds=1)
    event = await actors.sandbox.emit("charge.refunded", charge)

    async def status() -> str:
        kind = "SELECT status FROM matters WHERE workflow_id = %(name)s"
        return "".join(one["status"] for one in await customer.rows(kind, name=name))

    async with taken(customer, f"{payment['payment_id']}/{event['id']}"):
        await wait_for(status, "it is halted", lambda seen: seen == "halted")

    ends = {"at": "now", "refund": "refund"}
    await customer.ask("POST", "/billing/subscription/cancel", ends, status=200)

    await wait_for(
        lambda: customer.effects("refund.succeeded"), "its money goes back",
        lambda seen: [one["amount"] for one in seen] == [1900],
    )  # fmt: skip
    await wait_for(status, "it has gone on", lambda seen: seen == "closed")


async def test_an_operator_gives_money_back_by_the_command_line(actors: Actors) -> None:
    customer = await actors.customer()
    await customer.bought("small")
    words = ("refund", (await paid_for(customer))["payment_id"], "--reason", "a wish")
    part = billing(actors.stack, *words, "--amount-cents", "333")
    assert part.returncode == 0, part.stderr
    assert part.stdout.strip().endswith(": succeeded, 333 minor units of USD")
    rest = billing(actors.stack, *words, "--keep-subscription")
    assert rest.stdout.strip().endswith(": succeeded, 666 minor units of USD")
    refused = billing(actors.stack, *words)
    assert (refused.returncode, refused.stderr[:17]) == (1, "REFUND_TOO_LARGE:")


async def used_and_paid(actors: Actors) -> tuple[Customer, Json, Json]:
    """A subscriber whose second invoice asked 2.00 for one use; the use, the payment."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "500")
    wrong = await use(customer, "100")
    await customer.advance(to=RENEWAL)
    return customer, wrong, await paid_for(customer)


async def test_what_was_refunded_does_not_come_back_with_a_use(actors: Actors) -> None:
    customer, wrong, payment = await used_and_paid(actors)
    assert (await refunded(customer, payment))["amount_cents"] == 2100
    done = await void(actors, wrong)
    assert (done["balance_cents"], done["credited_cents"], done["billing_status"]) == (
        0, 0, "refunded",
    )  # fmt: skip
    assert await money(customer) == 0


async def test_what_came_back_with_a_use_is_refunded_once(actors: Actors) -> None:
    customer, wrong, payment = await used_and_paid(actors)
    assert (await void(actors, wrong))["balance_cents"] == 200
    _, invoice = await shown(customer, payment)
    assert [note["amount"] for note in invoice["credit_notes"]] == [200]
    back = await refunded(customer, payment)
    assert (back["amount_cents"], back["credited_cents"], back["from_balance_cents"]) == (
        2100, 1900, 200,
    )  # fmt: skip
    assert await money(customer) == 0
