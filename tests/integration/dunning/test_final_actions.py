"""The end of trying: unpaid, cancel or uncollectible, and the way back from unpaid."""

from functools import partial

import pytest

from billing.core import ids
from tests.integration.actors import Actors, Customer, instant, wait_for
from tests.integration.changes.chosen_plans import told
from tests.integration.dunning.dunning_setup import (
    START,
    attempts,
    case,
    overdue,
    owed,
    read_case,
    steer,
    tried,
    under,
)
from tests.integration.payments.test_money_balance import adjust

EXHAUSTED = "2027-02-09T10:00:00Z"
RESUME = "/billing/subscription/resume"


async def statuses(customer: Customer) -> list[str]:
    """Of the account's invoices, oldest first."""
    return [invoice["status"] for invoice in await customer.invoices()]


async def test_unpaid_keeps_the_invoice_open_and_writes_drafts_without_charging(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    assert (await customer.subscription())["status"] == "unpaid"
    assert await statuses(customer) == ["paid", "open"]

    await customer.advance(to="2027-04-02T10:00:00Z")

    assert await statuses(customer) == ["paid", "open", "draft", "draft"]
    assert await tried(customer) == 4, "no charge"
    assert await customer.credits() == 0, "no grant"
    now = await customer.subscription()
    assert now["status"] == "unpaid"
    assert instant(now["current_period_start"]) == instant("2027-04-01T10:00:00Z")


async def test_a_debt_paid_within_its_period_buys_that_period_and_charges_nothing_else(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-10T12:00:00Z")
    standing = await customer.subscription()
    assert standing["status"] == "unpaid"
    debt = await owed(customer)
    assert standing["latest_invoice_id"] == debt["invoice_id"]
    assert standing["next_action"] == {"type": "none"}, "a declined card has nothing to confirm"
    await customer.script("succeed", then="last")

    await customer.ask("POST", f"/billing/invoices/{debt['invoice_id']}/pay", {}, key="k")

    now = await customer.until_subscription("active")
    assert instant(now["current_period_start"]) == instant("2027-02-01T10:00:00Z")
    assert instant(now["current_period_end"]) == instant("2027-03-01T10:00:00Z")
    assert await customer.credits() == 500
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await statuses(customer) == ["paid", "paid", "paid"]
    assert [one["amount"] for one in await customer.effects()] == [4900] * 3


async def test_a_debt_paid_after_its_period_pauses_until_somebody_resumes(actors: Actors) -> None:
    """On the instant at which an unpaid period began: its draft stays void, and is never paid."""
    customer = await overdue(actors)
    await customer.advance(to="2027-03-01T10:00:00Z")
    debt = (await owed(customer))["invoice_id"]
    assert (await customer.subscription())["latest_invoice_id"] == debt, "not the draft"
    await customer.script("succeed", "insufficient_funds", "succeed", then="last")

    await customer.ask("POST", f"/billing/invoices/{debt}/pay", {}, key="k", status=200)

    paused = await customer.until_subscription("paused")
    assert paused["pause_reason"] == "debt_settled"
    assert await statuses(customer) == ["paid", "paid", "void"]
    assert len(await customer.effects()) == 2, "nothing else is charged"
    assert (await customer.ask("GET", "/billing/entitlements"))["access"] == "none"
    refused = await customer.refused("CARD_DECLINED", "POST", RESUME, {}, key="r")
    assert refused["decline_code"] == "insufficient_funds"
    assert (await customer.subscription())["status"] == "paused", "all as before"

    again = await customer.ask("POST", RESUME, {}, key="s", status=200)

    assert (again["status"], again["pause_reason"]) == ("active", None)
    assert instant(again["current_period_start"]) == instant("2027-03-01T10:00:00Z")
    assert await statuses(customer) == ["paid", "paid", "void", "void", "paid"]
    assert await customer.credits() == 500
    await customer.refused("SUBSCRIPTION_STATE", "POST", RESUME, {}, key="t")
    await customer.advance(to="2027-04-01T10:00:00Z")
    assert [one["amount"] for one in await customer.effects()] == [4900] * 4


async def test_a_scheduled_end_stands_when_the_debt_is_paid(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.ask("POST", "/billing/subscription/cancel", {}, status=200)
    await customer.advance(to=EXHAUSTED)
    debt = (await owed(customer))["invoice_id"]
    await customer.script("succeed", then="last")
    await customer.ask("POST", f"/billing/invoices/{debt}/pay", {}, key="k", status=200)
    now = await customer.until_subscription("active")
    assert now["cancel_at_period_end"]
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert (await customer.subscription())["status"] == "canceled"
    assert len(await customer.effects()) == 2


async def test_to_forgive_an_unpaid_debt_charges_nothing(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    await customer.script("succeed", then="last")
    await steer(customer, "forgive", {"reason": "goodwill"})
    assert (await customer.until_subscription("active"))["current_period_end"].startswith("2027-03")
    assert len(await customer.effects()) == 1
    assert await customer.credits() == 500


async def test_out_of_unpaid_by_a_card_confirmed_in_the_browser(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    debt = await owed(customer)
    offered = await customer.ask(
        "POST",
        f"/billing/invoices/{debt['invoice_id']}/pay",
        {"payment_method": "card"},
        key="k",
        status=200,
    )
    await customer.script("succeed", then="last")
    await customer.pay(offered, "pm_card_mastercard")
    await customer.until_subscription("active")
    assert await statuses(customer) == ["paid", "paid"]


async def test_a_decline_while_unpaid_changes_nothing(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to=EXHAUSTED)
    debt = (await owed(customer))["invoice_id"]
    path = f"/billing/invoices/{debt}/pay"
    await customer.refused("CARD_DECLINED", "POST", path, {}, key="k")
    assert (await customer.subscription())["status"] == "unpaid"
    assert (await case(customer))["status"] == "exhausted"
    await customer.advance(days=20)
    assert await tried(customer) == 5


async def test_a_new_default_card_pays_what_an_unpaid_subscription_owes(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-05T12:00:00Z")
    await customer.script("succeed", then="last")
    await customer.save_card("pm_card_mastercard", make_default=True, confirm="DEFAULT")
    await customer.until_subscription("paused")
    assert await statuses(customer) == ["paid", "paid", "void"]
    assert len(await customer.effects()) == 2, "what is owed, and nothing else"


async def test_cancel_as_the_final_action_ends_the_subscription(actors: Actors) -> None:
    customer = await overdue(actors, policy={"final_action": "cancel"})
    await customer.advance(to=EXHAUSTED)
    ended = await customer.subscription()
    assert (ended["status"], ended["end_reason"]) == ("canceled", "dunning exhausted")
    assert await statuses(customer) == ["paid", "uncollectible"]
    [payment] = await customer.rows(
        "SELECT client_secret AS secret, status FROM payments WHERE account_id = %(me)s"
        " ORDER BY created_at DESC, id DESC LIMIT 1"
    )
    assert payment["status"] == "canceled"
    [credited] = await told(customer, "invoice.credited")
    [gone] = await told(customer, "invoice.uncollectible")
    assert (credited["amount_cents"], gone["remaining_cents"]) == (3500, 1400)
    seen = await customer.published()
    in_order = [seen.index(f"evt.billing.invoice.{what}") for what in ("credited", "uncollectible")]
    assert in_order == sorted(in_order), "first what is not owed, then what is given up"
    late = await customer.confirm({"next_action": {"client_secret": payment["secret"]}})
    assert late.status == 400, "called back at Stripe first: nobody can pay it any more"
    await customer.subscribe("basic")


async def test_uncollectible_as_the_final_action_lets_the_subscription_go_on(
    actors: Actors,
) -> None:
    customer = await overdue(actors, policy={"final_action": "uncollectible"})
    await customer.advance(to=EXHAUSTED)
    assert (await customer.subscription())["status"] == "active"
    assert await statuses(customer) == ["paid", "uncollectible"]
    await customer.script("succeed", then="last")
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await statuses(customer) == ["paid", "uncollectible", "paid"]


async def test_money_that_comes_before_the_last_word_wins(actors: Actors) -> None:
    """The payer confirms at the very end, unheard: cancelling the intent tells that it is paid."""
    customer = await overdue(actors, policy={"final_action": "cancel"})
    await customer.advance(to="2027-02-09T09:00:00Z")
    offered = await customer.ask(
        "POST",
        f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay",
        {"payment_method": "card"},
        key="k",
    )
    await customer.script("succeed")
    async with customer.unheard():
        await customer.advance(to="2027-02-09T09:59:59Z")
        await customer.pay(offered)
        await customer.advance(to=EXHAUSTED)
        assert (await customer.subscription())["status"] == "active"
    assert await statuses(customer) == ["paid", "paid"]
    assert len(await customer.effects()) == 2


async def test_what_was_served_is_pursued_after_a_cancellation(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-15T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert (await customer.subscription())["status"] == "canceled"
    [invoice] = [one for one in await customer.invoices() if one["status"] == "open"]
    assert invoice["amount_credited_minor"] == 3500
    assert invoice["workflow_id"].startswith("collection/")
    debt = await owed(customer)
    # It was served 8 days of 28.
    assert (debt["amount_remaining"], len(debt["credit_notes"])) == (1400, 1)


async def test_a_debt_of_an_unpaid_subscription_that_is_canceled_has_a_last_term_and_an_end(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-15T10:00:00Z")  # half of February is over
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert (await case(customer))["status"] == "open"
    await customer.advance(to="2027-02-23T09:59:59Z")
    assert await statuses(customer) == ["paid", "open"]
    assert await tried(customer) == 4, "its tries were used up"
    await customer.advance(to="2027-02-23T10:00:00Z")
    assert await statuses(customer) == ["paid", "uncollectible"]
    assert (await case(customer))["close_reason"] == "uncollectible"


async def test_what_was_given_up_as_uncollectible_can_still_be_paid_by_every_flow(
    actors: Actors,
) -> None:
    for flow in ("saved_card", "card", "manual"):
        customer = await overdue(actors, policy={"final_action": "cancel"})
        await customer.advance(to=EXHAUSTED)
        [_, debt] = await customer.invoices()
        assert (debt["status"], debt["amount_credited_minor"]) == ("uncollectible", 3500)
        path = f"/billing/invoices/{ids.encode(ids.INVOICE, debt['id'])}"
        await customer.script("succeed", then="last")
        if flow == "manual":
            sent = {
                "invoice_id": path.rpartition("/")[2], "payment_method": "bank_transfer",
                "transaction_reference": "T-1",
            }  # fmt: skip
            sent = await customer.ask("POST", "/billing/payments/manual", sent)
            name = sent["payment_id"]
            await actors.operate("POST", f"/admin/payments/{name}/approve", {})
        elif flow == "card":
            body = {"payment_method": "card"}
            await customer.pay(await customer.ask("POST", f"{path}/pay", body, key="k"))
        else:
            await customer.ask("POST", f"{path}/pay", {}, key="k", status=200)
        await wait_for(
            partial(customer.ask, "GET", path),
            f"the invoice is paid by {flow}",
            lambda seen: seen["status"] == "paid",
        )
        assert (await customer.subscription())["status"] == "canceled"
        assert await customer.credits() == 0, "an ended subscription grants nothing"


@pytest.mark.parametrize(("refund", "given_back"), [("none", 0), ("credit", 3675 - 2900)])
async def test_of_time_not_served_what_was_paid_already_goes_back_where_a_credit_is_asked_for(
    actors: Actors, refund: str, given_back: int
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await adjust(customer, 2000)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-08T10:00:00Z")  # a quarter of February is over
    assert (await owed(customer))["amount_remaining"] == 2900, "2,000 came from the balance"
    await customer.ask(
        "POST", "/billing/subscription/cancel", {"at": "now", "refund": refund}, status=200
    )
    [_, invoice] = await customer.invoices()
    assert (invoice["status"], invoice["settlement"]) == ("paid", "credited")
    [left] = await customer.rows(
        "SELECT sum(amount_minor)::int AS minor FROM balance_entries WHERE account_id = %(me)s"
    )
    assert left["minor"] == given_back


async def test_collection_goes_on_with_the_slots_and_ends_uncollectible(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.advance(to="2027-02-04T10:00:00Z")
    assert [mark for mark, _ in await attempts(customer)] == ["attempt-0", "attempt-1"]
    failed = [e for e in await customer.effects(None) if e["name"] == "charge.failed"]
    served = (await owed(customer))["amount_remaining"]
    assert served < 4900
    assert [effect["amount"] for effect in failed] == [4900, served], "only what was served"
    await customer.advance(to=EXHAUSTED)
    assert await statuses(customer) == ["paid", "uncollectible"]
    name = (await case(customer))["dunning_case_id"]
    assert (await read_case(customer, name))["close_reason"] == "uncollectible"
    closed = await customer.rows(
        "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'collection'"
    )
    assert [row["status"] for row in closed] == ["closed"]


async def test_use_that_an_end_bills_is_tried_on_the_days_of_the_plan(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await under(customer, {"days": [0, 10], "grace_days": 2})
    used = {"feature_type": "ai_responses", "usage_amount": "600"}
    await customer.ask("POST", "/usage/record", used, status=201)
    await customer.script("insufficient_funds", then="last")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.advance(days=9)
    seen = await case(customer)
    assert (seen["slot_days"], await tried(customer)) == ([0, 10], 2), "the first payment and day 0"
    await customer.advance(days=2)
    assert (await statuses(customer), await tried(customer)) == (["paid", "open"], 3)
    await customer.advance(days=1)
    assert (await statuses(customer), await tried(customer)) == (["paid", "uncollectible"], 3)


async def test_collection_is_recovered_by_its_payer(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.script("succeed")
    debt = await owed(customer)
    paid = await customer.ask(
        "POST", f"/billing/invoices/{debt['invoice_id']}/pay", {}, key="k", status=200
    )
    assert (paid["status"], paid["dunning"]["status"]) == ("paid", "recovered")
    assert (await customer.subscription())["status"] == "canceled"
    assert await customer.credits() == 0, "an ended subscription grants nothing"


async def test_the_card_that_pays_a_collection_is_the_default_from_then_on(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-15T10:00:00Z")  # half of February is over
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    name = (await owed(customer))["invoice_id"]
    await customer.ask("POST", f"/billing/invoices/{name}/pay", {"payment_method": "card"}, key="k")
    await customer.advance(to="2027-02-15T10:00:01Z")
    offered = await customer.ask("GET", f"/billing/invoices/{name}")

    await customer.script("succeed", then="last")
    await customer.pay(offered, "pm_card_mastercard")
    await customer.advance(to="2027-02-15T11:00:00Z")

    assert (await customer.ask("GET", f"/billing/invoices/{name}"))["status"] == "paid"
    cards = await customer.rows(
        "SELECT brand FROM payment_methods WHERE account_id = %(me)s AND is_default"
    )
    assert [card["brand"] for card in cards] == ["mastercard"]


async def test_the_card_that_pays_one_collection_is_tried_on_the_others_at_once(
    actors: Actors,
) -> None:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-04-01T12:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    debts = [one["id"] for one in await customer.invoices() if one["status"] == "open"]
    assert len(debts) >= 2, await statuses(customer)
    name = f"/billing/invoices/{ids.encode(ids.INVOICE, debts[0])}"
    await customer.ask("POST", f"{name}/pay", {"payment_method": "card"}, key="k")
    await customer.advance(to="2027-04-01T12:00:01Z")

    await customer.script("succeed", then="last")
    await customer.pay(await customer.ask("GET", name), "pm_card_mastercard")

    await wait_for(lambda: statuses(customer), "both are paid", lambda seen: set(seen) == {"paid"})


async def test_forgiving_in_collection_ends_it(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    ended = await steer(customer, "forgive", {"reason": "goodwill"})
    assert ended["status"] == "forgiven"
    await customer.advance(days=10)
    assert await tried(customer) == 2
