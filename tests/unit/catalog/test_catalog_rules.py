"""Access by status, and names of intervals."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.catalog.plans import rules
from billing.catalog.plans.schemas import DunningPolicy, Limit, Plan, Rollover
from billing.catalog.rating.schemas import PriceTerms
from billing.core.periods import Interval

LIMIT = Limit(meter="api_calls", included=Decimal(10))


def a_plan(**more: Any) -> Plan:
    facts: dict[str, Any] = {
        "id": UUID(int=1), "key": "pro", "version": 1, "family": "app", "name": "Pro",
        "description": "", "features": {"export": True}, "limits": (LIMIT,), "trial_days": 0,
        "monthly_credits": Decimal(0), "past_due_access": "full", "trial_end_behavior": "cancel",
        "dunning": DunningPolicy(), "rollover": Rollover(), "stripe_product_id": None,
        "position": 0, "is_active": True, "is_current": True,
        "created_at": datetime(2027, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return Plan.model_validate(facts | more)


@pytest.mark.parametrize(
    ("status", "policy", "reach"),
    [
        ("trialing", "none", "full"),
        ("active", "none", "full"),
        ("past_due", "full", "full"),
        ("past_due", "no_new_overage", "no_new_overage"),
        ("past_due", "none", "none"),
        ("unpaid", "full", "none"),
        ("paused", "full", "none"),
        ("incomplete", "full", "none"),
        ("canceled", "full", "none"),
    ],
)
def test_access_follows_the_state_and_the_plan_s_policy(
    status: str, policy: str, reach: str
) -> None:
    given = rules.entitle(a_plan(past_due_access=policy), status)
    assert given.access == reach
    ended = {"canceled": "no_subscription"}
    assert given.reason == (ended.get(status, status) if reach != "full" else None)
    assert bool(given.features) is bool(given.limits) is (reach != "none")
    assert (given.plan, given.subscription_status) == ("pro", status)


def test_overage_of_the_default_plan_is_refused_for_no_invoice_bills_it() -> None:
    over = Limit(
        meter="calls",
        included=Decimal(5),
        then="overage",
        prices={"USD": PriceTerms(unit_price=Decimal(1))},
    )
    given = rules.entitle(a_plan(limits=(over,)), None)
    assert (given.access, given.subscription_status, given.reason) == ("full", None, None)
    assert given.limits == (Limit(meter="calls", included=Decimal(5)),)


@pytest.mark.parametrize(
    ("words", "interval"),
    [
        ("month", Interval(unit="month")),
        ("months", Interval(unit="month")),
        ("3 months", Interval(unit="month", count=3)),
        ("2 weeks", Interval(unit="week", count=2)),
    ],
)
def test_an_interval_is_written_in_words(words: str, interval: Interval) -> None:
    assert rules.parse_interval(words) == interval
    assert rules.parse_interval(rules.show_interval(interval)) == interval


@pytest.mark.parametrize(
    "words", ["", "monthly", "0 months", "-1 month", "1.5 months", "month ", "\uff13 months"]
)
def test_words_that_are_no_interval_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"interval|greater than or equal"):
        rules.parse_interval(words)


def test_a_pack_is_labelled_in_its_currency_s_own_digits() -> None:
    assert rules.pack_label(Decimal(500), 3999, "USD") == "500 credits for 39.99 USD"
    assert rules.pack_label(Decimal("0.5"), 1500, "JPY") == "0.50 credits for 1500 JPY"
