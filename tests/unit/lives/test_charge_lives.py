"""Random lives of uses that a card pays: paid once, or failed with no money gone."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.searching import examples
from tests.unit.lives.charges import live

STEPS = 40


@settings(max_examples=examples(100))
@given(st.randoms(use_true_random=False))
def test_a_use_is_paid_once_and_fails_only_without_money_or_with_it_kept(dice: Random) -> None:
    live(dice, STEPS)
