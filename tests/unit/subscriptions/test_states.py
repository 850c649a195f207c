"""Every state of a subscription answers every command, as the specification's table says."""

from itertools import product
from typing import Final, get_args

import pytest

from billing.catalog.plans.rules import OPEN_STATUSES
from billing.core.errors import Conflict
from billing.money.subscriptions.states import (
    COMMANDS,
    TABLE,
    Command,
    Reply,
    State,
    demand,
    takes,
)

STATES: Final[tuple[State, ...]] = get_args(State)
PAIRS: Final = [
    pytest.param(state, command, id=f"{command} while {state}")
    for state, command in product(STATES, COMMANDS)
]

# The table of the specification in its own words: state | up | down | cancel | pause | pay.
WRITTEN: Final = """
incomplete | -                    | -    | yes | -      | yes
trialing   | swaps plan           | same | yes | -      | -
active     | yes                  | yes  | yes | yes    | -
past_due   | 409 PAYMENT_OVERDUE  | yes  | yes | yes    | yes
unpaid     | -                    | -    | yes | -      | yes
paused     | for the resumption   | same | yes | resume | yes
"""
COLUMNS: Final[tuple[Command, ...]] = ("change_up", "change_down", "cancel", "pause", "pay")
# "resume" in the column of pause: a paused one is resumed instead.
WORDS: Final[dict[str, Reply]] = {
    "replace": "replace", "-": "no", "yes": "yes", "swaps plan": "yes",
    "409 PAYMENT_OVERDUE": "overdue", "for the resumption": "later", "resume": "no",
}  # fmt: skip
# Besides the table: subscribe, reactivate, resume, extend, coupon, card; ended states subscribe.
BESIDES: Final[dict[Command, dict[State, Reply]]] = {
    "subscribe": {"incomplete": "replace", "incomplete_expired": "yes", "canceled": "yes"},
    "reactivate": {
        "trialing": "yes",
        "active": "yes",
        "past_due": "yes",
        "unpaid": "yes",
        "paused": "yes",
    },
    "resume": {"paused": "yes"},
    "extend": {"trialing": "yes", "active": "yes", "past_due": "yes"},
    "coupon": {"trialing": "yes", "active": "yes", "past_due": "yes"},
    "card": dict.fromkeys(OPEN_STATUSES, "yes"),
}


def written() -> dict[tuple[State, Command], Reply]:
    """The reply to every pair, as written."""
    found: dict[tuple[State, Command], Reply] = dict.fromkeys(product(STATES, COMMANDS), "no")
    for line in WRITTEN.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        [state] = [known for known in STATES if known == name]
        for command, cell, left in zip(COLUMNS, cells, ["", *cells], strict=False):
            # "same" is the cell to its left.
            found[state, command] = WORDS[left if cell == "same" else cell]
    for command, replies in BESIDES.items():
        for state, reply in replies.items():
            found[state, command] = reply
    return found


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(STATES)
    assert all(tuple(row) == COMMANDS for row in TABLE.values())


@pytest.mark.parametrize(("state", "command"), PAIRS)
def test_each_pair_has_the_reply_that_is_written(state: State, command: Command) -> None:
    assert TABLE[state][command] == written()[state, command]


@pytest.mark.parametrize(("state", "command"), PAIRS)
def test_a_refusal_says_why_and_what_would_be_taken(state: State, command: Command) -> None:
    reply = TABLE[state][command]
    if reply not in ("no", "overdue"):
        assert demand(state, command) == reply
        assert command in takes(state)
        return
    with pytest.raises(Conflict) as refused:
        demand(state, command)
    assert refused.value.http_status == 409
    assert refused.value.fields["state"] == state
    assert command not in takes(state)
    if reply == "overdue":
        assert refused.value.code == "PAYMENT_OVERDUE"
    elif command == "subscribe":
        assert refused.value.code == "SUBSCRIPTION_EXISTS"
    else:
        assert refused.value.code == "SUBSCRIPTION_STATE"
        assert refused.value.fields["takes"] == takes(state)
        assert all(name in refused.value.detail for name in takes(state))


@pytest.mark.parametrize("state", STATES)
def test_every_open_state_can_be_canceled_and_no_ended_one(state: State) -> None:
    assert (TABLE[state]["cancel"] == "yes") is (state in OPEN_STATUSES)
