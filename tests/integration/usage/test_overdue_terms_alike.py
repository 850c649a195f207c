"""The database knows an overdue account's terms until its recovery may be given up, not longer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import ids
from billing.money.dunning.rules import UNDECIDED_IS_OVERDUE, Case, final_due, planned_at
from billing.money.dunning.tables import dunning_cases
from devstack.stack import StackInfo
from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import Shop
from tests.searching import examples

A_DAY: Final = timedelta(days=1)
AN_HOUR: Final = timedelta(hours=1)
ZONES: Final = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
    "America/Havana", "Atlantic/Azores", "Asia/Beirut",
)  # fmt: skip
"""Some have a midnight that comes twice, or not at all."""
POLICIES: Final = st.builds(
    DunningPolicy,
    days=st.sets(st.integers(1, 40), max_size=4).map(lambda days: (0, *sorted(days))),
    hour=st.none() | st.integers(0, 23),
    grace_days=st.integers(1, 30),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A case that has come to any of its slots, with or without days that an operator gave."""
    policy = draw(POLICIES)
    zero = START + draw(st.timedeltas(timedelta(0), timedelta(days=800)))
    ran = zero + draw(st.timedeltas(timedelta(0), timedelta(days=60)))
    given_days = draw(st.sampled_from([0, 0, 1, 30]))
    until = ran + timedelta(days=given_days) if given_days else None
    return case(
        policy, zero, draw(st.sampled_from(ZONES)), last_slot=draw(st.integers(0, 4)),
        last_slot_ran_at=ran, last_true_attempt_at=ran, extended_days=given_days,
        postponed_until=draw(st.sampled_from([None, until])),
    )  # fmt: skip


def case(policy: DunningPolicy, zero: datetime, zone: str, **more: Any) -> Case:
    """A case with this day 0; nothing but the renewal was tried, unless it is said."""
    known: dict[str, Any] = {
        "status": "open", "policy": policy, "zone": zone, "day_zero_at": zero, "last_slot": 0,
        "last_slot_ran_at": zero, "last_true_attempt_at": zero, "ends_by_slots": True,
    }  # fmt: skip
    return Case(**known | more)


MIDNIGHT: Final = DunningPolicy(days=(0, 3), hour=0, grace_days=3)
SUMMER_TIME_ENDS: Final = datetime(2027, 10, 26, 10, tzinfo=UTC)
"""Day 0: the last slot is on 29 October, and 31 October has 25 hours in Berlin."""


@pytest.fixture(scope="module")
async def behind(stack: StackInfo) -> AsyncIterator[AsyncEngine]:
    """Connections that may write a case without its invoice."""
    engine = create_async_engine(stack.superuser_url)
    yield engine
    await engine.dispose()


@settings(max_examples=examples(150))
@given(overdue=cases())
@example(overdue=case(MIDNIGHT, SUMMER_TIME_ENDS, "Europe/Berlin"))
@example(overdue=case(DunningPolicy(grace_days=30), START, "UTC"))
async def test_terms_are_known_until_the_day_of_the_end_at_the_earliest(
    basic_shop: Shop, behind: AsyncEngine, overdue: Case
) -> None:
    known = await _known_until(basic_shop, behind, overdue)
    # By then the slots to come may have been late: that delays the end.
    on_time = overdue.model_copy(
        update={"last_slot_ran_at": overdue.day_zero_at, "last_true_attempt_at": START - A_DAY}
    )
    for one in overdue, on_time:
        assert known <= min(final_due(one), _locked_out(one))
    earliest = min(final_due(on_time), _locked_out(on_time))
    # From the last hour of the day before, in a zone whose clock may change in between.
    assert earliest - known <= A_DAY + 2 * AN_HOUR


def _locked_out(overdue: Case) -> datetime:
    """The latest end while a bank decides on a debit."""
    last = planned_at(overdue, len(overdue.policy.days) - 1) + UNDECIDED_IS_OVERDUE
    return max(last, overdue.postponed_until or last)


async def _known_until(shop: Shop, behind: AsyncEngine, overdue: Case) -> datetime:
    """The answer of the database for the shop with this case, which is undone."""
    row = overdue.model_dump(exclude={"policy", "pursued", "ends_by_slots"}) | {
        "id": ids.new(), "account_id": shop.id, "invoice_id": ids.new(), "opened_at": START,
        "policy": overdue.policy.model_dump(mode="json"),
    }  # fmt: skip
    mine = {"id": shop.id}
    async with behind.connect() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        past_due = "UPDATE subscriptions SET status = 'past_due' WHERE account_id = :id"
        found = await connection.execute(text(f"{past_due} RETURNING id"), mine)
        row["subscription_id"] = found.scalar_one()
        await connection.execute(insert(dunning_cases).values(row))
        known = await connection.scalar(text("SELECT usage_terms_known_until(:id)"), mine)
        await connection.rollback()
    assert isinstance(known, datetime)
    return known
