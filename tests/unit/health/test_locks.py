"""A session that blocks others is told when somebody waits long, or a table stays locked."""

from datetime import timedelta
from typing import Any

import pytest

from billing.insight.locks.rules import UNSEEN, is_bad, sign
from billing.insight.locks.schemas import Blocker

IDLE = "idle in transaction"


def blocker(**more: Any) -> Blocker:
    known = {
        "pid": 7, "role": "ann", "program": "psql", "client": "10.0.0.1", "state": "active",
        "resting": timedelta(seconds=1), "waiting": 0, "longest": None, "place": None,
    }  # fmt: skip
    return Blocker.model_validate(known | more)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@pytest.mark.parametrize(
    ("one", "is_told"),
    [
        (blocker(waiting=1, longest=seconds(1)), False),
        (blocker(waiting=1, longest=seconds(3)), True),
        (blocker(state=IDLE, waiting=1, longest=seconds(0)), False),
        (blocker(state=IDLE, waiting=1, longest=seconds(0), resting=seconds(3)), True),
        (blocker(state=IDLE, place="invoices"), False),
        (blocker(state=IDLE, place="invoices", resting=seconds(11)), True),
        (blocker(state=IDLE, place="invoices", holds="rows", resting=seconds(59)), False),
        (blocker(state=IDLE, place="invoices", holds="rows", resting=seconds(61)), True),
        (blocker(state=IDLE, place="invoices", holds="reads", resting=seconds(9_000)), False),
        (blocker(state=None, resting=None, waiting=1, longest=seconds(3)), True),
        (blocker(state=None, resting=None, waiting=1, longest=None), False),
    ],
)
def test_a_blocker_is_told_when_others_are_about_to_be_refused(
    one: Blocker, *, is_told: bool
) -> None:
    assert is_bad(one) is is_told
    assert (sign([one], sees_all=True).state == "unhealthy") is is_told


def test_the_words_say_who_and_for_how_long() -> None:
    one = blocker(state=IDLE, resting=seconds(40), waiting=2, longest=seconds(4), place="invoices")
    assert sign([one], sees_all=True).words == (
        "PID 7 of ann (psql) from 10.0.0.1 is idle in transaction for 40 s and blocks 2 sessions"
        " at invoices, the longest for 4 s: billing locks end PID --reason …"
    )
    forgotten = blocker(state=IDLE, resting=seconds(90), place="invoices", holds="rows")
    assert "is idle in transaction for 90 s and may hold rows of invoices" in (
        sign([forgotten], sees_all=True).words
    )
    prepared = blocker(
        pid=0, role=None, program=None, client=None, state=None, waiting=1, longest=seconds(4)
    )
    assert "a prepared transaction (pg_prepared_xacts) blocks 1 session, the longest" in (
        sign([prepared], sees_all=True).words
    )


def test_without_the_right_to_see_all_it_says_so() -> None:
    assert UNSEEN in sign([], sees_all=False).words
    assert UNSEEN not in sign([], sees_all=True).words
