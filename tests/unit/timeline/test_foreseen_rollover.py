"""Credits that live on, as the timeline carries them from cycle to cycle."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing.insight.timeline.foreseen import ForeseenCredits
from billing.ledger.credits.schemas import Kept


def month(number: int) -> datetime:
    return datetime(2027, number, 1, tzinfo=UTC)


def arrives(lots: ForeseenCredits, number: int, cap: int, credits: int = 100) -> None:
    """A hundred for the cycle of a month, or as many, of which so many live on."""
    kept = Kept(
        amount=Decimal(min(cap, credits)), cap=Decimal(cap), cycle_start=month(number),
        cycle_end=month(number + 1), until=month(number + 2),
    )  # fmt: skip
    lots.arrive(
        {
            "kind": "plan", "amount": Decimal(credits), "key": f"cycle-{number}", "kept": kept,
            "expires_at": month(number + 1),
        }
    )  # fmt: skip


def begins(lots: ForeseenCredits, number: int, **more: Any) -> None:
    start, end, until = (month(number + one) for one in range(3))
    cycle = {"before": start, "start": start, "end": end, "until": until, "begins": True}
    lots.roll_over(cycle | more)


def ended(lots: ForeseenCredits, number: int) -> Decimal:
    return sum((one.credits for one in lots.end(month(number))), Decimal(0))


def test_the_cap_lives_on_for_one_cycle_without_room() -> None:
    lots = ForeseenCredits((), ())
    arrives(lots, 1, 30)
    begins(lots, 2)
    arrives(lots, 2, 30)
    assert ended(lots, 2) == 70
    assert ended(lots, 3) == 100, "30 of January and 70 of February"


def test_what_has_room_lives_on_again_and_what_is_beyond_ends() -> None:
    lots = ForeseenCredits((), ())
    for number in (1, 2, 3):
        if number > 1:
            begins(lots, number)
        arrives(lots, number, 250)
        assert ended(lots, number) == 0
    begins(lots, 4)
    assert ended(lots, 4) == 50


def test_an_end_ends_it_with_its_cycle_for_good() -> None:
    lots = ForeseenCredits((), ())
    arrives(lots, 1, 100)
    end = {"before": month(2), "start": month(1), "end": month(2), "until": None, "begins": False}
    lots.roll_over(end)
    begins(lots, 2)
    assert ended(lots, 2) == 100


def test_credits_of_a_higher_cap_roll_over_after_the_cycle_s_own_and_before_others() -> None:
    lots = ForeseenCredits((), ())
    arrives(lots, 1, 80)
    for number in (2, 3, 4):
        begins(lots, number)
        arrives(lots, number, 50, 50)
    assert ended(lots, 4) == 20 + 50 + 50, "the rest of January, and February"
    begins(lots, 5)
    assert ended(lots, 5) == 50, "March had no room"
    assert lots.take("cycle-1") == 30, "all that 50 leave of 80"


@given(cap=st.integers(1, 300), came=st.lists(st.integers(0, 400), min_size=1, max_size=9))
def test_what_rolls_over_is_what_is_left_up_to_the_cap(cap: int, came: list[int]) -> None:
    """Some cycles bring none, for their invoice was given up."""
    lots, before = ForeseenCredits((), ()), 0
    for number, own in enumerate(came, start=1):
        if own:
            arrives(lots, number, cap, own)
        assert ended(lots, number) == 0, "nothing ends within a cycle"
        begins(lots, number + 1)
        rolled = min(cap, before + own)
        assert ended(lots, number + 1) == before + own - rolled
        before = rolled


_CYCLES = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 400)), min_size=1, max_size=9)


@given(cycles=_CYCLES)
def test_while_nothing_is_spent_the_highest_cap_holds(cycles: list[tuple[int, int]]) -> None:
    """Each cycle may be of another plan."""
    lots, before, highest = ForeseenCredits((), ()), 0, 0
    for number, (cap, own) in enumerate(cycles, start=1):
        if own:
            arrives(lots, number, cap, own)
            highest = max(highest, cap)
        assert ended(lots, number) == 0, "nothing ends within a cycle"
        begins(lots, number + 1)
        rolled = min(highest, before + min(own, cap))
        assert ended(lots, number + 1) == before + own - rolled
        before = rolled
