"""Every activity the worker runs; a new matter adds one line."""

import inspect
from typing import Any

from temporalio.client import Client

from activities.accounts import AccountActivities
from activities.charges import ChargeActivities
from activities.clock import ClockActivities
from activities.collections import CollectionActivities
from activities.matter import World
from activities.purchases import PurchaseActivities
from activities.register import RegisterActivities
from activities.subscriptions import SubscriptionActivities
from activities.sweeper import SweeperActivities
from activities.trials import TrialActivities


def build_activities(world: World, client: Client) -> list[Any]:
    """The bound methods that are activities, of every class of them."""
    owners = [
        PurchaseActivities(world),
        TrialActivities(world),
        SubscriptionActivities(world),
        CollectionActivities(world),
        ChargeActivities(world),
        AccountActivities(world, client),
        RegisterActivities(world),
        ClockActivities(world, client),
        SweeperActivities(world, client),
    ]
    return [
        method
        for owner in owners
        for _, method in inspect.getmembers(owner, inspect.ismethod)
        if hasattr(method, "__temporal_activity_definition")
    ]
