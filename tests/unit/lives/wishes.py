"""Commands of customers who change their minds."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from billing.matters.effects import Work
from billing.money.subscriptions.commands import add_ons, extensions, running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying, Rest

Verb = Callable[[Work[SubscriptionFacts]], Any]


def wish_of(dice: Random, now: datetime, ids: Callable[[], UUID], paying: Paying) -> Verb:
    """Anything that a customer may ask for; what ends or pauses it at once is rare."""
    date = now + timedelta(days=dice.choice((3, 45)))
    verbs: tuple[Verb, ...] = (
        partial(running.cancel, now=False),
        partial(running.cancel, now=False, date=date),
        running.reactivate,
        running.reactivate,
        partial(extensions.extend, days=dice.choice((1, 30)), reason="", change_id=ids()),
        partial(
            add_ons.choose,
            wanted={"more": dice.choice((0, 1, 3))},
            paying=paying,
            when=dice.choice((None, "now", "period_end")),
        ),
        partial(running.resume, paying=paying),
        partial(running.pause, when="period_end"),
    )
    if dice.random() < 0.05:
        rest: Rest = dice.choice(("none", "credit", "refund"))
        verbs = (
            partial(running.cancel, now=True, rest=rest),
            running.supersede,
            partial(running.pause, when="now"),
        )
    return dice.choice(verbs)
