"""The steps of a use that is paid by card at once, with the tries and checks of any invoice."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import CHARGE
from billing.money.card_usage.reading import ENGINE
from billing.money.card_usage.rules import ChargeState


class ChargeActivities(DecidingActivities[ChargeState]):
    """The activities of one use paid by card at once, until it is paid or has failed."""

    kind = CHARGE
    steps = ("charge", "open", "check", "settle", "retire", "end_approval", "expire")
    engine = ENGINE
