"""Each step that an agenda plans is an activity, and each activity of a matter is planned."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Final

import pytest

from activities import (
    accounts,
    card_usage,
    collections,
    purchases,
    reversals,
    subscriptions,
    tax_calls,
    trials,
)
from activities.decisions import DecidingActivities
from billing.matters.kinds import KINDS
from billing.matters.schemas import LOOK
from billing.money.account_agenda import rules as account_rules
from billing.money.card_usage import rules as card_usage_rules
from billing.money.collecting import rules as collecting_rules
from billing.money.purchases import rules as purchase_rules
from billing.money.reversals import rules as reversal_rules
from billing.money.subscriptions import rules as subscription_rules
from billing.money.trials import rules as trial_rules
from billing.platform.provider_inbox.rules import CHECK

PLANS: Final[dict[str, tuple[tuple[type, ...], tuple[ModuleType, ...]]]] = {
    "trial": ((trials.TrialActivities,), (trial_rules,)),
    "subscription": (
        (subscriptions.SubscriptionActivities,),
        (subscription_rules, collecting_rules),
    ),
    "collection": ((collections.CollectionActivities,), (collecting_rules,)),
    "purchase": ((purchases.PurchaseActivities,), (purchase_rules,)),
    "charge": ((card_usage.ChargeActivities,), (card_usage_rules, collecting_rules)),
    "reversal": ((reversals.ReversalActivities,), (reversal_rules,)),
    "account": ((accounts.AccountActivities, tax_calls.TaxActivities), (account_rules,)),
}
# The loop runs these beside the agenda.
UNPLANNED: Final = {LOOK, "perform"}
# A use paid at once has no dunning: its draft is never open.
NEVER: Final = {"charge": {"give_up"}}


def planned(module: ModuleType) -> Iterator[str]:
    """The names of the steps that a module's functions make, and of those in its tables."""
    yield from getattr(module, "DATED", ())
    yield from (name for name, _ in getattr(module, "NOTICES", {}).values())
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "event_step":
            yield CHECK
        elif node.func.id == "Step":
            yield from literals([k.value for k in node.keywords if k.arg == "name"])
        elif node.func.id in ("_step", "_now"):
            yield from literals(node.args[1:2])


def literals(values: list[ast.expr]) -> Iterator[str]:
    for value in values:
        if isinstance(value, ast.Constant):
            yield str(value.value)


def activities(kind: str) -> set[str]:
    return {name for owner in PLANS[kind][0] for name in activities_of(owner)}


def activities_of(owner: type) -> set[str]:
    if issubclass(owner, DecidingActivities):
        return {f"{owner.kind.name}.{name}" for name in {*owner.steps} | UNPLANNED}
    definitions = (
        getattr(method, "__temporal_activity_definition", None)
        for _, method in inspect.getmembers(owner, inspect.isfunction)
    )
    return {str(one.name) for one in definitions if one is not None}


def test_every_kind_is_looked_at() -> None:
    assert PLANS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", PLANS)
def test_steps_and_activities_are_the_same_names(kind: str) -> None:
    _, modules = PLANS[kind]
    steps = {name for module in modules for name in planned(module)} - NEVER.get(kind, set())
    assert activities(kind) == {f"{kind}.{name}" for name in steps | UNPLANNED}


@pytest.mark.parametrize("kind", PLANS)
def test_only_who_can_look_into_an_event_is_told_of_one(kind: str) -> None:
    assert KINDS[kind].handles_events == (f"{kind}.{CHECK}" in activities(kind))
