"""The single step of a trial of credits: its end."""

from activities.decisions import DecidingActivities
from billing.matters.kinds import TRIAL
from billing.money.trials.reading import ENGINE
from billing.money.trials.rules import TrialState


class TrialActivities(DecidingActivities[TrialState]):
    """The activity of a trial of credits, until it expired or converted."""

    kind = TRIAL
    steps = ("expire",)
    engine = ENGINE
