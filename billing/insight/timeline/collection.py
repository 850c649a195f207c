"""The projection of an invoice that its own matter collects."""

from billing.insight.timeline.deciding import DecidingProjection
from billing.insight.timeline.foreseen import ForeseenFacts
from billing.insight.timeline.schemas import DecidingSnapshot
from billing.matters.kinds import COLLECTION
from billing.money.collecting.collection import RULES, CollectionFacts
from billing.money.collecting.rules import CollectionState


class CollectionProjection(DecidingProjection[CollectionState, CollectionFacts]):
    """The projection of one open invoice, through all its slots to the end."""

    rank = COLLECTION.rank

    def __init__(
        self, snapshot: DecidingSnapshot[CollectionFacts], foreseen: ForeseenFacts
    ) -> None:
        super().__init__(snapshot, RULES, foreseen)
