"""The database's money rule is the one of billing.catalog.rating.rules, to the last digit."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.rating import rules
from billing.catalog.rating.schemas import PriceTerms
from devstack.stack import StackInfo
from tests.unit.rating.terms import any_terms, quantities

CASES = st.lists(
    st.tuples(any_terms(), quantities, quantities, quantities), min_size=20, max_size=60
)


@pytest.fixture(scope="module")
def database(stack: StackInfo) -> Iterator[psycopg.Connection[Any]]:
    url = stack.app_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@settings(max_examples=40, deadline=None)
@given(cases=CASES)
def test_the_database_charges_what_the_rules_say(
    database: psycopg.Connection[Any], cases: list[tuple[PriceTerms, Decimal, Decimal, Decimal]]
) -> None:
    asked = [[*_columns(terms), *map(str, amounts)] for terms, *amounts in cases]
    rows = database.execute(
        "SELECT usage_charge(c ->> 0, (c ->> 1)::numeric, (c ->> 2)::numeric,"
        " (c ->> 3)::numeric, c -> 4, (c ->> 5)::numeric, (c ->> 6)::numeric,"
        " (c ->> 7)::numeric)"
        " FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS a(c, place) ORDER BY place",
        [json.dumps(asked)],
    ).fetchall()
    for (charged,), (terms, before, units, paid) in zip(rows, cases, strict=True):
        expected = rules.charge(terms, before, units, paid=paid)
        assert charged == expected, (terms, before, units, paid)


def _columns(terms: PriceTerms) -> list[Any]:
    return [
        terms.model,
        str(terms.unit_price),
        str(terms.package_size),
        str(terms.free_units),
        [tier.model_dump(mode="json") for tier in terms.tiers],
    ]
