"""Use is of the plan that it was under: its minimum, its tax, and the coupons that were for it."""

from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.contract_terms import PRICE, agree, coming
from tests.integration.arrears.overage_uses import RENEWAL, START, use
from tests.integration.coupons.coupons_made import coupon
from tests.integration.recomputed_sums import differences
from tests.integration.taxes.taxed_addresses import collect, moved_to

PATH = "/billing/subscription"
LATE = "2027-01-31T12:00:00Z"
MARCH = "2027-03-01T10:00:00Z"


async def other_plan(actors: Actors) -> str:
    """A plan that is taxed less, and sells the same use at the same price."""
    key = f"plan-{uuid4().hex[:8]}"
    use_of_it = {"meter": "ai_responses", "then": "overage", "prices": {"USD": "0.02"}}
    terms = {
        "name": "Books", "family": key, "tax_category": "reduced",
        "limits": [use_of_it | {"included": "0"}],
        "prices": {"month": {"USD": 2000}, "year": {"USD": 10000}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    return key


async def written(customer: Customer) -> list[list[tuple[str, int, int, int]]]:
    """Kind, amount, discount and tax of the lines of every invoice that is not void."""
    rows = await customer.rows(
        "SELECT i.id, l.kind, l.amount_minor, l.discount_minor, l.tax_minor"
        " FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
        " WHERE l.account_id = %(me)s AND i.status <> 'void'"
        " ORDER BY i.created_at, i.id, l.position"
    )
    found: dict[object, list[tuple[str, int, int, int]]] = {}
    for row in rows:
        sums = (row["amount_minor"], row["discount_minor"], row["tax_minor"])
        found.setdefault(row["id"], []).append((row["kind"], *sums))
    return list(found.values())


async def totals(customer: Customer) -> list[int]:
    shown = (await customer.ask("GET", "/billing/invoices?limit=100"))["data"]
    return [one["total"] for one in reversed(shown) if one["status"] != "void"]


async def change(customer: Customer, **wanted: object) -> Json:
    return await customer.ask("PUT", PATH, wanted, status=200)


async def foreseen(customer: Customer) -> tuple[list[tuple[str, int]], int]:
    """Lines and total of the end of the period, before it comes."""
    shown = await customer.ask("GET", f"{PATH}/upcoming")
    return await coming(customer), shown["invoice"]["total_cents"]


async def renewed(customer: Customer, to: str) -> list[tuple[str, int, int, int]]:
    """The lines of the renewal, which was foreseen to the cent."""
    lines, total = await foreseen(customer)
    await customer.advance(to=to)
    last = (await written(customer))[-1]
    assert ([one[:2] for one in last], (await totals(customer))[-1]) == (lines, total)
    assert await differences(customer.actors.sql, [customer.uuid]) == []
    return last


async def test_a_minimum_counts_its_own_use_as_it_is_charged(actors: Actors) -> None:
    half = await coupon(actors, percent="50", duration="forever")
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE | {"amount_cents": 2000, "minimum_cents": 10000}])
    await customer.subscribed("basic", coupon=half)
    await use(customer, "4500")  # 4000 beyond the plan
    assert await renewed(customer, RENEWAL) == [
        ("plan", 2000, 1000, 0), ("usage", 8000, 4000, 0), ("minimum", 5000, 0, 0),
    ]  # fmt: skip


async def test_use_has_the_tax_of_its_plan_whatever_follows(actors: Actors) -> None:
    await collect(actors, "EE", "KM", rates={"standard": "20", "reduced": "5"})
    books = await other_plan(actors)
    customer = await actors.customer_on_clock(START)
    await moved_to(customer, country="EE")
    await customer.subscribed("basic")
    await use(customer, "4500")
    await change(customer, plan=books, at="period_end")
    assert await renewed(customer, RENEWAL) == [("plan", 2000, 0, 100), ("usage", 8000, 0, 1600)]
    # Late use is of the plan of its time, too; then a year begins at once.
    await use(customer, "100", at=LATE)
    await use(customer, "1000")
    await customer.advance(days=1)
    year = {"plan": "basic", "interval": "year"}
    seen = await customer.ask("PUT", f"{PATH}?dry_run=true", year, status=200)
    await change(customer, **year)
    _, used = (await written(customer))[-2:]
    assert used == [("usage", 200, 0, 40), ("usage", 2000, 0, 100)]
    assert (await totals(customer))[-1] == seen["usage"]["total_cents"] == 2340
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_the_coupon_of_a_change_is_not_off_the_use_before_it(actors: Actors) -> None:
    books = await other_plan(actors)
    once = await coupon(actors, percent="100", duration="once", sold=[books])
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await use(customer, "4500")
    await customer.advance(days=1)
    year: Json = {"plan": books, "interval": "year", "coupon": once}
    seen = await customer.ask("PUT", f"{PATH}?dry_run=true", year, status=200)
    await change(customer, **year)
    assert (await written(customer))[1:] == [
        [("plan", 10000, 10000, 0)], [("usage", 8000, 0, 0)],
    ]  # fmt: skip
    assert seen["usage"]["total_cents"] == 8000


async def test_use_told_after_the_end_has_the_coupon_of_its_period(actors: Actors) -> None:
    half = await coupon(actors, percent="50", duration="forever")
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", coupon=half)
    await use(customer, "600")
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    await use(customer, "200", at="2027-01-01T12:00:00Z")
    await customer.advance(days=2)
    assert (await written(customer))[1:] == [[("usage", 200, 100, 0)], [("usage", 400, 200, 0)]]


async def test_the_coupon_of_a_scheduled_change_waits_for_it(actors: Actors) -> None:
    books = await other_plan(actors)
    old = await coupon(actors, percent="25", duration="forever", sold=["basic"])
    half = await coupon(actors, percent="50", duration="forever")
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", coupon=old)
    await use(customer, "4500")
    await change(customer, plan=books, at="period_end", coupon=half)
    assert await renewed(customer, RENEWAL) == [("plan", 2000, 1000, 0), ("usage", 8000, 2000, 0)]
    await use(customer, "100", at=LATE)
    await use(customer, "1000")
    assert await renewed(customer, MARCH) == [
        ("plan", 2000, 1000, 0), ("usage", 200, 50, 0), ("usage", 2000, 1000, 0),
    ]  # fmt: skip


async def test_a_use_that_a_card_pays_at_once_is_taxed_as_its_plan(actors: Actors) -> None:
    await collect(actors, "SI", "DDV", rates={"standard": "22", "reduced": "9.5"})
    customer = await actors.customer_on_clock(START)
    await moved_to(customer, country="SI")
    await customer.subscribed(await other_plan(actors))
    by_card = {"product_id": "gpt-4", "usage_amount": "5000", "billing_method": "payment_charge"}
    await customer.ask("POST", "/usage/record", by_card | {"event_id": "one"}, status=201)
    assert await written(customer) == [[("plan", 2000, 0, 190)], [("single_use", 1000, 0, 95)]]
