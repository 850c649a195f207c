"""Cost of usage: the reference case to the string, tier edges, and properties of every model."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.rating import rules
from billing.catalog.rating.schemas import IncludedUnits, PriceTerms, Tier
from billing.core.money import show_decimal
from tests.unit.rating.terms import any_terms, graduated_terms, quantities, volume_terms

D = Decimal
TIERED = (
    Tier(up_to=D(100), unit_price=D("0.10"), flat_price=D(1)),
    Tier(up_to=D(1000), unit_price=D("0.05")),
    Tier(unit_price=D("0.01"), flat_price=D(2)),
)


def test_the_reference_case_is_exact_to_the_string() -> None:
    terms = PriceTerms(unit_price=D("0.002"))
    rating = rules.rate(D(1000), terms)
    assert (show_decimal(rating.unit_price), show_decimal(rating.total)) == ("0.002", "2.00")
    assert (rating.is_free_tier, rating.is_included) == (False, False)
    ways = rules.methods(rating, paid_credits=D(5), free_credits=D(0), chargeable=True)
    assert ways == ("wallet_deduction", ("wallet_deduction", "payment_charge"))


@pytest.mark.parametrize(
    ("units", "graduated", "volume"),
    [
        ("0", "0", "0"),
        ("0.5", "1.05", "1.05"),
        ("100", "11", "11"),
        ("100.000001", "11.00000005", "5.00000005"),
        ("1000", "56", "50"),
        ("1001", "58.01", "12.01"),
    ],
)
def test_tiers_change_at_their_edges(units: str, graduated: str, volume: str) -> None:
    assert rules.cost(PriceTerms(model="graduated", tiers=TIERED), D(units)) == D(graduated)
    assert rules.cost(PriceTerms(model="volume", tiers=TIERED), D(units)) == D(volume)


def test_a_begun_package_is_paid_whole_and_a_flat_price_once() -> None:
    package = PriceTerms(model="package", unit_price=D(3), package_size=D(10))
    assert [rules.cost(package, D(n)) for n in (0, 1, 10, 11)] == [0, 3, 3, 6]
    assert rules.charge(package, D(5), D(5)) == 0
    flat = PriceTerms(model="flat", unit_price=D(7), free_units=D(2))
    assert [rules.charge(flat, D(n), D(1)) for n in range(4)] == [0, 0, 7, 0]


def test_single_uses_and_one_use_cost_the_same_under_a_falling_volume_price() -> None:
    tiers = (Tier(up_to=D(100), unit_price=D(1)), Tier(unit_price=D("0.5")))
    terms = PriceTerms(model="volume", tiers=tiers)
    assert rules.charge(terms, D(0), D(150)) == 75
    paid = D(0)
    for n in range(300):
        paid += rules.charge(terms, D(n), D(1), paid=paid)
    assert paid == rules.cost(terms, D(300)) == 150


def test_the_allowance_goes_first_then_the_free_units_then_the_price() -> None:
    terms = PriceTerms(unit_price=D(2), free_units=D(3))
    allowance = IncludedUnits(included=D(10), used=D(8))
    rating = rules.rate(D(7), terms, allowance=allowance)
    assert (rating.included, rating.charged, rating.total) == (D(2), D(5), D(4))
    assert not rating.is_free_tier
    assert not rating.is_included
    assert rules.rate(D(2), terms, allowance=allowance).is_included
    assert rules.rate(D(3), terms, before=D(0)).is_free_tier
    free = rules.rate(D(2), terms, allowance=allowance)
    ways = rules.methods(free, paid_credits=D(0), free_credits=D(9), chargeable=True)
    assert ways == ("subscription_included", ("subscription_included",))


def test_free_credits_are_suggested_where_bought_ones_do_not_reach() -> None:
    rating = rules.rate(D(10), PriceTerms(unit_price=D(1)))

    def suggested(paid: int, free: int, chargeable: bool) -> str:
        return rules.methods(
            rating, paid_credits=D(paid), free_credits=D(free), chargeable=chargeable
        )[0]

    assert suggested(10, 5, True) == "wallet_deduction"
    assert suggested(5, 5, True) == "credit_consumption"
    assert suggested(4, 5, True) == "payment_charge"
    assert suggested(4, 5, False) == "wallet_deduction"


@given(any_terms(), quantities, quantities)
def test_a_charge_is_never_negative_and_free_units_only_help(
    terms: PriceTerms, before: Decimal, units: Decimal
) -> None:
    assert rules.charge(terms, before, units) >= 0
    dearer = terms.model_copy(update={"free_units": D(0)})
    if terms.model != "volume":
        assert rules.cost(terms, units) <= rules.cost(dearer, units)


@given(any_terms(), quantities, quantities)
def test_more_use_never_costs_less_save_under_volume_prices(
    terms: PriceTerms, few: Decimal, more: Decimal
) -> None:
    if terms.model != "volume":
        assert rules.cost(terms, few) <= rules.cost(terms, few + more)


@given(graduated_terms(), st.lists(quantities, min_size=1, max_size=6))
def test_graduated_use_costs_the_same_however_it_is_split(
    terms: PriceTerms, parts: list[Decimal]
) -> None:
    before, total = D(0), D(0)
    for part in parts:
        total += rules.cost(terms, before + part) - rules.cost(terms, before)
        before += part
    assert total == rules.cost(terms, before)


@given(volume_terms(), st.lists(quantities, min_size=1, max_size=6))
def test_volume_use_costs_the_greatest_total_it_came_to_however_it_is_split(
    terms: PriceTerms, parts: list[Decimal]
) -> None:
    before, paid, totals = D(0), D(0), [D(0)]
    for part in parts:
        paid += rules.charge(terms, before, part, paid=paid)
        before += part
        totals.append(rules.rounded(rules.cost(terms, before)))
    assert paid == max(totals)


@given(volume_terms(), quantities, quantities, quantities)
def test_what_was_paid_under_a_dearer_price_before_buys_nothing(
    terms: PriceTerms, before: Decimal, units: Decimal, paid: Decimal
) -> None:
    marginal = rules.charge(terms, before, units)
    assert rules.charge(terms, before, units, paid=paid) <= marginal
    linear = PriceTerms(model="volume", tiers=(Tier(unit_price=D(1)),))
    assert rules.charge(linear, before, units, paid=before + paid) == units


@given(any_terms(), quantities, quantities, quantities)
def test_what_is_included_and_what_is_charged_make_up_the_quantity(
    terms: PriceTerms, quantity: Decimal, included: Decimal, used: Decimal
) -> None:
    allowance = IncludedUnits(included=included, used=used)
    rating = rules.rate(quantity, terms, allowance=allowance)
    assert rating.included + rating.charged == quantity
    assert rating.included <= max(D(0), included - used)
    assert rating.charged > 0 or rating.total == 0


def test_the_price_of_one_unit_is_what_records_show() -> None:
    """As usage_rate_uses.sql has it: the average where units differ in price."""
    terms = PriceTerms(unit_price=D("0.5"), free_units=D(5))
    assert rules.rate(D(2), terms).unit_price == 0
    assert rules.rate(D(10), terms, before=D(2)).unit_price == D("0.35")
    assert rules.rate(D(10), PriceTerms(unit_price=D("0.5"))).unit_price == D("0.5")


BY_VALUE = PriceTerms.model_validate(
    {
        "model": "percentage", "free_units": "100",
        "percentage": {"percent": "2.9", "fixed_price": "0.30", "minimum": "1", "maximum": "12",
                       "free_transactions": 2},
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "value", "uses", "expected"),
    [
        (0, 1000, 0, "0"),  # the first two uses are free, whatever their value
        (1000, 1000, 1, "0"),
        (2000, 100, 2, "3.20"),  # 0.30 + 2.9 % of 100
        (2000, 10, 2, "1"),  # 0.30 + 0.29 is less than the least
        (2000, 1000, 2, "12"),  # 0.30 + 29 is more than the most
        (0, 90, 2, "0"),  # within the free amount there is no fixed part either
        (40, 110, 2, "1.75"),  # 0.30 + 2.9 % of the 50 beyond the free 100
        (2000, 100, None, "3.20"),
    ],
)
def test_a_percentage_is_of_each_use_by_itself(
    before: int, value: int, uses: int | None, expected: str
) -> None:
    assert rules.charge(BY_VALUE, D(before), D(value), "USD", uses=uses) == D(expected)


def test_a_percentage_says_its_percent_and_nothing_else() -> None:
    for wrong in (
        {"model": "percentage"},
        {"model": "percentage", "percentage": {"percent": "1"}, "unit_price": "2"},
        {"model": "per_unit", "unit_price": "1", "percentage": {"percent": "1"}},
        {"model": "percentage", "percentage": {"percent": "1", "minimum": "2", "maximum": "1"}},
    ):
        with pytest.raises(ValueError, match=r"percentage|unit_price|maximum"):
            PriceTerms.model_validate(wrong)
