"""Each step that an agenda plans is an activity, and each activity of a matter is planned."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Final

import pytest

from activities import registry, subscriptions
from activities.accounts import AccountActivities
from activities.tax_calls import TaxActivities
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

PLANS: Final[dict[str, tuple[ModuleType, ...]]] = {
    "trial": (trial_rules,),
    "subscription": (subscription_rules, collecting_rules),
    "collection": (collecting_rules,),
    "purchase": (purchase_rules,),
    "charge": (card_usage_rules, collecting_rules),
    "reversal": (reversal_rules,),
    "account": (account_rules,),
}
DECIDED: Final = {kind.name: steps for kind, _, steps in registry.DECIDED} | {
    "subscription": subscriptions.STEPS
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
        elif node.func.id in ("_step", "_since_day_zero"):
            yield from literals(node.args[1:2])


def literals(values: list[ast.expr]) -> Iterator[str]:
    for value in values:
        if isinstance(value, ast.Constant):
            yield str(value.value)


def activities(kind: str) -> set[str]:
    if kind in DECIDED:
        return {f"{kind}.{name}" for name in {*DECIDED[kind]} | UNPLANNED}
    definitions = (
        getattr(method, "__temporal_activity_definition", None)
        for owner in (AccountActivities, TaxActivities)
        for _, method in inspect.getmembers(owner, inspect.isfunction)
    )
    return {str(one.name) for one in definitions if one is not None}


def test_every_kind_is_looked_at() -> None:
    assert PLANS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", PLANS)
def test_steps_and_activities_are_the_same_names(kind: str) -> None:
    steps = {name for module in PLANS[kind] for name in planned(module)} - NEVER.get(kind, set())
    assert activities(kind) == {f"{kind}.{name}" for name in steps | UNPLANNED}


@pytest.mark.parametrize("kind", PLANS)
def test_only_who_can_look_into_an_event_is_told_of_one(kind: str) -> None:
    assert KINDS[kind].handles_events == (f"{kind}.{CHECK}" in activities(kind))
