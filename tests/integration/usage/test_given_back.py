"""Credits of a use that was taken back end, and are told of, as any do."""

from typing import Final

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.credits.test_top_ups import give
from tests.integration.usage.test_voids import WHY

USE: Final = {"product_id": "gpt-4", "usage_amount": "1500"}
"""It costs three credits."""


async def use(customer: Customer) -> str:
    return str((await customer.ask("POST", "/usage/record", USE, status=201))["billing_id"])


async def take_back(customer: Customer, use: str) -> None:
    await customer.actors.operate("POST", f"/billing/records/{use}/void", WHY, status=200)


async def told(customer: Customer) -> list[tuple[str, str]]:
    rows = await customer.rows(
        "SELECT split_part(type, '.', 4) AS what, data ->> 'credits' AS credits FROM events"
        " WHERE account_id = %(me)s AND type LIKE 'evt.billing.credits.expir%%' ORDER BY seq"
    )
    return [(row["what"], row["credits"]) for row in rows]


async def until_told(customer: Customer, *expected: tuple[str, str]) -> None:
    await wait_for(
        lambda: told(customer), f"{customer.id} is told of {expected}",
        lambda seen: seen == list(expected),
    )  # fmt: skip


async def test_a_lot_that_opens_again_after_its_notice_is_told_of_and_ends(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    for amount in ("3", "5"):
        await give(customer, amount, expires_at="2027-01-31T10:00:00Z")
    wrong = await use(customer)
    await customer.advance(days=23)
    assert await told(customer) == [("expiring", "5.00")]
    await take_back(customer, wrong)
    await until_told(customer, ("expiring", "5.00"), ("expiring", "3.00"))
    await customer.advance(days=8)
    assert sorted(await told(customer)) == [
        ("expired", "3.00"), ("expired", "5.00"), ("expiring", "3.00"), ("expiring", "5.00"),
    ]  # fmt: skip
    report = await actors.operate("GET", f"/admin/integrity?account={customer.id}")
    assert report["ok"], report


async def test_a_lot_that_opens_again_is_looked_at_in_time(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await give(customer, "3", expires_at="2027-01-21T10:00:00Z")
    wrong = await use(customer)
    await give(customer, "1", expires_at="2027-01-02T10:00:00Z")
    await customer.advance(days=2)
    await take_back(customer, wrong)
    report = await actors.operate("GET", f"/admin/integrity?account={customer.id}")
    assert report["ok"], report
    await customer.advance(days=12)
    assert await told(customer) == [("expired", "1.00"), ("expiring", "3.00")]
    await customer.advance(days=7)
    assert await told(customer) == [("expired", "1.00"), ("expiring", "3.00"), ("expired", "3.00")]
