"""Commands of customers who change their minds."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from billing.matters.effects import Work
from billing.money.subscriptions import add_ons, commands
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying

Verb = Callable[[Work[SubscriptionFacts]], Any]


def wish_of(dice: Random, paying: Paying) -> Verb:
    """Anything that a customer may ask for; what ends or pauses it at once is rare."""
    verbs: tuple[Verb, ...] = (
        partial(commands.cancel, now=False),
        commands.reactivate,
        commands.reactivate,
        partial(add_ons.choose, wanted={"more": dice.choice((0, 1, 3))}, paying=paying),
        partial(commands.resume, paying=paying),
        partial(commands.pause, when="period_end"),
    )
    if dice.random() < 0.05:
        credit = dice.random() < 0.5
        verbs = (
            partial(commands.cancel, now=True, credit=credit),
            commands.supersede,
            partial(commands.pause, when="now"),
        )
    return dice.choice(verbs)
