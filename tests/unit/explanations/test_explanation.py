"""The burn order told in words: each lot's place has one reason, and it is the true one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.insight.explanations.rules import compare, lot_choices
from billing.insight.explanations.schemas import LotFacts

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SCOPES = st.sampled_from([None, "images"])


def lot(number: int = 1, **fields: Any) -> LotFacts:
    known: dict[str, Any] = {
        "id": UUID(int=number), "kind": "plan", "scope": None, "priority": 100, "is_paid": False,
        "expires_at": None, "granted_seq": number, "created_at": NOON, "amount": None,
        "bought_minor": None, "currency": None, "bought_credits": None,
    }  # fmt: skip
    return LotFacts.model_validate(known | fields)


@pytest.mark.parametrize(
    ("first", "because", "words"),
    [
        ({"scope": "images"}, "scope", "images only"),
        ({"priority": 10}, "priority", "10 goes before 100"),
        ({"expires_at": NOON}, "expiry", "on 2027-03-01 12:00 UTC, the next one never"),
        ({}, "free_before_paid", "free credits"),
        ({"is_paid": True}, "age", "entry 1, not 2"),
    ],
)
def test_the_first_rule_that_tells_two_lots_apart_is_the_reason(
    first: dict[str, Any], because: str, words: str
) -> None:
    told = compare(lot(1, **first), lot(2, is_paid=True))
    assert told[0] == because
    assert words in told[1]


def test_what_was_passed_over_is_said_with_its_reason() -> None:
    taken = Decimal(-1)
    lots = [
        lot(1, scope="voice"),
        lot(2, priority=1),
        lot(3, amount=taken, is_paid=True),
        lot(4, amount=taken, is_paid=True),
        lot(5, is_paid=True),
    ]
    shares, passed = lot_choices(sorted(lots, key=LotFacts.rank), None, paid_only=True)
    assert [(share.lot.granted_seq, share.because) for share in shares] == [(3, "age"), (4, "age")]
    assert {one.lot.granted_seq: one.words for one in passed} == {
        1: "it may be spent on voice only",
        2: "only credits that were paid for could be spent",
        5: "its turn comes later",
    }


def test_the_last_credits_of_all_have_no_rival() -> None:
    shares, passed = lot_choices([lot(1, amount=Decimal(-3))], None, paid_only=False)
    assert ([share.because for share in shares], passed) == (["only"], ())


def test_a_part_of_a_pack_is_worth_its_part_of_the_price() -> None:
    pack = {"bought_minor": 999, "currency": "USD", "bought_credits": Decimal(100)}
    assert lot(1, amount=Decimal("-33.5"), **pack).value_minor == 335
    assert lot(1, amount=Decimal("-33.5")).value_minor is None


@given(
    st.lists(
        st.tuples(SCOPES, st.sampled_from([10, 100]), st.none() | st.integers(0, 3), st.booleans()),
        min_size=2,
        max_size=6,
    )
)
def test_whatever_the_lots_each_reason_is_where_two_differ(facts: list[Any]) -> None:
    lots = sorted(
        (
            lot(
                number, scope=scope, priority=priority, is_paid=is_paid, amount=Decimal(-1),
                expires_at=None if days is None else NOON + timedelta(days=days),
            )
            for number, (scope, priority, days, is_paid) in enumerate(facts, 1)
        ),
        key=LotFacts.rank,
    )  # fmt: skip
    shares, passed = lot_choices(lots, "images", paid_only=False)
    assert [share.lot for share in shares] == lots
    assert passed == ()
    field = {"expiry": "expires_at", "free_before_paid": "is_paid", "age": "granted_seq"}
    for share, other in zip(shares, lots[1:], strict=False):
        name = field.get(share.because, share.because)
        assert getattr(share.lot, name) != getattr(other, name)
