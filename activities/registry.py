"""Every activity the worker runs; a new matter adds one line."""

import inspect
from typing import Any

from temporalio.client import Client

from activities.accounts import AccountActivities
from activities.card_usage import ChargeActivities
from activities.clock import ClockActivities
from activities.collections import CollectionActivities
from activities.decisions import DecidingActivities
from activities.dependencies import Dependencies
from activities.matter_notes import MatterNoteActivities
from activities.purchases import PurchaseActivities
from activities.reconciling import ReconciliationActivities
from activities.reversals import ReversalActivities
from activities.scheduled_jobs import ScheduledJobs
from activities.subscriptions import SubscriptionActivities
from activities.tax_calls import TaxActivities
from activities.trials import TrialActivities


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
        TrialActivities(dependencies),
        SubscriptionActivities(dependencies),
        CollectionActivities(dependencies),
        ChargeActivities(dependencies),
        PurchaseActivities(dependencies),
        ReversalActivities(dependencies),
    ]
    return [one for owner in deciding for one in owner.activities()] + [
        method
        for owner in owners
        for _, method in inspect.getmembers(owner, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]
