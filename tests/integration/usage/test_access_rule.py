"""Access by status is one rule, in the database and in the catalog."""

import json
from decimal import Decimal
from itertools import product
from typing import Any, Final, get_args

import psycopg
import pytest

from billing.catalog.plans.rules import access, entitle
from billing.catalog.plans.schemas import Limit, Plan
from billing.catalog.rating.schemas import PriceTerms
from billing.money.subscriptions.states import State

LIMITS: Final = (
    Limit(
        meter="ai_responses",
        included=Decimal(50),
        then="overage",
        prices={"USD": PriceTerms(unit_price=Decimal("0.02"))},
    ),
    Limit(meter="storage_gb", included=Decimal(1), then="notify"),
    Limit(meter="document_uploads", included=Decimal(5)),
)


@pytest.mark.parametrize(
    ("status", "past_due"), [*product(get_args(State), ("full", "no_new_overage", "none"))]
)
@pytest.mark.parametrize("currency", ["USD", "EUR"])
def test_the_database_gives_what_the_catalog_says(
    plain: psycopg.Connection[Any], status: str, past_due: str, currency: str
) -> None:
    listed = json.dumps([limit.model_dump(mode="json") for limit in LIMITS])
    row = plain.execute(
        "SELECT usage_limits_of(%s::jsonb, %s, %s, %s)", [listed, status, past_due, currency]
    ).fetchone()
    assert row is not None
    plan: Any = Plan
    bought = plan.model_construct(
        key="pro", name="Pro", features={}, limits=LIMITS, past_due_access=past_due
    )
    reach = access(bought, status)
    shown = entitle(bought, status, currency).limits
    assert {one.meter: one.then for one in shown} == {
        meter: lim["then"] for meter, lim in row[0].items()
    }
    beyond = "overage" if (reach, currency) == ("full", "USD") else "block"
    assert {meter: lim["then"] for meter, lim in row[0].items()} == (
        {}
        if reach == "none"
        else {"ai_responses": beyond, "storage_gb": "notify", "document_uploads": "block"}
    )
