"""The steps of a payment's money that goes back: its refunds, and what its payer's bank takes."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import REVERSAL
from billing.money.reversals.reading import ENGINE
from billing.money.reversals.rules import ReversalState


class ReversalActivities(DecidingActivities[ReversalState]):
    """One payment, while something of it goes back or is disputed."""

    kind = REVERSAL
    steps = ("check", "refund", "book", "remind")
    engine = ENGINE
