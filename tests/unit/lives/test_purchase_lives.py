"""Random lives of purchases: granted once and only for money; failed only without any."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.searching import examples
from tests.unit.lives.purchases import live

STEPS = 40


@settings(max_examples=examples(100))
@given(st.randoms(use_true_random=False))
def test_credits_are_granted_once_for_money_that_is_booked_once(dice: Random) -> None:
    live(dice, STEPS)


def test_lives_end_in_every_way() -> None:
    ends = Counter(live(Random(seed), STEPS).purchase.status for seed in range(100))
    assert ends.keys() >= {"completed", "failed", "expired", "canceled"}
