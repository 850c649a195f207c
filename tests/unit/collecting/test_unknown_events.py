"""An event about no payment that is known here is handled, and changes nothing."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from billing.matters.deciding import Rules
from billing.matters.effects import InboxEvent
from billing.money.card_usage.reading import ENGINE as CHARGE
from billing.money.collecting.collection import RULES as COLLECTION
from billing.money.payments.rules import NOT_ASKED
from billing.money.subscriptions.transitions import RULES as SUBSCRIPTION
from tests.unit.lives.charges import Charge
from tests.unit.lives.collections import Life
from tests.unit.lives.subscriptions import SubscriptionLife


@pytest.mark.parametrize(
    ("born", "rules"),
    [(SubscriptionLife, SUBSCRIPTION), (Life, COLLECTION), (Charge, CHARGE.rules)],
)
def test_an_event_about_an_unknown_payment_is_heard_and_nothing_else(
    born: Callable[[Random], Life | Charge], rules: Rules[Any, Any]
) -> None:
    life = born(Random(0))
    life.rows.waiting_events = (InboxEvent("evt_1", 0, "pi_unknown", life.now, None),)
    step = life.next_step()
    assert step is not None
    assert step.event == "evt_1"
    done = rules.carry_out(life.rows, step, life.facts, life.answer)
    assert (done.result, done.calls, done.rows.waiting_events) == (NOT_ASKED, (), ())
    assert done.rows == life.rows
