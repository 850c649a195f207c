"""The steps of a reversal: a payment's refunds and disputes."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import REVERSAL
from billing.money.reversals.reading import ENGINE
from billing.money.reversals.rules import ReversalState


class ReversalActivities(DecidingActivities[ReversalState]):
    """The activities of one payment while it is being refunded or disputed."""

    kind = REVERSAL
    steps = ("check", "refund", "book", "remind")
    engine = ENGINE
