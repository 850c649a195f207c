"""Credits that live on, as the timeline carries them from cycle to cycle."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.insight.timeline.foreseen import ForeseenCredits
from billing.ledger.credits.schemas import Kept


def month(number: int) -> datetime:
    return datetime(2027, number, 1, tzinfo=UTC)


def arrives(lots: ForeseenCredits, number: int, cap: int) -> None:
    """A hundred for the cycle of a month, of which so many live on."""
    kept = Kept(
        amount=Decimal(min(cap, 100)), cap=Decimal(cap), cycle_end=month(number + 1),
        until=month(number + 2),
    )  # fmt: skip
    lots.arrive(
        {
            "kind": "plan", "amount": Decimal(100), "key": f"cycle-{number}", "kept": kept,
            "expires_at": month(number + 1),
        }
    )  # fmt: skip


def begins(lots: ForeseenCredits, number: int, room: int, **more: Any) -> None:
    start, end, until = (month(number + one) for one in range(3))
    cycle = {"before": start, "start": start, "end": end, "until": until, "room": Decimal(room)}
    lots.roll_over(cycle | more)


def ended(lots: ForeseenCredits, number: int) -> Decimal:
    return sum((one.credits for one in lots.end(month(number))), Decimal(0))


def test_the_cap_lives_on_for_one_cycle_without_room() -> None:
    lots = ForeseenCredits((), ())
    arrives(lots, 1, 30)
    begins(lots, 2, 0)
    arrives(lots, 2, 30)
    assert ended(lots, 2) == 70
    assert ended(lots, 3) == 100, "30 of January and 70 of February"


def test_what_has_room_lives_on_again_and_what_is_beyond_ends() -> None:
    lots = ForeseenCredits((), ())
    for number in (1, 2, 3):
        if number > 1:
            begins(lots, number, 150)
        arrives(lots, number, 250)
        assert ended(lots, number) == 0
    begins(lots, 4, 150)
    assert ended(lots, 4) == 50


def test_an_end_ends_it_with_its_cycle_for_good() -> None:
    lots = ForeseenCredits((), ())
    arrives(lots, 1, 100)
    end = {"before": month(2), "start": month(1), "end": month(2), "until": None, "room": None}
    lots.roll_over(end)
    begins(lots, 2, 100)
    assert ended(lots, 2) == 100
