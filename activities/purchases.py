"""The steps of a purchase: open and check the payment, grant once, or end it as proven unpaid."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import PURCHASE
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.rules import PurchaseState


class PurchaseActivities(DecidingActivities[PurchaseState]):
    """The activities of a purchase, until its credits are granted or it is proven unpaid."""

    kind = PURCHASE
    steps = ("open", "check", "fulfil", "retire", "remind", "expire", "cancel")
    engine = ENGINE
