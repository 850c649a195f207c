"""Every activity the worker runs; a new matter adds one line."""

import inspect
from typing import Any, Final

from temporalio.client import Client

from activities.accounts import AccountActivities
from activities.clock import ClockActivities
from activities.decisions import COLLECTING_STEPS, DecidingActivities
from activities.dependencies import Dependencies
from activities.matter_notes import MatterNoteActivities
from activities.reconciling import ReconciliationActivities
from activities.scheduled_jobs import ScheduledJobs
from activities.subscriptions import SubscriptionActivities
from activities.tax_calls import TaxActivities
from billing.matters.kinds import CHARGE, COLLECTION, PURCHASE, REVERSAL, TRIAL, MatterKind
from billing.money.card_usage.reading import ENGINE as CHARGES
from billing.money.collecting.reading import ENGINE as COLLECTIONS
from billing.money.purchases.reading import ENGINE as PURCHASES
from billing.money.reversals.reading import ENGINE as REVERSALS
from billing.money.trials.reading import ENGINE as TRIALS
from billing.platform.decisions.service import Engine

DECIDED: Final[tuple[tuple[MatterKind, Engine[Any, Any], tuple[str, ...]], ...]] = (
    (TRIAL, TRIALS, ("expire",)),
    (COLLECTION, COLLECTIONS, (*COLLECTING_STEPS, "give_up")),
    (CHARGE, CHARGES, (*COLLECTING_STEPS, "expire")),
    (PURCHASE, PURCHASES, ("open", "check", "fulfil", "retire", "remind", "expire", "cancel")),
    (REVERSAL, REVERSALS, ("check", "refund", "book", "remind")),
)
"""The kinds of matters whose steps need nothing but their rules, and the names of these steps."""


def build_activities(dependencies: Dependencies, client: Client) -> list[Any]:
    """Return the activities of every class as bound methods."""
    owners = [
        AccountActivities(dependencies),
        TaxActivities(dependencies),
        MatterNoteActivities(dependencies),
        ClockActivities(dependencies, client),
        ReconciliationActivities(dependencies, client),
        ScheduledJobs(dependencies, client),
    ]
    deciding: list[DecidingActivities[Any]] = [
        SubscriptionActivities(dependencies),
        *(DecidingActivities(dependencies, *one) for one in DECIDED),
    ]
    return [one for owner in deciding for one in owner.activities()] + [
        method
        for owner in owners
        for _, method in inspect.getmembers(owner, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]
