"""Commands of customers who change their minds."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from billing.matters.effects import Work
from billing.money.subscriptions import add_ons, commands, extensions
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying, Rest

Verb = Callable[[Work[SubscriptionFacts]], Any]


def wish_of(dice: Random, now: datetime, ids: Callable[[], UUID], paying: Paying) -> Verb:
    """Anything that a customer may ask for; what ends or pauses it at once is rare."""
    date = now + timedelta(days=dice.choice((3, 45)))
    verbs: tuple[Verb, ...] = (
        partial(commands.cancel, now=False),
        partial(commands.cancel, now=False, date=date),
        commands.reactivate,
        commands.reactivate,
        partial(extensions.extend, days=dice.choice((1, 30)), reason="", change_id=ids()),
        partial(
            add_ons.choose,
            wanted={"more": dice.choice((0, 1, 3))},
            paying=paying,
            when=dice.choice((None, "now", "period_end")),
        ),
        partial(commands.resume, paying=paying),
        partial(commands.pause, when="period_end"),
    )
    if dice.random() < 0.05:
        rest: Rest = dice.choice(("none", "credit", "refund"))
        verbs = (
            partial(commands.cancel, now=True, rest=rest),
            commands.supersede,
            partial(commands.pause, when="now"),
        )
    return dice.choice(verbs)
