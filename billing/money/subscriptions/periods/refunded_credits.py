"""The part that refunds and disputes took of the credits for the rest of a cycle. Pure."""

from collections import defaultdict
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from billing.core import keys
from billing.core.money import ZERO
from billing.matters.effects import Work
from billing.money.invoices.schemas import InvoiceLine
from billing.money.subscriptions.facts import PlanLot, SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import granting, items, shares
from billing.money.subscriptions.schemas import SubscriptionChange


class _Start(NamedTuple):
    """The instant from which a grant gives credits, and up to which the one before it was charged:
    a change that counts used allowance credits no time before that is used up.
    """

    at: datetime
    charged_until: datetime


def kept_part(w: Work[SubscriptionFacts]) -> Fraction:
    """Return the part of the plan's credits for the rest of the cycle that no refund or dispute
    took. Lots of a cycle that a change has cut short do not count: they were paid apart.
    """
    changes = granting.changes_in(w, subscription_of(w).cycle_start)
    places = {keys.change_grant(one.id): place for place, one in enumerate(changes, 1)}
    lots = defaultdict[int, list[PlanLot]](list)
    for one in w.facts.lots:
        if one.missing and not one.is_cut:
            lots[places.get(one.origin, 0)].append(one)
    starts = _starts(w, changes) if lots else []
    taken = (_taken(w, lots[place], *starts[place : place + 2]) for place in lots)
    return max(Fraction(0), 1 - sum(taken, Fraction(0)))


def _starts(w: Work[SubscriptionFacts], changes: list[SubscriptionChange]) -> list[_Start]:
    """Return the start of the cycle's own grant, and that of each change in it."""
    begins = subscription_of(w).cycle_start
    found = [_Start(begins, begins)]
    for one in changes:
        charged = (line for line in w.rows.of(InvoiceLine) if line.invoice_id == one.invoice_id)
        told = next((line.period_start for line in charged if line.kind == items.PLAN), None)
        at = max(begins, told or one.created_at)  # the cycle may have begun while it waited
        found.append(_Start(at, max(at, one.new_terms.credited_since or at)))
    return found


def _taken(
    w: Work[SubscriptionFacts], lots: list[PlanLot], start: _Start, later: _Start | None = None
) -> Fraction:
    """Return the part that is missing of one grant's credits for the rest.

    Once a `later` change has charged the rest, what goes back was paid first for the time before.
    """
    granted = sum((one.granted for one in lots), ZERO)
    missing = Fraction(sum((one.missing for one in lots), ZERO))
    whole = Fraction(items.credits_of(w))
    if later is None:
        # An end at a date may have cut the cycle since.
        of_rest = max(whole * _rest(w, start.at), Fraction(granted))
    else:
        before = Fraction(granted) * (1 - _rest(w, later.charged_until) / _rest(w, start.at))
        made_up = sum((one.made_up for one in lots), ZERO)
        missing = max(Fraction(0), missing - max(Fraction(0), before - Fraction(made_up)))
        of_rest = whole * _rest(w, later.at)
    return missing / of_rest if of_rest else Fraction(0)


def _rest(w: Work[SubscriptionFacts], at: datetime) -> Fraction:
    return shares.rest_of_cycle(subscription_of(w), w.facts.plan_of(w.rows).allowance, at)
