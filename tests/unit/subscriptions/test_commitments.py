"""A commitment has as many periods as agreed, also where days are given."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from billing.core.periods import MONTH, Interval
from billing.money.subscriptions.periods import added_days, spans
from billing.money.subscriptions.schemas import Commitment, Subscription
from billing.money.subscriptions.terms import agreements


def at(month: int, day: int) -> datetime:
    return datetime(2027, month, day, 10, tzinfo=UTC)


def sold(begins: datetime, ends_at: datetime, trial_end: datetime | None = None) -> Subscription:
    """A subscription by the month that is committed until then."""
    agreed = Commitment(
        amount_minor=9300, periods=3, on_early_end="charge", since=trial_end or begins,
        ends_at=ends_at,
    )  # fmt: skip
    known: dict[str, Any] = {
        "id": UUID(int=1), "account_id": UUID(int=2), "plan_id": UUID(int=3), "plan_key": "agreed",
        "price_id": UUID(int=4), "currency": "USD", "amount_minor": 3100, "interval_unit": "month",
        "interval_count": 1, "status": "trialing" if trial_end else "active",
        "trial_end": trial_end, "commitment": agreed.model_dump(mode="json"),
        "created_at": begins, "updated_at": begins,
        **spans.first(begins, "UTC", MONTH, None, trial_end, MONTH),
    }  # fmt: skip
    return Subscription(**known)


def extended(one: Subscription, days: int) -> Subscription:
    later = added_days.extended(one, days, MONTH)
    return later.model_copy(update=agreements.extended(one, later, days))


def closes_after(one: Subscription) -> int:
    """The number of paid periods until the first that ends no earlier than the commitment."""
    assert one.committed is not None
    ends = list[datetime]()
    if one.status != "trialing":
        ends.append(one.current_period_end)
    while not ends or ends[-1] < one.committed.ends_at:
        number, end = spans.next_period(one)
        begun = {"period_number": number, "current_period_start": one.current_period_end}
        one = one.model_copy(update=begun | {"current_period_end": end, "status": "active"})
        ends.append(end)
    assert one.committed is not None
    assert ends[-1] == one.committed.ends_at
    return len(ends)


@pytest.mark.parametrize("days", [1, 7, 27, 28, 30, 31, 60, 100])
def test_days_that_are_given_close_no_commitment_early_or_late(days: int) -> None:
    assert closes_after(extended(sold(at(1, 1), at(4, 1)), days)) == 3
    # A month later by thirty days would be 1 May, and the second period ends on 30 April.
    assert closes_after(extended(sold(at(2, 1), at(4, 1)), days)) == 2
    twice = extended(extended(sold(at(1, 31), at(4, 30)), days), days)
    assert closes_after(twice) == 3
    trial = extended(sold(at(1, 1), at(4, 15), trial_end=at(1, 15)), days)
    assert trial.committed is not None
    assert trial.committed.since == at(1, 15) + timedelta(days=days)
    assert closes_after(trial) == 3


def test_a_commitment_that_ends_within_a_period_ends_so_many_days_later() -> None:
    """Another interval came since: it closes with the year."""
    by_months = sold(at(1, 1), at(4, 1))
    year = spans.anew(by_months, at(2, 1), Interval(unit="year"), MONTH)
    given = extended(year, 10)
    assert given.committed is not None
    assert (given.committed.since, given.committed.ends_at) == (at(1, 1), at(4, 11))
