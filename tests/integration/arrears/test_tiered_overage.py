"""Use beyond the plan at a price by tier, volume or package: to the cent, in however many bills."""

from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.overage_uses import RENEWAL, START, lines, records, use
from tests.integration.arrears.test_agreed_limits import agree
from tests.integration.arrears.test_thresholds import billed, threshold, tick
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences
from tests.unit.golden.cases import cases

GRADUATED: Final[Json] = {
    "model": "graduated",
    "tiers": [
        {"up_to": "100", "unit_price": "0.10", "flat_price": "1"},
        {"up_to": "1000", "unit_price": "0.05"},
        {"unit_price": "0.000000000001"},
    ],
}
FALLING: Final[Json] = {
    "model": "volume", "tiers": [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.5"}],
}  # fmt: skip
PACKAGES: Final[Json] = {"model": "package", "package_size": "10", "unit_price": "3"}
METERS: Final = (
    "ai_responses", "chat_messages", "document_uploads", "assessments", "impressions",
    "data_transfer_gb", "api_calls",
)  # fmt: skip


async def subscribed(actors: Actors, terms: Json | str, included: str = "10") -> Customer:
    """A subscriber whose use of AI responses beyond `included` costs this."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, included, prices={"USD": terms})
    return customer


async def until_billed(customer: Customer, cents: int) -> None:
    """Use that reached the threshold is billed, so that all lines come to so much."""
    await tick(customer)
    await wait_for(
        lambda: billed(customer),
        f"{cents} cents are billed",
        lambda seen: sum(line[1] for line in seen) == cents,
    )


async def usage_lines(customer: Customer) -> list[Json]:
    """The usage lines of all invoices as the customer reads them, oldest first."""
    shown = []
    for invoice in reversed((await customer.ask("GET", "/billing/invoices"))["data"]):
        path = f"/billing/invoices/{invoice['invoice_id']}"
        items = (await customer.ask("GET", path))["line_items"]
        shown += [one for one in items if one["kind"] == "usage"]
    return shown


async def test_a_line_shows_its_tiers_and_every_preview_says_what_it_comes_to(
    actors: Actors,
) -> None:
    customer = await subscribed(actors, GRADUATED)
    await use(customer, "60")
    await use(customer, "100")
    # 50 of the first tier; then its other 50, and 50 of the second.
    assert await records(customer) == [("usage", "pending", "6"), ("usage", "pending", "7.5")]
    current = await customer.ask("GET", "/usage/current")
    assert current["overages"]["total_overage_cost"] == "13.50"
    future = (await customer.ask("GET", "/billing/timeline?upcoming=2"))["future"]
    assert next(one["amount_cents"] for one in future if one["name"] == "renew") == 1900 + 1350
    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900, 1900 + 1350]
    (line,) = await usage_lines(customer)
    assert line["tiers"] == [
        {"units": "100.00", "unit_price": "0.10", "flat_price": "1.00", "amount": "11.00"},
        {"units": "50.00", "unit_price": "0.05", "flat_price": "0", "amount": "2.50"},
    ]
    assert (line["quantity"], line["amount"], line["billed_before"]) == ("150.00", 1350, 0)
    assert line["unit_amount"] == "9.00", "the average"
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize(
    ("terms", "bills"),
    [
        # 40 units are 5.00 (threshold 4.00), 110 come to 11.50, 160 to 14.00.
        (GRADUATED, [500, 650, 250]),
        # 40 units cost at least 40.00 in the end, 110 come to 55.00, 160 to 80.00.
        (FALLING, [4000, 1500, 2500]),
        (PACKAGES, [1200, 2100, 1500]),
        ({"model": "flat", "unit_price": "7", "free_units": "5"}, [700]),
    ],
)
async def test_the_bills_of_one_cycle_add_up_to_the_price_of_the_whole(
    actors: Actors, terms: Json, bills: list[int]
) -> None:
    customer = await subscribed(actors, terms)
    await threshold(customer, 400)
    for number, units in enumerate(("50", "70"), 1):
        await use(customer, units)
        await until_billed(customer, sum(bills[:number]))
    await use(customer, "50")
    await customer.advance(to=RENEWAL)
    found = [line for line in await billed(customer) if line[1]]
    assert [cents for _, cents, _ in found] == bills
    kept = await records(customer)
    assert {status for _, status, _ in kept} == {"completed"}
    assert sum(Decimal(amount) for *_, amount in kept) * 100 == sum(bills)
    assert await differences(actors.sql, [customer.uuid]) == []
    for line in await usage_lines(customer):
        assert line["tiers"]


async def test_what_a_volume_price_may_yet_give_back_is_billed_at_the_close(
    actors: Actors,
) -> None:
    customer = await subscribed(actors, FALLING)
    await threshold(customer, 4000)
    await use(customer, "100")
    await until_billed(customer, 5000)
    # 90 units cost 90.00 now, and 50.00 at least however many come.
    assert [cents for _, cents, _ in await billed(customer)] == [5000]
    (line,) = await usage_lines(customer)
    assert [one["amount"] for one in (*line["tiers"], line["at_most"])] == ["90.00", "50.00"]
    assert line["explained"].startswith(
        "90.00 x 1.00, but so far at most 100.00 x 0.50, the least that the cycle can cost = 50.00"
    )
    await customer.advance(to=RENEWAL)
    assert [(units, cents) for units, cents, _ in await billed(customer)] == [(90, 5000), (0, 4000)]
    *_, rest = await usage_lines(customer)
    assert (rest["at_most"], rest["explained"]) == (
        None, "90.00 x 1.00, less 50.00 USD billed before = 40.00 USD"
    )  # fmt: skip
    await customer.advance(days=28)
    assert await charged(customer) == [1900, 5000, 1900 + 4000, 1900]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_an_end_now_bills_the_rest_of_the_cycle(actors: Actors) -> None:
    customer = await subscribed(actors, FALLING)
    await threshold(customer, 4000)
    await use(customer, "60")
    await until_billed(customer, 5000)
    await use(customer, "70")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.advance(days=1)
    assert [line[2:] for line in await lines(customer)] == [(50, 5000), (70, 1000)]
    assert await charged(customer) == [1900, 5000, 1000]
    await use(customer, "100", at="2027-01-01T10:30:00Z")
    await customer.advance(days=2)
    assert [line[2:] for line in await lines(customer)][2:] == [(100, 5000)], "220 units are 110.00"


async def test_units_of_a_begun_package_are_overage_that_costs_nothing_more(
    actors: Actors,
) -> None:
    customer = await subscribed(actors, PACKAGES, included="0")
    for _ in range(3):
        await use(customer, "4")
    assert [total for *_, total in await records(customer)] == ["3", "0", "3"]
    await customer.advance(to=RENEWAL)
    assert [line[2:] for line in await lines(customer)] == [(12, 600)]
    (line,) = await usage_lines(customer)
    assert line["tiers"] == [
        {"units": "2.00", "unit_price": "3.00", "flat_price": "0", "amount": "6.00"}
    ]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_changed_price_charges_each_use_by_its_own(actors: Actors) -> None:
    customer = await subscribed(actors, GRADUATED)
    await use(customer, "110")
    await agree(customer, "10", prices={"USD": "0.50"})
    await use(customer, "10")
    await customer.advance(to=RENEWAL)
    assert [line[2:] for line in await lines(customer)] == [(110, 1100 + 500)]
    (line,) = await usage_lines(customer)
    assert line["tiers"] is None, "two prices have no common arithmetic"
    assert await differences(actors.sql, [customer.uuid]) == []


def sold() -> list[Any]:
    """Golden cases of whole cycles that this product has the terms for, as many as are meters."""
    known = [case for case in cases("tiers", "rate") if not case.marks]
    graded = [one for one in known if one.values[0]["model"] != "per_unit"]
    return [one for one in graded if one.values[0]["before"] == "0"]


async def test_golden_cases_come_onto_an_invoice(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("enterprise")
    found = [one for one in sold() if Decimal(one.values[0]["units"]) > 0]
    chosen = found[:: max(1, len(found) // len(METERS))][: len(METERS)]
    assert len(chosen) == len(METERS)
    for meter, case in zip(METERS, chosen, strict=True):
        names = ("model", "unit_price", "package_size", "free_units", "tiers")
        given: Json = case.values[0]
        terms = {name: given[name] for name in names if name in given}
        await agree(customer, "0", meter, prices={"USD": terms})
        await use(customer, given["units"], feature_type=meter)
    await customer.advance(to=RENEWAL)
    expected = {
        meter: round(Decimal(case.values[1]["amount"]) * 100)
        for meter, case in zip(METERS, chosen, strict=True)
    }
    assert {meter: cents for _, meter, _, cents in await lines(customer)} == expected
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("terms", [GRADUATED, FALLING, PACKAGES])
async def test_whoever_owes_uses_nothing_beyond_the_plan_by_tiers_either(
    actors: Actors, terms: Json
) -> None:
    customer = await subscribed(actors, terms)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    assert (await customer.subscription())["status"] == "past_due"
    await use(customer, "10")
    beyond = {"feature_type": "ai_responses", "usage_amount": "1"}
    for path in ("/usage/record", "/usage/record?dry_run=true"):
        await customer.refused("QUOTA_EXCEEDED", "POST", path, beyond)
    rows = await customer.ask("POST", "/usage/batch", {"events": [beyond]})
    assert rows["results"][0]["code"] == "QUOTA_EXCEEDED"


BY_VALUE: Final[Json] = {
    "model": "percentage",
    "percentage": {
        "percent": "2.9", "fixed_price": "0.30", "minimum": "1", "maximum": "12",
        "free_transactions": 1,
    },
}  # fmt: skip


async def test_a_percentage_charges_each_use_by_its_value(actors: Actors) -> None:
    customer = await subscribed(actors, BY_VALUE)
    await use(customer, "60")  # 10 are included; the first beyond them is free
    rows = {"events": [{"feature_type": "ai_responses", "usage_amount": n} for n in ("100", "5")]}
    await customer.ask("POST", "/usage/batch", rows)
    await use(customer, "1000")
    costs = [Decimal(amount) for *_, amount in await records(customer)]
    # 0.30 + 2.90; at least 1; at most 12.
    assert costs == [Decimal(0), Decimal("3.20"), Decimal(1), Decimal(12)]
    await customer.advance(to=RENEWAL)
    assert [line[2:] for line in await lines(customer)] == [(1155, 1620)]
    (line,) = await usage_lines(customer)
    assert line["tiers"] is None, "each use has a price of its own"
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("uses", [["500"], ["100"] * 5, ["350", "150"]])
async def test_what_stays_beyond_a_larger_plan_has_the_tiers_of_its_time(
    actors: Actors, uses: list[str]
) -> None:
    falling = {
        "model": "graduated",
        "tiers": [{"up_to": "100", "unit_price": "0.10"}, {"unit_price": "0.05"}],
    }
    key = f"tiers-{uuid4().hex[:8]}"
    for name, cents, included, price in (
        ("small", 1000, 100, falling), ("large", 2000, 300, "0.04"),
    ):  # fmt: skip
        limit = {"meter": "ai_responses", "included": included, "then": "overage"}
        await actors.operate(
            "PUT", f"/admin/plans/{key}-{name}",
            {"name": name, "family": key, "prices": {"month": {"USD": cents}},
             "limits": [limit | {"prices": {"USD": price}}]},
        )  # fmt: skip
    customer = await actors.customer_on_clock("2027-04-01T10:00:00Z")
    await customer.subscribed(f"{key}-small")
    for amount in uses:
        await use(customer, amount)
    await customer.advance(to="2027-04-16T10:00:00Z")
    up = {"plan": f"{key}-large"}
    await customer.ask("PUT", "/billing/subscription", up, status=200)
    # Half of 100 and of 300 are included: 300 are beyond, 100 of them at 0.10, 200 at 0.05.
    current = await customer.ask("GET", "/usage/current")
    assert current["overages"]["total_overage_cost"] == "20.00"
