"""A scheduled move to another price counts the seats that there are then."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from billing.money.subscriptions.commands import price_moves, running
from billing.money.subscriptions.schemas import SubscriptionChange
from billing.money.subscriptions.terms import change_rows
from tests.unit.worked.player import Player

HALF = "2027-06-16T00:00:00Z"
Act = Callable[[Player], object]


def told_of_another_price() -> Player:
    """Two seats at 10.00, that are to cost 13.00."""
    player = Player(
        {
            "currency": "USD",
            "zone": "UTC",
            "plans": {"team": {"month": 1000}, "pro": {"month": 4000}},
            "terms": {"team": {"seats": True}},
            "start": {
                "at": "2027-06-01T00:00:00Z", "plan": "team", "interval": "month", "quantity": 2,
            },
        }
    )  # fmt: skip
    new = {"id": uuid4(), "amount_minor": 1300, "version": 2}
    sold = player.prices["team", "month"]
    player.prices["team", "month"] = sold.model_copy(update=new)
    player.do(lambda w: price_moves.move(w, reason="prices of 2027"))
    return player


def move_of(player: Player) -> SubscriptionChange | None:
    return change_rows.scheduled(player.rows, "price")


def seats(quantity: int, when: str) -> Act:
    wish: dict[str, Any] = {"at": HALF, "change": {"quantity": quantity, "when": when}}
    return lambda player: player.play(wish)


def as_it_is(player: Player) -> None:
    chosen = change_rows.scheduled(player.rows, "plan")
    assert chosen is not None
    player.do(lambda w: running.call_off(w, change_id=chosen.id))


@pytest.mark.parametrize(
    ("acts", "price"),
    [
        ([], 2600),
        ([seats(3, "now")], 3900),
        ([seats(1, "now")], 1300),
        ([seats(1, "period_end")], 1300),
        ([seats(3, "now"), seats(1, "period_end")], 1300),
        ([seats(1, "period_end"), as_it_is], 2600),
    ],
)
def test_it_shows_the_price_that_is_charged(acts: list[Act], price: int) -> None:
    player = told_of_another_price()
    for act in acts:
        act(player)
    move = move_of(player)
    assert move is not None
    assert move.wanted == {"price_cents": price}
    lines = player.play({"at": "2027-07-01T00:00:00Z", "renews": True})
    assert [one.amount_minor for one in lines] == [price]
    assert player.rows.get(SubscriptionChange, move.id).wanted == {"price_cents": price}


def test_another_price_cancels_it() -> None:
    player = told_of_another_price()
    player.play({"at": HALF, "change": {"plan": "pro", "when": "now"}})
    assert move_of(player) is None
