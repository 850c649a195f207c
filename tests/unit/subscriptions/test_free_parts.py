"""Arithmetic of parts that cost nothing: a thing that was given of them is not given again."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.money.subscriptions.free_parts import FreeGrant, FreeParts, Given

AMOUNTS = st.integers(0, 1000).map(Decimal)


@given(st.lists(st.tuples(AMOUNTS, st.booleans()), min_size=1, max_size=12))
def test_however_often_it_changes_the_largest_is_given_once(
    steps: list[tuple[Decimal, bool]],
) -> None:
    """Steps in one second: each plan is used up, or left as it was, before the next one comes."""
    record, has, total, largest = Given(), Decimal(0), Decimal(0), Decimal(0)
    for wanted, was_used in steps:
        kept = has if was_used else Decimal(0)
        total -= has - kept
        record = record.more(wanted, kept, is_free=True)
        total += record.anew
        has, largest = wanted, max(largest, wanted)
        assert total <= largest
        assert total == has + record.ahead


def test_what_is_paid_is_given_whole_and_the_free_part_stays_known() -> None:
    record = Given().more(Decimal(300), Decimal(0), is_free=True)
    paid = record.more(Decimal(100), Decimal(300), is_free=False)
    assert paid == Given(ahead=Decimal(300))
    assert paid.more(Decimal(300), Decimal(0), is_free=True).anew == 0


def test_use_while_a_change_waits_counts_against_what_it_gives() -> None:
    asked = FreeParts(
        was_free=True,
        credits=Given(anew=Decimal(30)),
        units={"calls": Given(ahead=Decimal(5), anew=Decimal(10))},
    )
    after = asked.keep(Decimal(20), {"calls": Decimal(25)})
    assert asked.lost(after) == (Decimal(20), {"calls": Decimal(10)})
    assert after.units["calls"] == Given(ahead=Decimal(20), anew=Decimal(0))
    paid = asked.model_copy(update={"was_free": False})
    assert paid.keep(Decimal(20), {"calls": Decimal(25)}) == paid


def test_a_grant_of_a_cycle_says_its_day() -> None:
    for key, day in (
        ("acc_1/plan-2026-2027-01-01", "2027-01-01"),
        ("acc_1/plan-2027-01-01/not-kept", "2027-01-01"),
        ("chg_1/grant", "None"),
    ):
        found = FreeGrant.model_validate(
            {"grant_key": key, "amount": "1", "at": "2027-01-05T00:00:00Z"}
        )
        assert str(found.day) == day
