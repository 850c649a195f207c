"""The database's money rule is the one of billing.catalog.rating.rules, to the last digit."""

import json
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from billing.catalog.rating import rules
from billing.catalog.rating.schemas import OverageTerms, PriceTerms
from tests.searching import examples
from tests.unit.rating.terms import any_terms, percentage_terms, quantities

_PRICES: TypeAdapter[PriceTerms] = TypeAdapter(OverageTerms)
CURRENCIES = st.sampled_from(["CREDIT", "USD"])
CASES = st.lists(
    st.tuples(any_terms(), CURRENCIES, quantities, quantities, quantities),
    min_size=20,
    max_size=60,
)


@settings(max_examples=examples(40))
@given(cases=CASES)
def test_the_database_charges_what_the_rules_say(
    plain: psycopg.Connection[Any],
    cases: list[tuple[PriceTerms, str, Decimal, Decimal, Decimal]],
) -> None:
    """By the terms of a product and by those that a plan's limit keeps as JSON, nulls left out."""
    asked = [[_kept(terms), currency, *map(str, known)] for terms, currency, *known in cases]
    rows = plain.execute(
        "SELECT usage_charge_after(usage_price_of(jsonb_strip_nulls(c -> 0)), c ->> 1,"
        " (c ->> 2)::numeric, (c ->> 3)::numeric, (c ->> 4)::numeric)"
        " FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS a(c, place) ORDER BY place",
        [json.dumps(asked)],
    ).fetchall()
    for (charged,), (terms, currency, before, units, paid) in zip(rows, cases, strict=True):
        expected = rules.charge(terms, before, units, currency, paid=paid)
        assert charged == expected, (terms, currency, before, units, paid)


SEEN = st.none() | st.integers(0, 4)
USES = st.lists(
    st.tuples(percentage_terms(), CURRENCIES, quantities, quantities, SEEN),
    min_size=20,
    max_size=60,
)


@settings(max_examples=examples(20))
@given(cases=USES)
def test_the_database_charges_a_percentage_as_the_rules_say(
    plain: psycopg.Connection[Any],
    cases: list[tuple[PriceTerms, str, Decimal, Decimal, int | None]],
) -> None:
    asked = [[_kept(terms), currency, *known] for terms, currency, *known in cases]
    rows = plain.execute(
        "SELECT usage_charge_use(usage_price_of(c -> 0), c ->> 1, (c ->> 2)::numeric,"
        " (c ->> 3)::numeric, (c ->> 4)::bigint)"
        " FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS a(c, place) ORDER BY place",
        [json.dumps(asked, default=str)],
    ).fetchall()
    for (charged,), (terms, currency, before, units, uses) in zip(rows, cases, strict=True):
        assert charged == rules.charge(terms, before, units, currency, uses=uses), (terms, uses)


def _kept(terms: PriceTerms) -> Any:
    shown = _PRICES.dump_python(terms, mode="json")
    assert isinstance(shown, str) == terms.is_plain
    return shown
