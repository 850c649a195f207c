"""An account buys credits, announces their end, and tries again, at the right instants."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from billing.money.account_agenda.rules import AccountState, TopUpPlan, agenda, state_words
from billing.money.top_ups.rules import MAX_FAILURES, fits, retry_at

NOW: Final = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)


def plan(**fields: Any) -> list[tuple[str, str, datetime]]:
    state = AccountState(status="active", account="acc_1", **fields)
    return [(step.name, step.key, step.due) for step in agenda(state)]


def test_what_is_wanted_is_bought_at_once() -> None:
    wanted = TopUpPlan(top_up="top_1", wanted_at=NOW)
    assert plan(top_up=wanted, top_up_from=NOW) == [("top_up", "top_1/buy", NOW)]


def test_after_a_pause_it_is_seen_whether_credits_are_wanted() -> None:
    assert plan(top_up_from=NOW) == [("top_up", "acc_1/top-up-2027-03-14T09:00:00.000000Z", NOW)]


def test_an_end_is_told_before_it_comes() -> None:
    names = plan(next_notice=NOW, next_expiry=NOW + timedelta(days=7))
    assert [name for name, _, _ in names] == ["notice", "expire_credits"]
    assert names[0][1] == "acc_1/notice-2027-03-14T09:00:00.000000Z"


def test_operators_read_what_is_about_to_be_bought() -> None:
    wanted = TopUpPlan(top_up="top_1", wanted_at=NOW)
    state = AccountState(status="active", account="acc_1", top_up=wanted)
    assert state_words(state) == "credits are about to be bought"


def test_a_failure_is_tried_again_after_ever_longer_and_three_are_enough() -> None:
    waits = [retry_at(failures, NOW) for failures in range(1, MAX_FAILURES + 1)]
    assert waits == [NOW + timedelta(hours=1), NOW + timedelta(days=1), None]


@pytest.mark.parametrize(
    ("spent", "cap", "allowed"), [(0, None, True), (0, 999, True), (1, 999, False), (1, 1000, True)]
)
def test_a_month_costs_no_more_than_its_cap(spent: int, cap: int | None, allowed: bool) -> None:
    assert fits(spent, 999, cap) is allowed
