"""The catalog file: what the product promises is in it, and every mistake is named."""

from pathlib import Path

import pytest

from billing.catalog.plans.loader import CatalogError, parse, read
from billing.catalog.plans.schemas import Limit

PLAN = """
plans:
  solo:
    family: app
    name: Solo
    prices: {month: {USD: 900}}
"""
METER = "meters: {a: {name: A, unit: a}}"
LIMIT = "    limits: [{meter: a, included: 1}]\n"
OVERAGE = "    limits: [{meter: a, included: 1, then: overage, prices: {USD: %s}}]\n"
VOLUME = '{model: volume, tiers: [{up_to: 5, unit_price: 1}, {unit_price: "0.5"}]}'
ADD_ON = """    add_ons:
      - {key: more, name: More, meter: a, units: 5, prices: {USD: 5}}
"""


def test_the_file_in_the_repository_sells_what_was_promised() -> None:
    catalog = read()
    families = {key: plan.family for key, plan in catalog.plans.items()}
    assert families == {
        "free": "app", "basic": "app", "pro": "app", "enterprise": "app",
        "starter": "console", "growth": "console", "scale": "console",
        "console-enterprise": "console",
    }  # fmt: skip
    assert catalog.plans["console-enterprise"].name == catalog.plans["enterprise"].name
    packs = {
        key: (int(pack.credits), pack.prices["USD"].amount_minor)
        for key, pack in catalog.packs.items()
    }
    assert packs == {"small": (100, 999), "medium": (500, 3999), "large": (1000, 6999)}


@pytest.mark.parametrize(
    ("plan", "included", "then"),
    [("free", (50, 5, 1), "block"), ("basic", (500, 50, 10), "overage")],
)
def test_the_limits_that_were_fixed_are_in_it(
    plan: str, included: tuple[int, ...], then: str
) -> None:
    limits = {limit.meter: limit for limit in read().plans[plan].limits}
    meters = ("ai_responses", "document_uploads", "storage_gb")
    assert tuple(int(limits[meter].included) for meter in meters) == included
    assert {limit.then for limit in limits.values()} == {then}


def test_every_plan_is_cheaper_by_the_year_and_sold_in_two_currencies() -> None:
    for key, plan in read().plans.items():
        for currency in ("USD", "EUR"):
            month = plan.prices["month"][currency].amount_minor
            if month == 0:
                continue
            year = plan.prices["year"][currency].amount_minor
            assert 0 < year < 12 * month, key
    assert all("JPY" in pack.prices for pack in read().packs.values())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PLAN.replace("900", "9.0"), "plans.solo.prices.month.USD.amount_minor"),
        (PLAN.replace("900", "-1"), "plans.solo.prices.month.USD.amount_minor"),
        (PLAN.replace("USD", "usd"), "plans.solo.prices.month.usd"),
        (PLAN.replace("month", "fortnight"), "'fortnight' is not an interval"),
        (
            PLAN.replace("}}", "}, months: {USD: 1}}"),
            "solo.prices: two keys name the same interval",
        ),
        (PLAN.replace("solo", "So lo"), "plans.So lo"),
        (PLAN.replace("{month: {USD: 900}}", "{}"), "an active plan needs a price"),
        (PLAN + "    colour: red\n", "plans.solo.colour"),
        (PLAN + "    monthly_credits: 1.5\n", "a decimal in a string"),
        (PLAN + "    trial_days: -1\n", "plans.solo.trial_days"),
        (PLAN + "    past_due_access: some\n", "plans.solo.past_due_access"),
        (PLAN + "    dunning: {days: [3, 7]}\n", "start at 0 and ascend"),
        (PLAN + "    dunning: {days: [0, 7, 3]}\n", "start at 0 and ascend"),
        (PLAN + "    notices: {trial: [3, 7]}\n", "must descend"),
        (PLAN + "    notices: {renewal: [7, 7]}\n", "must descend"),
        (PLAN + "    notices: {renewal: [0]}\n", "plans.solo.notices.renewal.0"),
        (PLAN + "    limits: [{meter: a, included: 1, then: overage}]\n", "prices"),
        (PLAN + "    limits: [{meter: a, included: 1}, {meter: a, included: 2}]\n", "one limit"),
        (PLAN + OVERAGE % "{model: graduated}", "limits.0.prices.USD"),
        (PLAN + OVERAGE % "{model: package}", "unit_price is missing"),
        (
            PLAN + OVERAGE % "{tiers: [{unit_price: 1}]}",
            "required with the models graduated and volume",
        ),
        (PLAN + OVERAGE % VOLUME.replace("up_to: 5, ", ""), "leave out `up_to` in the last tier"),
        (PLAN + OVERAGE % VOLUME.replace('"0.5"', "0.5"), "a decimal in a string"),
        (PLAN + "    billing_threshold: {USD: 0}\n", "plans.solo.billing_threshold.USD"),
        (PLAN + ADD_ON, "the plan has no limit on a"),
        (PLAN + LIMIT + ADD_ON.replace("{USD: 5}", "{}"), "plans.solo.add_ons.0.prices"),
        (PLAN + LIMIT + ADD_ON.replace("units: 5", "units: 0"), "plans.solo.add_ons.0.units"),
        (PLAN + LIMIT + ADD_ON + ADD_ON.splitlines()[-1], "its own key in a plan"),
        (PLAN + "  solo: {}\n", "'solo' appears twice"),
        ("packs: {p: {name: P, credits: 0, prices: {USD: 1}}}", "packs.p.credits"),
        ("packs: {p: {name: P, credits: 1, prices: {USD: 0}}}", "a pack cannot be free"),
        ("packs: {p: {name: P, credits: 1}}", "an active pack needs a price"),
        ("credit_costs: {draft: 0.5}", "a decimal in a string"),
        (PLAN + LIMIT, "^plans.solo.limits: there is no meter 'a'"),
        ("meter: {}", "meter"),
        ("plans: [", "not YAML"),
        ("- 1", "valid dictionary$"),
        (PLAN + "  duo: 5\n", "^plans.duo: Input should be a valid dictionary$"),
        (PLAN.replace("900", '"9"'), "^plans.solo.prices.month.USD: must be a whole number of"),
        (PLAN.replace("900", "[9]"), "^plans.solo.prices.month.USD: .* valid dictionary$"),
    ],
)
def test_a_mistake_is_named_by_its_place(text: str, says: str) -> None:
    with pytest.raises(CatalogError, match=says.replace("[", r"\[").replace("{", r"\{")):
        parse(text)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(CatalogError) as refused:
        parse(PLAN.replace("900", "9.0") + "    colour: red\n")
    assert len(str(refused.value).splitlines()) == 2


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("plans: [")
    with pytest.raises(CatalogError, match=r"^bad.yaml: not YAML"):
        read(tmp_path / "bad.yaml")


def test_a_file_in_another_encoding_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_text(PLAN.replace("Solo", "Solé"), encoding="latin-1")
    with pytest.raises(CatalogError, match=r"^latin.yaml: not UTF-8"):
        read(file)
    file.write_text(PLAN.replace("Solo", "Solé"), encoding="utf-8")
    assert read(file).plans["solo"].name == "Solé"


def test_an_empty_file_sells_nothing() -> None:
    assert parse("").plans == {}


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("", None), ("default_plan: solo\n", "solo"), ("default_plan: null\n", None),
        ("default_plan: free\n", None),
    ],
)  # fmt: skip
def test_the_default_plan_is_one_of_the_file_or_none(line: str, key: str | None) -> None:
    if "free" in line:
        with pytest.raises(CatalogError, match="default_plan: there is no plan 'free'"):
            parse(line + PLAN)
        return
    assert parse(line + PLAN).default_key == key


def test_the_file_in_the_repository_has_a_default_plan() -> None:
    assert read().default_key == "free"
    assert {plan.past_due_access for plan in read().plans.values()} == {"no_new_overage"}


def test_overage_may_cost_by_the_unit_or_by_tier() -> None:
    (plain,) = parse(PLAN + OVERAGE % '{unit_price: "0.02"}' + METER).plans["solo"].limits
    assert plain == parse(PLAN + OVERAGE % '"0.02"' + METER).plans["solo"].limits[0]
    assert plain.model_dump(mode="json")["prices"] == {"USD": "0.02"}
    (tiered,) = parse(PLAN + OVERAGE % VOLUME + METER).plans["solo"].limits
    shown = tiered.model_dump(mode="json")
    assert shown["prices"]["USD"]["tiers"][0]["up_to"] == "5.00"
    assert Limit.model_validate(shown) == tiered, "what is kept is what was written"


def test_no_product_is_free_by_an_omission() -> None:
    product = """
meters:
  calls: {name: Calls, unit: call}
products:
  call: {name: Call, meter: calls, service_type: api_gateway, prices: {CREDIT: %s}}
"""
    for terms in ("{}", "{free_units: 5}"):
        with pytest.raises(CatalogError, match="unit_price is missing"):
            parse(product % terms)
    assert parse(product % "0").products["call"].prices["CREDIT"].unit_price == 0
