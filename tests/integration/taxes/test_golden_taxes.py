"""Taxes, coupons and refunds come to what other systems' public tests say (tests/golden/README.md).

Each case is a customer in a country of its own, who buys a pack at the price of the case.
"""

import asyncio
from decimal import Decimal
from typing import Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.coupons.coupons_made import coupon
from tests.integration.money_seen import newest_invoice
from tests.integration.on_sale import put_in_turn
from tests.integration.reversals.refunds_made import paid_for, refunded
from tests.integration.taxes.taxed_addresses import collect, moved_to
from tests.unit.golden.drawn import drawn

# Where nobody else lives in these tests.
COUNTRIES: Final = iter([*(f"A{one}" for one in "FGILMOSWXZ"), *(f"B{one}" for one in "ADFHJ")])
NAMES: Final = {
    "tax_minor": "tax_amount", "total_minor": "total", "discount_minor": "discount",
}  # fmt: skip


async def living(actors: Actors, *rates: str) -> Customer:
    """A customer where these taxes are asked, the second by a region."""
    customer = await actors.customer()
    country = next(COUNTRIES)
    for place, rate in enumerate(rates):
        key = country if place == 0 else f"{country}-{place}"
        await collect(actors, key, f"tax {place}", rates={"standard": rate})
    await moved_to(customer, country=country, **({"state": "1"} if len(rates) > 1 else {}))
    return customer


async def bought(customer: Customer, amount_minor: int, currency: str, **more: str) -> Json:
    """A pack at this price, paid; its invoice."""
    key = f"golden-{uuid4().hex[:8]}"
    pack = {"name": "Golden", "credits": "1", "prices": {currency: amount_minor}}
    await put_in_turn(customer.actors, f"/admin/credit-packages/{key}", pack)
    await customer.bought(key, currency=currency, **more)
    return await newest_invoice(customer)


def sells_one_line(given: Json) -> bool:
    """A pack has one line, and takes one coupon; a card takes neither too little nor too much."""
    if "taxable_minor" in given:
        return bool(50 <= given["taxable_minor"] <= 50_000_000)
    lines, coupons = given["lines"], given["coupons"]
    return len(lines) == 1 and len(coupons) < 2 and lines[0]["amount_minor"] >= 50


async def taxed(actors: Actors, given: Json, expected: Json) -> None:
    line = given["lines"][0] if "lines" in given else None
    rates = line["tax_rates"] if line else [given["rate"]]
    customer = await living(actors, *rates)
    terms: dict[str, str] = {}
    for one in given.get("coupons", ()):
        off = {"amounts": {"USD": one["amount_minor"]}} if "amount_minor" in one else one
        terms["coupon"] = await coupon(actors, **off)
    amount = line["amount_minor"] if line else given["taxable_minor"]
    invoice = await bought(customer, amount, given.get("currency", "USD"), **terms)
    assert {name: invoice[NAMES[name]] for name in expected} == expected


def goes_back(given: Json) -> bool:
    """Of what a card paid, by a tax that is added to the price."""
    return given.get("mode") == "exclusive" and "balance_applied_minor" not in given


async def given_back(actors: Actors, given: Json, expected: Json) -> None:
    amount, tax = given["amount_minor"], given["tax_minor"]
    customer = await living(actors, str(Decimal(tax * 100) / amount))
    invoice = await bought(customer, amount, "USD")
    assert invoice["tax_amount"] == tax
    gross = given["refund_net_minor"] * (amount + tax) // amount
    await refunded(customer, await paid_for(customer), gross)
    notes = await customer.rows(
        "SELECT tax_minor, amount_minor FROM credit_notes WHERE account_id = %(me)s"
    )
    assert notes == [{"tax_minor": expected["tax_minor"], "amount_minor": gross}]


async def test_taxes_and_their_refunds_come_to_what_others_ask(actors: Actors) -> None:
    sales = drawn("invoice", ("tax", "invoice"), sells_one_line, stride=3)
    refunds = drawn("refunds", ("credit_note",), goes_back, stride=2)
    done = await asyncio.gather(
        *(taxed(actors, given, expected) for _, given, expected in sales),
        *(given_back(actors, given, expected) for _, given, expected in refunds),
        return_exceptions=True,
    )
    names = [name for name, *_ in (*sales, *refunds)]
    wrong = {name: one for name, one in zip(names, done, strict=True) if one is not None}
    assert not wrong
