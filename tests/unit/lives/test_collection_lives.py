"""Random lives of collections keep their promises; thousands a minute, without a database."""

from random import Random
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.searching import examples
from tests.unit.lives.collections import live

STEPS = 60
FLOOR = 1_000
"""Lives a minute; a quiet core lives more than 2,000, the gate shares its own."""


@settings(max_examples=examples(100))
@given(st.randoms(use_true_random=False))
def test_whatever_payer_bank_and_operator_do_the_money_is_booked_once(dice: Random) -> None:
    live(dice, STEPS)


def test_lives_are_cheap_enough_to_live_thousands() -> None:
    began = process_time()
    for seed in range(150):
        live(Random(seed), STEPS)
    assert 150 / (process_time() - began) * 60 >= FLOOR
