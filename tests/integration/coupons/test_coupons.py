"""Coupons: what they take off purchases and subscriptions, and who may redeem one [L1, L2, B9]."""

import asyncio
from uuid import uuid4

import pytest

from billing.catalog.coupons import store as coupons
from billing.core.database import Database
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.overage_uses import use
from tests.integration.coupons.coupons_made import CLOCK, COUPON, coupon, redeemed


async def refused(customer: Customer, reason: str, code: str, pack: str = "small") -> None:
    problem = await customer.refused(
        "INVALID_COUPON", "POST", "/billing/purchases", {"pack": pack, "coupon": code}
    )
    assert problem["reason"] == reason, problem


async def invoices(customer: Customer) -> list[tuple[int, int]]:
    """Discount and total of each, the oldest first."""
    found = (await customer.ask("GET", "/billing/invoices?limit=100"))["data"]
    return [(one["discount"], one["total"]) for one in reversed(found) if one["status"] != "void"]


async def test_a_percentage_goes_off_the_next_periods(actors: Actors) -> None:
    code = await coupon(actors, percent="25", duration="repeating", periods=2)
    customer = await actors.customer_on_clock(CLOCK)
    begun = await customer.subscribe("pro", coupon=code.lower())
    assert begun["discounts"][0] | {"status": "", "kinds": []} == {
        "code": code, "percent": "25.00", "amount_cents": None, "kinds": [],
        "periods_left": 2, "status": "",
    }  # fmt: skip
    await customer.pay(begun)
    shown = await customer.until_subscription("active")
    assert [one["periods_left"] for one in shown["discounts"]] == [1]
    await customer.advance(days=65)
    assert await invoices(customer) == [(1225, 3675), (1225, 3675), (0, 4900)]
    assert (await customer.subscription())["discounts"] == []
    assert [one["amount"] for one in await customer.effects()] == [3675, 3675, 4900]


async def test_coupons_stack_the_narrowest_first(actors: Actors) -> None:
    whole = await coupon(actors, percent="10", duration="forever")
    narrow = await coupon(actors, amounts={"USD": 900}, duration="forever", kinds=["plan"])
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("pro", coupon=whole)
    shown = await customer.ask("POST", COUPON, {"code": narrow}, status=200)
    assert [one["code"] for one in shown["discounts"]] == [whole, narrow]
    await customer.refused("INVALID_COUPON", "POST", COUPON, {"code": narrow})
    await customer.advance(days=31)
    # 49.00 - 9.00 = 40.00, and 10 % of that.
    assert await invoices(customer) == [(490, 4410), (1300, 3600)]
    shown = await customer.ask("DELETE", f"{COUPON}/{narrow}", status=200)
    assert [one["code"] for one in shown["discounts"]] == [whole]
    await customer.refused("COUPON_NOT_FOUND", "DELETE", f"{COUPON}/{narrow}")
    await customer.advance(days=30)
    assert (await invoices(customer))[-1] == (490, 4410)
    assert await redeemed(actors, narrow) == 1


async def test_a_code_that_no_coupon_can_have_is_an_unknown_coupon(actors: Actors) -> None:
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("pro")
    for code in ("", "C" * 65, "\u00e9"):
        await refused(customer, "unknown", code)
        problem = await customer.refused("INVALID_COUPON", "POST", COUPON, {"code": code})
        assert problem["status"] == 400
    await customer.refused("COUPON_NOT_FOUND", "DELETE", f"{COUPON}/%C3%A9")
    admin = await actors.operate("DELETE", "/admin/coupons/%C3%A9", status=404)
    assert admin["code"] == "COUPON_NOT_FOUND"


async def test_a_purchase_has_its_discount_and_its_credits(actors: Actors) -> None:
    code = await coupon(actors, amounts={"USD": 199}, max_per_account=2)
    customer = await actors.customer()
    begun = await customer.buy("small", coupon=code)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    assert await invoices(customer) == [(199, 800)]
    free = await coupon(actors, percent="100")
    done = await customer.buy("small", coupon=free)
    assert (done["status"], done["next_action"]["type"]) == ("completed", "none")
    assert await customer.credits() == 200
    assert [one["amount"] for one in await customer.effects()] == [800]
    # What cost nothing is not paid credits.
    assert [one["is_paid"] for one in await customer.rows(
        "SELECT is_paid FROM credit_lots WHERE account_id = %(me)s ORDER BY granted_seq"
    )] == [True, False]  # fmt: skip


async def test_a_payment_that_never_comes_gives_its_coupon_back(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    first = await actors.customer_on_clock(CLOCK)
    begun = await first.buy("small", coupon=code)
    assert await redeemed(actors, code) == 1
    second = await actors.customer_on_clock(CLOCK)
    await refused(second, "used_up", code)
    await first.advance(days=2)
    await first.until_purchase(begun["purchase_id"], "expired")
    assert await redeemed(actors, code) == 0

    tried = await second.subscribe("pro", coupon=code)
    assert (tried["status"], await redeemed(actors, code)) == ("incomplete", 1)
    await second.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert await redeemed(actors, code) == 0
    await second.subscribed("pro", coupon=code)
    assert await redeemed(actors, code) == 1


async def test_money_that_comes_late_has_its_discount_all_the_same(actors: Actors) -> None:
    code = await coupon(actors, percent="50", max_redemptions=1)
    customer = await actors.customer()
    begun = await customer.buy("small", coupon=code)
    async with customer.unheard():
        await customer.pay(begun)
        await customer.restored_as_expired(begun["purchase_id"])
    await customer.until_purchase(begun["purchase_id"], "completed")

    async def settled() -> list[tuple[int, int]]:
        return await invoices(customer)

    found = await wait_for(settled, "the late invoice is paid", lambda seen: len(seen) == 1)
    assert found == [(500, 499)]


async def test_of_many_at_once_one_has_the_last_redemption(actors: Actors) -> None:
    code = await coupon(actors, percent="20", max_redemptions=3)
    customers = [await actors.customer() for _ in range(12)]
    answers = await asyncio.gather(*(
        one.call("POST", "/billing/purchases", {"pack": "small", "coupon": code})
        for one in customers
    ))  # fmt: skip
    statuses = sorted(one.status_code for one in answers)
    assert statuses == [201] * 3 + [400] * 9
    assert {one.json()["reason"] for one in answers if one.status_code == 400} == {"used_up"}
    assert await redeemed(actors, code) == 3


async def test_a_coupon_that_is_being_closed_is_not_redeemed(
    actors: Actors, database: Database
) -> None:
    customer, code = await actors.customer(), await coupon(actors, percent="10")
    async with database.operator() as connection:
        await coupons.close(connection, code)
        asked = asyncio.create_task(refused(customer, "expired", code))
        await asyncio.wait([asked], timeout=0.5)
        assert not asked.done(), "it waits for the end of this"
    await asked
    assert await redeemed(actors, code) == 0


@pytest.mark.parametrize("until", [20271231, "20271231", "9999-12-31T23:59:59-05:00"])
async def test_an_end_that_is_no_instant_is_refused_and_uses_up_no_code(
    actors: Actors, until: int | str
) -> None:
    body: Json = {"code": f"C{uuid4().hex[:10]}", "name": "A coupon", "percent": "10"}
    for name in ("valid_from", "valid_until"):
        refused = await actors.operate("POST", "/admin/coupons", body | {name: until}, status=422)
        assert [one["field"] for one in refused["errors"]] == [name]
    made = await actors.operate(
        "POST", "/admin/coupons", body | {"valid_until": "2028-01-01T01:00:00+02:00"}, status=201
    )
    assert made["valid_until"] == "2027-12-31T23:00:00Z"


async def test_a_coupon_says_why_it_is_refused(actors: Actors) -> None:
    customer = await actors.customer_on_clock(CLOCK)
    await refused(customer, "unknown", "NO-SUCH-COUPON")
    window = {"valid_from": "2027-02-01T00:00:00Z", "valid_until": "2027-03-01T00:00:00Z"}
    windowed = await coupon(actors, percent="10", **window)
    await refused(customer, "not_yet", windowed)
    await refused(customer, "not_for_this", await coupon(actors, percent="10", sold=["large"]))
    no_pack = await coupon(actors, percent="10", kinds=["plan", "usage"])
    await refused(customer, "not_for_this", no_pack)
    assert await redeemed(actors, no_pack) == 0
    body = {"plan": "pro", "coupon": await coupon(actors, percent="10", kinds=["pack"])}
    problem = await customer.refused("INVALID_COUPON", "POST", "/billing/subscription", body)
    assert problem["reason"] == "not_for_this"
    await refused(customer, "currency", await coupon(actors, amounts={"EUR": 100}))
    closed = await coupon(actors, percent="10")
    await actors.operate("DELETE", f"/admin/coupons/{closed}", status=200)
    await refused(customer, "expired", closed)
    student = await coupon(actors, percent="40", verified_as="student")
    await refused(customer, "not_verified", student)
    first = await coupon(actors, percent="10", first_purchase=True, max_per_account=5)

    verified = {"external_id": customer.account["external_id"], "verified_as": ["student"]}
    await actors.operate("POST", "/admin/accounts", verified, status=200)
    begun = await customer.buy("small", coupon=student)
    await refused(customer, "redeemed", student)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    await refused(customer, "not_first", first)
    await customer.advance(days=60)
    await refused(customer, "expired", windowed)


async def test_only_one_purchase_is_the_first(actors: Actors) -> None:
    codes = [await coupon(actors, percent="90", first_purchase=True) for _ in range(3)]
    customer = await actors.customer_on_clock(CLOCK)
    answers = await asyncio.gather(*(
        customer.call("POST", "/billing/purchases", {"pack": "small", "coupon": code})
        for code in codes
    ))  # fmt: skip
    assert sorted(one.status_code for one in answers) == [201, 400, 400]
    assert {one.json()["reason"] for one in answers if one.status_code == 400} == {"not_first"}
    (begun,) = [one.json() for one in answers if one.status_code == 201]
    another = await coupon(actors, percent="50", first_purchase=True)
    body = {"plan": "pro", "coupon": another}
    problem = await customer.refused("INVALID_COUPON", "POST", "/billing/subscription", body)
    assert problem["reason"] == "not_first"
    await customer.advance(days=2)
    await customer.until_purchase(begun["purchase_id"], "expired")
    tried = await customer.subscribe("pro", coupon=another)
    assert tried["status"] == "incomplete"
    await refused(customer, "not_first", codes[0])


async def test_a_free_period_needs_no_card(actors: Actors) -> None:
    code = await coupon(actors, percent="100")
    customer = await actors.customer_on_clock(CLOCK)
    begun = await customer.subscribe("pro", coupon=code)
    assert (begun["status"], begun["next_action"]["type"]) == ("active", "none")
    assert await customer.credits() == 500
    assert await invoices(customer) == [(4900, 0)]


async def test_terms_of_a_coupon_are_whole(actors: Actors) -> None:
    taken = await coupon(actors, percent="10")
    for terms in (
        {}, {"percent": "10", "amounts": {"USD": 1}}, {"percent": "101"}, {"percent": "0"},
        {"percent": "10", "duration": "repeating"}, {"percent": "10", "periods": 2},
        {"amounts": {"USD": 0}}, {"percent": "10", "code": "white space"},
        {"percent": "10", "kinds": ["wine"]},
    ):  # fmt: skip
        body = {"code": "WHOLE", "name": "x"} | terms
        answer = await actors.operate("POST", "/admin/coupons", body, status=422)
        assert answer["code"] == "VALIDATION_FAILED"
    body = {"code": taken.lower(), "name": "x", "percent": "10"}
    assert (await actors.operate("POST", "/admin/coupons", body, status=409))["code"] == (
        "COUPON_EXISTS"
    )


@pytest.mark.parametrize(("duration", "next_month"), [("forever", 2450), ("once", 4900)])
async def test_a_change_of_plan_keeps_a_percentage(
    actors: Actors, duration: str, next_month: int
) -> None:
    code = await coupon(actors, percent="50", duration=duration)
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic", coupon=code)  # 19.00, 9.50 paid
    await customer.advance(to="2027-01-16T22:00:00Z")  # half of January is left
    preview = await customer.ask(
        "POST", "/billing/subscription/preview", {"plan": "pro"}, status=200
    )
    body = {"plan": "pro", "preview_token": preview["preview_token"]}
    await customer.ask("PUT", "/billing/subscription", body, status=200)
    # 49.00 / 2 less a half of it, less a half of 9.50.
    assert (await invoices(customer))[-1] == (1225, 1225 - 475)
    assert [one["amount"] for one in await customer.effects()] == [950, 750]
    await customer.advance(to="2027-02-02T00:00:00Z")
    assert (await invoices(customer))[-1] == (4900 - next_month, next_month)


async def test_a_coupon_comes_with_a_change_of_plan_and_goes_with_it(actors: Actors) -> None:
    code = await coupon(actors, percent="50", duration="forever", sold=["pro"])
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await customer.advance(to="2027-01-11T10:00:00Z")  # 21 of 31 days are left
    path, wish = "/billing/subscription", {"plan": "pro", "coupon": code}
    await customer.refused("INVALID_COUPON", "PUT", path, {"plan": "enterprise", "coupon": code})
    await customer.refused("INVALID_COUPON", "PUT", path, {"plan": "pro", "coupon": "NO-SUCH"})

    seen = await customer.ask("POST", f"{path}/preview", wish, status=200)

    # 49.00 x 21/31 is 33.19, and a half of it 16.60; of 19.00 are 12.87 left.
    assert (seen["invoice"]["discount_cents"], seen["due_now_cents"]) == (1660, 1659 - 1287)
    assert seen["upcoming"]["invoice"]["total_cents"] == 2450
    assert await redeemed(actors, code) == 0
    held = wish | {"preview_token": seen["preview_token"]}
    without = {"plan": "pro", "preview_token": seen["preview_token"]}
    await customer.refused("PREVIEW_EXPIRED", "PUT", path, without)
    await customer.script("insufficient_funds", then="normal")
    await customer.refused("CARD_DECLINED", "PUT", path, held)
    assert await redeemed(actors, code) == 0, "all is as before"
    assert (await customer.subscription())["discounts"] == []

    changed = await customer.ask("PUT", path, held, status=200)

    assert [(one["code"], one["status"]) for one in changed["discounts"]] == [(code, "active")]
    assert await redeemed(actors, code) == 1
    assert [one["amount"] for one in await customer.effects()] == [1900, 372]
    coming = await customer.ask("GET", f"{path}/upcoming", status=200)
    assert coming["invoice"]["total_cents"] == 2450


async def test_a_coupon_of_a_change_that_is_never_paid_is_off_nothing(actors: Actors) -> None:
    code = await coupon(actors, percent="50")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("pro", interval="year")
    await use(customer, "7000")
    await customer.advance(to="2027-01-31T20:00:00Z")
    wish = {"plan": "enterprise", "coupon": code, "payment_method": "card"}
    await customer.ask("PUT", "/billing/subscription", wish, status=200)
    assert await redeemed(actors, code) == 1
    await customer.script("insufficient_funds", then="normal")
    await customer.advance(to="2027-02-01T11:00:00Z")
    # 2000 answers beyond the plan, while the change still waits.
    assert (await invoices(customer))[-1] == (0, 3000)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.ask("POST", "/billing/pay-overdue", {}, key=code, status=200)
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-02T00:00:00Z")
    assert await redeemed(actors, code) == 0


async def test_what_a_coupon_paid_is_not_given_back(actors: Actors) -> None:
    code = await coupon(actors, percent="100")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribe("basic", coupon=code)
    await customer.save_card()
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("PUT", "/billing/subscription", {"plan": "pro"}, status=200)
    assert (await invoices(customer))[-1] == (2450, 0), "the period began with it"
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 0


async def test_a_period_that_a_change_began_has_its_coupon_on_later_changes(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="50", duration="repeating", periods=2)
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    path = "/billing/subscription"
    yearly = {"plan": "pro", "interval": "year", "coupon": code}
    await customer.ask("PUT", path, yearly, status=200)
    assert [one["periods_left"] for one in (await customer.subscription())["discounts"]] == [1]
    await customer.ask("PUT", path, {"plan": "enterprise"}, status=200)
    discount, total = (await invoices(customer))[-1]
    # The new price at half, less what the old one cost.
    assert total == discount - 24500, (discount, total)
