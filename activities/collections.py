"""The steps that collect an open invoice whose subscription has ended, by the same dunning rule."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import COLLECTION
from billing.money.collecting.reading import ENGINE
from billing.money.collecting.rules import CollectionState


class CollectionActivities(DecidingActivities[CollectionState]):
    """The activities of one open invoice, until it is paid, forgiven or given up."""

    kind = COLLECTION
    steps = ("charge", "open", "check", "settle", "retire", "end_approval", "give_up")
    engine = ENGINE
