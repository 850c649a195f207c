"""The steps of a use that a card pays at once: the same tries and checks as for any invoice."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import CHARGE
from billing.money.card_usage.reading import ENGINE
from billing.money.card_usage.rules import ChargeState


class ChargeActivities(DecidingActivities[ChargeState]):
    """One use that a card pays at once, until it has paid or failed."""

    kind = CHARGE
    steps = ("charge", "open", "check", "settle", "retire", "end_approval", "expire")
    engine = ENGINE
