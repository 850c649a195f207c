"""The least of a period: each minimum for the time that it holds, also where days are given."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from billing.core.periods import MONTH
from billing.money.subscriptions.periods import added_days, spans, true_ups
from billing.money.subscriptions.schemas import Subscription


def at(month: int, day: int) -> datetime:
    return datetime(2027, month, day, 10, tzinfo=UTC)


def sold(begins: datetime, billing_day: int | None = None, **more: Any) -> Subscription:
    """A subscription by the month whose periods come to 10000 at least."""
    known: dict[str, Any] = {
        "id": UUID(int=1), "account_id": UUID(int=2), "plan_id": UUID(int=3), "plan_key": "least",
        "price_id": UUID(int=4), "currency": "USD", "amount_minor": 3100, "interval_unit": "month",
        "interval_count": 1, "status": "active", "minimum_minor": 10000, "created_at": begins,
        "updated_at": begins, **spans.first(begins, "UTC", MONTH, billing_day, None, MONTH),
    }  # fmt: skip
    return Subscription(**known | more)


def extended(one: Subscription, days: int) -> Subscription:
    later = added_days.extended(one, days, MONTH)
    return later.model_copy(update=true_ups.spread(one))


def changed(one: Subscription, on: datetime, minimum_minor: int) -> Subscription:
    fields = true_ups.applied_from(one, on, minimum_minor)
    return one.model_copy(update=fields | {"minimum_minor": minimum_minor})


def least(one: Subscription) -> int:
    return true_ups.minimum_until(one, one.current_period_end)


@pytest.mark.parametrize("days", [1, 7, 30, 100])
def test_days_that_are_given_raise_no_minimum(days: int) -> None:
    whole = sold(at(4, 1))
    assert least(extended(whole, days)) == 10000
    # 21 of the 31 days from 31 December.
    short = sold(at(1, 10), billing_day=31)
    assert (least(short), least(extended(short, days))) == (6774, 6774)
    # Half a month of 10000 and half of 4000, whenever the days come.
    after = changed(whole, at(4, 16), 4000)
    assert (least(after), least(extended(after, days))) == (7000, 7000)
    twice = extended(extended(after, days), days)
    assert (least(twice), twice.minimum_before_minor) == (7000, 5000)


@pytest.mark.parametrize("minimum_minor", [9999, 10000, 20000, 20001])
def test_a_minimum_that_stays_through_changes_comes_to_itself(minimum_minor: int) -> None:
    one = sold(at(4, 1), minimum_minor=minimum_minor)
    for day in range(2, 17, 2):
        one = changed(one, at(4, day), minimum_minor)
    assert least(one) == minimum_minor
    assert least(extended(one, 7)) == minimum_minor


def test_what_has_passed_of_all_the_days_is_the_part_of_the_minimum() -> None:
    given = extended(sold(at(4, 1)), 30)
    assert true_ups.minimum_until(given, at(4, 16)) == 2500, "15 of 60 days"
    # 2500 until then; a change to 4000 has 45 of 60 days of it.
    after = changed(given, at(4, 16), 4000)
    assert true_ups.minimum_until(after, at(4, 16)) == 2500
    assert true_ups.minimum_until(after, at(5, 1)) == 2500 + 1000
    assert least(after) == 2500 + 3000
    # The other 45 days are 95 now: the same for them all.
    more = extended(after, 50)
    assert (least(more), true_ups.minimum_until(more, at(5, 5))) == (5500, 2500 + 600)


def test_a_period_that_got_days_leaves_the_next_one_its_own_minimum() -> None:
    given = extended(changed(sold(at(4, 1)), at(4, 16), 4000), 5)
    number, end = spans.next_period(given)
    start = given.current_period_end
    following = given.model_copy(
        update={"period_number": number, "current_period_start": start, "current_period_end": end}
    )
    assert least(following) == 4000
    # A change that comes after the end of the period, before the step that renews it.
    late = changed(given, at(5, 10), 9000)
    assert least(late) == 7000
    after = late.model_copy(
        update={"period_number": number, "current_period_start": start, "current_period_end": end}
    )
    assert least(after) == 9000


def test_days_that_are_given_while_nothing_is_served_cost_nothing() -> None:
    unpaid = sold(at(4, 1), status="unpaid", unpaid_at=at(4, 11), unserved_since=at(4, 11))
    given = extended(unpaid, 10)
    assert least(given) == 2500, "10 of 40 days"
    assert least(given.model_copy(update={"status": "active", "unpaid_at": None})) == 10000


def test_a_trial_that_is_extended_has_no_minimum() -> None:
    trial = sold(at(4, 1), status="trialing", trial_end=at(5, 1))
    assert true_ups.spread(trial) == {}
