"""A price that was published by mistake is undone for those who bought at it."""

from asyncio import to_thread
from typing import Any
from uuid import uuid4

import pytest

from api.routes.admin import wrong_prices
from tests.integration.actors import API, Actors, Json
from tests.integration.api_app import Api
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import START, use
from tests.integration.changes.chosen_plans import RENEWAL, begun, change
from tests.integration.money_seen import charged, money
from tests.integration.recomputed_sums import differences
from tests.integration.stack.test_commands import billing
from tests.integration.taxes.taxed_addresses import collect, moved_to

TERMS: Any = {
    "name": "Slip", "family": "slip", "description": "A plan whose point was misplaced",
    "monthly_credits": 100, "prices": {"month": {"USD": 1000}},
}  # fmt: skip
WRONG: Any = TERMS | {"prices": {"month": {"USD": 3000}}}
DEARER: Any = {"month": {"USD": 1500}}
BODY: Any = {
    "currency": "USD", "wrong_version": 2, "right_version": 1, "reason": "a slip of the pen",
}  # fmt: skip
MEANT = "?allow_large_change=true"
SLIP = f"/admin/plans/slip{MEANT}"


async def undo(
    actors: Actors, *, plan: str = "slip", dry_run: bool = False, shop: str = "", **more: Any
) -> Json:
    headers = actors.headers("*", "admin", str(uuid4()))
    headers |= {"X-Shop-Domain": shop} if shop else {}
    path = f"{API}/admin/plans/{plan}/undo-price?dry_run={dry_run}"
    answer = await actors.client.post(path, json=BODY | more, headers=headers)
    found: Json = answer.json()
    return found


async def sold_for(actors: Actors) -> int:
    plans = (await actors.operate("GET", "/admin/plans"))["data"]
    (plan,) = [one for one in plans if one["key"] == "slip"]
    return int(plan["prices"][0]["amount_minor"])


async def test_who_paid_a_wrong_price_is_given_back_what_was_too_much(actors: Actors) -> None:
    await actors.operate("PUT", SLIP, TERMS)
    before = await begun(actors, "slip")
    await actors.operate("PUT", SLIP, WRONG)
    paid, moved_on = await begun(actors, "slip"), await begun(actors, "slip")
    await change(moved_on, plan="pro")

    foreseen = await undo(actors, dry_run=True, to="payer")

    assert (foreseen["put_on_sale"], await sold_for(actors)) == (True, 3000), "nothing was done"
    assert [one["account_id"] for one in foreseen["moves"]] == [paid.id]
    parts = {one["account_id"]: one for one in foreseen["data"]}
    assert parts.keys() == {paid.id, moved_on.id}, "who paid the price before is left alone"
    mine, other = parts[paid.id], parts[moved_on.id]
    assert (mine["charged_cents"], mine["given_back_cents"]) == (3000, 2000)
    assert (other["refused"], other["given_back_cents"]) == ("CREDITED_BEFORE", 0)

    done = await undo(actors, to="payer")

    assert (done["data"], done["moves"]) == (foreseen["data"], foreseen["moves"])
    assert await sold_for(actors) == 1000
    again = await undo(actors, to="balance")
    assert (again["put_on_sale"], again["moves"]) == (False, [])
    twice = {one["account_id"]: one for one in again["data"]}[paid.id]
    assert (twice["is_repeated"], twice["given_back_cents"]) == (True, 2000)
    assert [await money(one) for one in (before, paid, moved_on)] == [0, 0, 0]
    assert [one["amount"] for one in await paid.effects("refund.succeeded")] == [2000]
    assert await paid.credits() == 100, "what was bought stays, at a lower price"
    read = await paid.ask("GET", f"/billing/invoices/{mine['invoice_id']}", status=200)
    (note,) = read["credit_notes"]
    assert (note["kind"], note["amount"]) == ("refund", 2000), "its money went back to the payer"
    assert note["reason"] == "a slip of the pen"

    await paid.advance(to=RENEWAL)

    assert await charged(paid) == [3000, 1000]


@pytest.mark.parametrize(("too_much", "refunded"), [(2_005, [2_000]), (5, [])])
async def test_what_is_no_whole_step_of_a_refund_goes_to_the_balance(
    actors: Actors, too_much: int, refunded: list[int]
) -> None:
    for minor in (10_000, 10_000 + too_much):
        terms = TERMS | {"prices": {"month": {"KWD": {"amount_minor": minor}}}}
        await actors.operate("PUT", f"/admin/plans/slip-odd-{too_much}{MEANT}", terms)
    paid = await begun(actors, f"slip-odd-{too_much}", currency="KWD")
    before = await money(paid)
    wrong: Any = {"plan": f"slip-odd-{too_much}", "currency": "KWD", "to": "payer"}
    done, again = [await undo(actors, **wrong) for _ in range(2)]
    (mine,), (twice,) = done["data"], again["data"]
    assert (mine["refused"], mine["given_back_cents"]) == (None, too_much)
    assert (twice["is_repeated"], twice["given_back_cents"]) == (True, too_much)
    assert [one["amount"] for one in await paid.effects("refund.succeeded")] == refunded
    assert await money(paid) - before == too_much - sum(refunded)
    read = await paid.ask("GET", f"/billing/invoices/{mine['invoice_id']}", status=200)
    assert sum(note["amount"] for note in read["credit_notes"]) == too_much


@pytest.mark.parametrize("to", ["payer", "balance"])
async def test_what_was_too_much_goes_back_with_the_tax_of_its_line(
    actors: Actors, to: str
) -> None:
    await collect(actors, "UY", "IVA", rates={"standard": "0", "reduced": "10"})
    plan = f"slip-taxed-{to}"
    paid = await begun(actors)
    await moved_to(paid, country="UY")
    for terms in (TERMS, WRONG):
        taxed = terms | {"tax_category": "reduced"}
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", taxed)
    await change(paid, plan=plan, at="period_end")
    await use(paid, "600")  # 2.00 without tax
    await paid.advance(to=RENEWAL)

    (mine,) = (await undo(actors, plan=plan, to=to))["data"]

    assert (mine["charged_cents"], mine["given_back_cents"]) == (3300, 2200)
    read = await paid.ask("GET", f"/billing/invoices/{mine['invoice_id']}", status=200)
    (note,) = read["credit_notes"]
    assert (read["total"], note["amount"], note["tax"]) == (3500, 2200, 200)
    assert await differences(actors.sql, [paid.uuid]) == []


async def test_a_move_to_the_wrong_price_that_is_still_to_come_is_replaced(
    actors: Actors,
) -> None:
    await actors.operate("PUT", f"/admin/plans/slip-moved{MEANT}", TERMS)
    notified = await begun(actors, "slip-moved")
    await actors.operate("PUT", f"/admin/plans/slip-moved{MEANT}", WRONG)
    announced = {"reason": "costs rose"}
    await actors.operate("POST", "/admin/plans/slip-moved/move-subscribers", announced)
    undone = await undo(actors, plan="slip-moved")
    assert [(one["account_id"], one["price_cents"]) for one in undone["moves"]] == [
        (notified.id, 1000)
    ]
    assert (await undo(actors, plan="slip-moved"))["moves"] == [], "the customer hears of it once"
    assert (await notified.subscription())["scheduled_changes"] == []
    await notified.advance(to=RENEWAL)
    assert await charged(notified) == [1000, 1000]


async def test_a_plan_chosen_at_the_wrong_price_for_later_has_the_right_one_then(
    actors: Actors,
) -> None:
    later = f"/admin/plans/slip-later{MEANT}"
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", later, terms)
    chose, keeps = await begun(actors, "pro"), await begun(actors, "pro")
    paused, first = await begun(actors, "slip-later"), await actors.customer_on_clock(START)
    chosen = await change(chose, plan="slip-later", at="period_end")
    await change(keeps, plan="basic", at="period_end")
    await paused.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    waiting = {"plan": "slip-later", "trial": False, "payment_method": "card"}
    begins = await first.ask("POST", "/billing/subscription", waiting, key="a", status=201)
    foreseen = await undo(actors, plan="slip-later", to="payer", dry_run=True)
    assert {one["account_id"]: one["price_cents_before"] for one in foreseen["moves"]} == {
        chose.id: 3000, paused.id: 3000,
    }  # fmt: skip
    done = await undo(actors, plan="slip-later", to="payer")
    assert done["moves"] == foreseen["moves"]
    assert (await undo(actors, plan="slip-later", to="payer"))["moves"] == [], (
        "the customer hears of it once"
    )
    (after,) = (await chose.subscription())["scheduled_changes"]
    assert after == chosen["scheduled_changes"][0]
    (notice,) = await chose.rows(
        "SELECT data FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.subscription.price_changes'"
    )
    names = ("plan", "of_plan", "price_cents_before", "price_cents")
    assert [notice["data"][name] for name in names] == ["pro", "slip-later", 3000, 1000]
    await first.pay(begins)
    await first.until_subscription("active")
    again = await undo(actors, plan="slip-later", to="payer")
    assert [one["account_id"] for one in again["moves"]] == [first.id]
    for one in (chose, keeps, first, paused):
        await one.advance(to=RENEWAL)
    await paused.ask("POST", "/billing/subscription/resume", {}, key="b", status=200)
    assert [await charged(one) for one in (chose, keeps, first, paused)] == [
        [4900, 1000], [4900, 1900], [3000, 1000], [3000, 1000],
    ]  # fmt: skip


async def test_who_could_not_pay_the_wrong_price_has_the_right_one_next(actors: Actors) -> None:
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/slip-owed{MEANT}", terms)
    owes = await begun(actors, "slip-owed")
    await owes.script("insufficient_funds", then="last")
    await owes.advance(to="2027-02-10T10:00:00Z")
    assert (await owes.subscription())["status"] == "unpaid"
    foreseen = await undo(actors, plan="slip-owed", dry_run=True)
    done = await undo(actors, plan="slip-owed")
    assert [one["account_id"] for one in done["moves"]] == [owes.id]
    assert done["moves"] == foreseen["moves"]
    await owes.script("succeed", then="last")
    await owes.ask("POST", "/billing/pay-overdue", {}, key="a", status=200)
    assert (await owes.until_subscription("active"))["amount_cents"] == 3000
    coming = await owes.ask("GET", "/billing/subscription/upcoming", status=200)
    assert coming["invoice"]["total_cents"] == 1000


async def test_a_plan_chosen_for_later_at_a_price_too_low_keeps_it_for_that_period(
    actors: Actors,
) -> None:
    for terms in (TERMS, TERMS | {"prices": {"month": {"USD": 10}}}):
        await actors.operate("PUT", f"/admin/plans/slip-low{MEANT}", terms)
    chose = await begun(actors, "pro")
    await change(chose, plan="slip-low", at="period_end")
    assert (await undo(actors, plan="slip-low"))["moves"] == []
    await chose.advance(to=RENEWAL)
    assert (await chose.subscription())["amount_cents"] == 10
    (moved,) = (await undo(actors, plan="slip-low"))["moves"]
    assert (moved["account_id"], moved["price_cents"]) == (chose.id, 1000)


@pytest.mark.parametrize("sold", ["nothing", "another"])
async def test_the_right_price_comes_though_the_wrong_one_is_off_sale_already(
    actors: Actors, sold: str
) -> None:
    plan = f"slip-{sold}"
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", terms)
    paid, chose = await begun(actors, plan), await begun(actors, "pro")
    await change(chose, plan=plan, at="period_end")
    after = {"nothing": {"prices": {}, "is_active": False}, "another": WRONG | {"prices": DEARER}}
    await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", TERMS | after[sold])

    foreseen = await undo(actors, plan=plan, dry_run=True)
    done = await undo(actors, plan=plan)

    assert (done["put_on_sale"], done["moves"]) == (False, foreseen["moves"])
    assert [(one["account_id"], one["price_cents"]) for one in done["moves"]] == [
        (paid.id, 1000), (chose.id, 1000),
    ]  # fmt: skip
    assert (await undo(actors, plan=plan))["moves"] == [], "the customer hears of it once"
    for one in (paid, chose):
        await one.advance(to=RENEWAL)
    assert [(await one.subscription())["amount_cents"] for one in (paid, chose)] == [1000, 1000]


async def test_a_plan_chosen_with_a_wrong_minimum_has_the_right_one_then(actors: Actors) -> None:
    slip = {"month": {"USD": {"amount_minor": 1000, "minimum_minor": 100_000}}}
    for terms in (TERMS, TERMS | {"prices": slip}):
        await actors.operate("PUT", f"/admin/plans/slip-least{MEANT}", terms)
    chose = await begun(actors, "pro")
    await change(chose, plan="slip-least", at="period_end")
    foreseen = await undo(actors, plan="slip-least", dry_run=True)
    done = await undo(actors, plan="slip-least")
    assert [one["account_id"] for one in done["moves"]] == [chose.id]
    assert done["moves"] == foreseen["moves"]
    assert (await undo(actors, plan="slip-least"))["moves"] == []
    await chose.advance(to=RENEWAL)
    assert (await chose.subscription())["minimum_cents"] is None


@pytest.mark.parametrize("chose", [True, False])
async def test_who_has_left_the_wrong_price_meanwhile_keeps_the_price_of_the_own_plan(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch, chose: bool
) -> None:
    plan = f"slip-left-{chose}".lower()
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", terms)
    customer = await begun(actors, "basic" if chose else plan)
    if chose:
        chosen = await change(customer, plan=plan, at="period_end")

    async def leave(*_: object) -> None:
        if chose:
            (one,) = chosen["scheduled_changes"]
            await customer.ask(
                "DELETE", f"/billing/subscription/changes/{one['change_id']}", status=200
            )
        else:
            await change(customer, plan="enterprise")

    monkeypatch.setattr(wrong_prices, "wait_until_all_done", leave)
    headers = api.admin() | {"Idempotency-Key": str(uuid4())}
    path = f"{API}/admin/plans/{plan}/undo-price"
    done = (await api.client.post(path, json=BODY, headers=headers)).json()
    assert done["moves"] == []
    left = await customer.subscription()
    assert (left["scheduled_changes"], left["amount_cents"]) == ([], 1900 if chose else 49900)


async def test_subscribers_are_looked_through_once(
    actors: Actors, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong_prices, "PAGE", 1)
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/slip-many{MEANT}", terms)
    customers = [await begun(actors, "slip-many") for _ in range(3)]
    for dry_run in (True, False):
        seen: list[str] = []
        query = f"?dry_run={dry_run}"
        for number in range(4):
            headers = api.admin() | {"Idempotency-Key": str(uuid4())}
            path = f"{API}/admin/plans/slip-many/undo-price{query}"
            part = (await api.client.post(path, json=BODY, headers=headers)).json()
            seen += [one["account_id"] for one in part["moves"]]
            assert part["moves_left"] == (number < 2)
            query = f"?dry_run={dry_run}&moves_cursor={part['moves_cursor']}"
        assert seen == [one.id for one in customers], "each once, the eldest first"


@pytest.mark.parametrize("has", ["bought", "chosen"])
async def test_an_undoing_for_another_shop_is_refused_whole(actors: Actors, has: str) -> None:
    plan, shop = f"slip-{has}", {"platform": "shopify", "platform_domain": "shop.example"}
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", terms)
    customer = await actors.customer_on_clock(START, **shop)
    await customer.subscribed(plan if has == "bought" else "pro")
    if has == "chosen":
        await change(customer, plan=plan, at="period_end")
    for dry_run in (True, False):
        refused = await undo(actors, plan=plan, dry_run=dry_run, shop="other.example")
        assert refused["code"] == "PLATFORM_MISMATCH"
    done = await undo(actors, plan=plan, shop="shop.example")
    assert done["put_on_sale"], "the refused one was undone itself"
    given = [(one["given_back_cents"], one["is_repeated"]) for one in done["data"]]
    assert given == ([(2000, False)] if has == "bought" else [])
    assert [one["account_id"] for one in done["moves"]] == [customer.id]


async def test_an_undoing_names_two_prices_that_there_are(actors: Actors) -> None:
    await actors.operate("PUT", SLIP, TERMS)
    assert (await undo(actors, wrong_version=99))["code"] == "PRICE_NOT_FOUND"
    assert (await undo(actors, wrong_version=2**31))["code"] == "VALIDATION_FAILED"
    assert (await undo(actors, right_version=2, dry_run=True))["code"] == "VALIDATION_FAILED"
    unkeyed = await actors.operate("POST", "/admin/plans/slip/undo-price", BODY, status=400)
    assert unkeyed["code"] == "IDEMPOTENCY_KEY_REQUIRED"


async def test_the_command_gives_it_back(actors: Actors) -> None:
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/slip-two{MEANT}", terms)
    paid = await begun(actors, "slip-two")
    words = ("--currency", "USD", "--wrong-version", "2", "--right-version", "1", "--reason", "x")
    command = ("subscription", "undo-price", "slip-two", *words)
    said = [
        (await to_thread(billing, actors.stack, *command, *more)).stdout.splitlines()
        for more in (["--dry-run"], [], [])
    ]
    assert [lines[-1] for lines in said] == [
        "20.00 USD would be given back; 0 done before, 0 refused",
        "20.00 USD given back; 0 done before, 0 refused",
        "0.00 USD given back; 1 done before, 0 refused",
    ]
    assert said[0][:-1] == said[1][1:-1], "what was foreseen was done"
    assert [len(lines) for lines in said] == [3, 4, 3], "the key comes first"
    assert f"of {paid.id}: 20.00 USD of 30.00 USD" in said[0][1]
    assert await money(paid) == 2000


async def test_a_contract_that_ends_in_a_pause_leaves_the_right_price_for_its_end(
    actors: Actors,
) -> None:
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/slip-rests{MEANT}", terms)
    rests = await begun(actors, "slip-rests")
    price = {"plan": "slip-rests", "interval": "month", "currency": "USD", "amount_cents": 500}
    await agree(
        rests, prices=[price], effective_from="2027-01-20T10:00:00Z",
        effective_to="2027-02-20T10:00:00Z",
    )  # fmt: skip
    await rests.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    await rests.advance(to="2027-03-20T10:00:00Z")
    done = await undo(actors, plan="slip-rests")
    assert [one["account_id"] for one in done["moves"]] == [rests.id]
    await rests.ask("POST", "/billing/subscription/resume", {}, key="b", status=200)
    assert (await rests.subscription())["amount_cents"] == 1000
