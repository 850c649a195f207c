"""A change of the catalog says whom it touches, and which of its steps are too large."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.payment_kinds.changes import PaymentKindChange
from billing.catalog.plans import weighing
from billing.catalog.plans.changes import (
    Change,
    CostChange,
    DefaultPlanChange,
    Held,
    PackChange,
    PlanChange,
    PriceChange,
    Sold,
)
from billing.catalog.plans.schemas import CreditCost, Pack, Price
from billing.catalog.plans.spec import CostSpec, PackSpec, PlanSpec, PriceSpec
from billing.catalog.products.changes import ProductPriceChange
from billing.catalog.products.schemas import ProductPrice
from billing.catalog.rating.schemas import PriceTerms, Tier
from billing.catalog.taxes.changes import CodesChange, InclusionChange, JurisdictionChange
from billing.catalog.taxes.schemas import Jurisdiction
from billing.core.periods import MONTH, Interval
from tests.unit.catalog.test_catalog_rules import a_plan

AT = datetime(2027, 1, 1, tzinfo=UTC)
YEAR = Interval(unit="year")
MINOR = st.integers(0, 10**12)


def priced(
    old: int | None, new: int | None, *held: Held, currency: str = "USD", every: Interval = MONTH
) -> PriceChange:
    before = None if old is None else Price(
        id=UUID(int=1), kind="plan", key="pro", currency=currency, interval=every,
        amount_minor=old, version=1, stripe_price_id=None, is_current=True, created_at=AT,
    )  # fmt: skip
    after = None if new is None else PriceSpec(amount_minor=new)
    return PriceChange(("plan", "pro", currency, every), before, after, Sold(held))


def product_price(terms: PriceTerms) -> ProductPrice:
    return ProductPrice(
        id=UUID(int=2), product="gpt", currency="CREDIT", terms=terms,
        effective_from=AT, effective_to=None,
    )  # fmt: skip


def a_pack(credits: int) -> Pack:
    return Pack(
        id=UUID(int=3), key="small", name="Small", description="", credits=Decimal(credits),
        position=0, is_active=True, created_at=AT,
    )  # fmt: skip


def a_pack_spec(credits: int) -> PackSpec:
    return PackSpec.model_validate({"name": "Small", "credits": credits, "prices": {"USD": 999}})


def test_a_change_of_a_packs_credits_is_told_in_numbers() -> None:
    words = [PackChange("small", a_pack(9), a_pack_spec(more), 0).words for more in (9, 10)]
    assert words == ["pack small: changed", "pack small: changed, 9.00 → 10.00 credits"]


@given(MINOR, MINOR)
def test_a_price_may_move_by_half_of_it_and_no_further(old: int, new: int) -> None:
    within = 2 * new <= 3 * old and 2 * new >= old
    assert (weighing.too_large([priced(old, new)]) == []) == within


@pytest.mark.parametrize(("old", "new"), [(None, 4900), (4900, None)])
def test_what_is_added_or_goes_away_is_no_step(old: int | None, new: int | None) -> None:
    assert weighing.too_large([priced(old, new)]) == []


def test_a_point_in_the_wrong_place_is_found_wherever_a_price_stands() -> None:
    tiers = [
        PriceTerms(model="graduated", tiers=(Tier(up_to=Decimal(5), unit_price=Decimal(one)),
                                             Tier(unit_price=Decimal(1))))
        for one in (2, 20)
    ]  # fmt: skip
    known = product_price(tiers[0])
    limits = [
        {"meter": "calls", "included": 1, "then": "overage", "prices": {"USD": one}}
        for one in ("0.02", "0.2")
    ]
    add_ons = [
        {"key": "more", "name": "More", "meter": "calls", "units": 5, "prices": {"USD": one}}
        for one in (700, 70)
    ]
    old, new = (
        PlanSpec.model_validate(
            {"family": "app", "name": "Pro", "limits": [limits[n]], "add_ons": [add_ons[n]],
             "prices": {"month": {"USD": 1}}}
        )
        for n in (0, 1)
    )  # fmt: skip
    new = new.model_copy(update={"monthly_credits": Decimal(5000)})
    plan = a_plan(limits=old.limits, add_ons=old.add_ons, monthly_credits=Decimal(500))
    cost = CreditCost(operation="chat", cost=Decimal(1), is_active=True, built_in=False)
    found = weighing.too_large([
        priced(4900, 490),
        PlanChange("pro", plan, new, 0, 0),
        ProductPriceChange("gpt", known, tiers[1], "CREDIT"),
        CostChange("chat", cost, CostSpec(cost=Decimal(2))),
        PackChange("small", a_pack(100), a_pack_spec(1000), 0),
    ])  # fmt: skip
    assert sorted(one.words for one in found) == [
        "credit cost of chat: 1 → 2",
        "credits of pack small: 100 → 1000",
        "credits of plan pro: 500 → 5000",
        "plan pro, add-on more in minor units of USD: 700 → 70",
        "plan pro, calls: USD per unit: 0.02 → 0.2",
        "price of plan pro in minor units of USD: 4900 → 490",
        "product gpt, CREDIT graduated 1 of 2: 2 → 20",
    ]


TIERED: dict[str, Any] = {
    "model": "graduated",
    "tiers": [{"up_to": 100, "unit_price": 1, "flat_price": 5}, {"unit_price": 1}],
}
SHARE: dict[str, Any] = {
    "percent": 2, "fixed_price": 1, "minimum": 2, "maximum": 8, "free_transactions": 4,
}  # fmt: skip
NUMBERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"unit_price": 1, "free_units": 100}, {"free_units": 1000},
     "CREDIT per unit, free units: 100 → 1000"),
    ({"model": "package", "unit_price": 1, "package_size": 100}, {"package_size": 10},
     "CREDIT package, units in a package: 100 → 10"),
    (TIERED, {"tiers": [TIERED["tiers"][0] | {"up_to": 1000}, TIERED["tiers"][1]]},
     "CREDIT graduated 1 of 2, up to: 100 → 1000"),
    (TIERED, {"tiers": [TIERED["tiers"][0] | {"flat_price": 50}, TIERED["tiers"][1]]},
     "CREDIT graduated 1 of 2, once: 5 → 50"),
    *(({"model": "percentage", "percentage": SHARE}, {"percentage": SHARE | new}, f"CREDIT {words}")
      for new, words in (
          ({"percent": 20}, "percentage percent: 2 → 20"),
          ({"fixed_price": 10}, "percentage fixed: 1 → 10"),
          ({"minimum": "0.2"}, "percentage minimum: 2 → 0.2"),
          ({"maximum": 80}, "percentage maximum: 8 → 80"),
          ({"free_transactions": 40}, "percentage, free uses: 4 → 40"),
      )),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "more", "says"), NUMBERS)
def test_each_number_of_a_price_is_weighed_and_shown(
    terms: dict[str, Any], more: dict[str, Any], says: str
) -> None:
    old, new = PriceTerms.model_validate(terms), PriceTerms.model_validate(terms | more)
    change = ProductPriceChange("gpt", product_price(old), new, "CREDIT")
    assert [one.words for one in weighing.too_large([change])] == [f"product gpt, {says}"]
    before, _, after = change.words.partition(": ")[2].partition(" → ")
    assert before != after, "people see what changes"


def test_what_goes_away_is_done_only_if_it_is_asked_for() -> None:
    plan, pack = a_plan(), a_pack(9)
    price, cost = product_price(PriceTerms(unit_price=Decimal(1))), CostSpec(cost=Decimal(1))
    known = CreditCost(operation="chat", cost=Decimal(1), is_active=True, built_in=False)
    taxed = Jurisdiction(key="DE", name="USt", rates={"standard": Decimal(19)})
    assert weighing.asked_by_name([
        PlanChange("pro", plan, None, 0, 3),
        priced(4900, None, Held(4900, 3, 3)),
        PackChange("small", pack, None, 0),
        ProductPriceChange("gpt", price, None, "CREDIT"),
        CostChange("chat", known, None),
        DefaultPlanChange(None),
        JurisdictionChange("DE", taxed, None),
        PaymentKindChange("card", None),
    ]) == [
        "plan pro: closed to new subscribers; 3 open subscriptions keep theirs",
        "price of plan pro per month: 49.00 USD → none; 3 open subscriptions keep theirs",
        "pack small: no longer offered",
        "price of product gpt in credits: 1.00 per unit → none",
        "credit cost of chat: built-in",
        "default plan, of accounts without a subscription: none",
        "tax DE: no longer collected",
        "payment method card: no longer offered",
    ]  # fmt: skip
    added: list[Change] = [
        priced(None, 4900),
        CostChange("chat", None, cost),
        DefaultPlanChange("pro"),
    ]
    assert weighing.asked_by_name([*added, InclusionChange(()), CodesChange({})]) == []


def test_a_price_that_goes_away_within_a_plan_is_named() -> None:
    usd, both = {"USD": "0.02"}, {"USD": "0.02", "EUR": "0.02"}
    more = {"key": "more", "name": "More", "meter": "calls", "units": 5, "prices": {"USD": 700}}
    old, new = (
        PlanSpec.model_validate(
            {"family": "app", "name": "Pro", "add_ons": add_ons, "prices": {"month": {"USD": 1}},
             "limits": [{"meter": "calls", "included": 1, "then": "overage", "prices": prices}]}
        )
        for add_ons, prices in (([more], both), ([], usd))
    )  # fmt: skip
    before = a_plan(limits=old.limits, add_ons=old.add_ons)
    assert weighing.asked_by_name([PlanChange("pro", before, new, 0, 0)]) == [
        "price of add-on more in USD in plan pro: → none",
        "price of calls in EUR in plan pro: → none",
    ]
    after = a_plan(limits=new.limits, add_ons=new.add_ons)
    assert weighing.asked_by_name([PlanChange("pro", after, old, 0, 0)]) == []


def test_another_way_of_pricing_is_no_step() -> None:
    known = product_price(PriceTerms(unit_price=Decimal(1)))
    flat = PriceTerms(model="flat", unit_price=Decimal(100))
    assert weighing.too_large([ProductPriceChange("gpt", known, flat, "USD")]) == []


@given(st.lists(st.tuples(MINOR, st.integers(1, 50), st.integers(1, 9)), max_size=5), MINOR)
def test_what_subscribers_would_pay_more_is_counted_seat_by_seat(
    held: list[tuple[int, int, int]], new: int
) -> None:
    change = priced(100, new, *(Held(unit, number, number * each) for unit, number, each in held))
    one_by_one = [(unit, each) for unit, number, each in held for _ in range(number)]
    moved = sum(each * new for _, each in one_by_one)
    assert change.period_minor == moved - sum(unit * each for unit, each in one_by_one)
    assert change.kept.subscriptions == sum(unit != new for unit, _ in one_by_one)


def test_whom_it_touches_is_summed_by_currency_and_period() -> None:
    said = weighing.touched([
        priced(4900, 5900, Held(4900, 3, 5)),
        priced(4900, 5900, Held(4900, 1, 1)),
        priced(49000, 48000, Held(49000, 2, 2), Held(48000, 7, 7), every=YEAR),
        priced(100, 200, currency="EUR"),
    ])  # fmt: skip
    moved = "open subscriptions keep another price; moved, they would pay"
    assert said == [
        f"USD per month: 4 {moved} 60.00 USD more",
        f"USD per year: 2 {moved} 20.00 USD less",
    ]


def test_who_already_pays_the_new_price_keeps_nothing() -> None:
    mended = priced(490, 4900, Held(4900, 6, 6), Held(490, 1, 1))
    assert mended.words == (
        "price of plan pro per month: 4.90 USD → 49.00 USD; 1 open subscription keeps its own"
        " (44.10 USD per month if they moved)"
    )


def test_a_minimum_is_shown_and_kept_with_its_price() -> None:
    change = priced(4900, 4900, Held(4900, 2, 2), Held(4900, 1, 1, 490_000))
    with_minimum = replace(change, new=PriceSpec(amount_minor=4900, minimum_minor=490_000))
    assert with_minimum.words == (
        "price of plan pro per month: 49.00 USD → 49.00 USD, at least 4900.00 USD;"
        " 2 open subscriptions keep theirs (0.00 USD per month if they moved)"
    )
    (said,) = weighing.touched([with_minimum])
    assert said.startswith("USD per month: 2 open subscriptions keep another price")


def test_what_customers_do_meanwhile_makes_no_other_change_of_it() -> None:
    before, after = priced(100, 120, Held(100, 1, 1)), priced(100, 120, Held(100, 2, 2))
    assert weighing.identity([before]) == weighing.identity([after])
    assert weighing.identity([before]) != weighing.identity([priced(100, 130)])
