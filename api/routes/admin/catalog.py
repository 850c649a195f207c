"""The catalog, for operators: read all of it, and change one plan, pack or cost at a time [B11,
R3].

Sold terms do not change: a changed plan or price is a new version.
"""

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from api.answers.pagination import Page, as_page
from api.answers.problems import responses
from api.answers.schemas import Answer, Body, KeyPath
from api.dependencies import AdminCall
from api.routes.base import new_router
from billing.catalog.plans import service, store, weighing
from billing.catalog.plans.changes import Change
from billing.catalog.plans.schemas import CreditCost, Pack, PastCost, Plan, Price
from billing.catalog.plans.spec import CostSpec, PackSpec, PlanSpec
from billing.catalog.products.schemas import Name
from billing.core.errors import Conflict
from billing.money.subscriptions import entitlements

router = new_router("catalog administration")


class OfferedPlan(Plan):
    """The current version of a plan with the prices for new subscribers."""

    prices: list[Price] = Field(description="Its prices for new subscribers")


class OfferedPack(Pack):
    """A credit pack with its prices."""

    prices: list[Price] = Field(description="Its prices")


class DatedCost(CreditCost):
    """The cost of an operation now, and its earlier ones, newest first."""

    past: list[PastCost] = Field(description="Its earlier costs, newest first")


class ChangesAnswer(Answer):
    """A sentence for each change; empty when nothing changed."""

    changes: list[str] = Field(description="A sentence for each change; empty: nothing changed")

    @classmethod
    def of_changes(cls, changes: list[Change]) -> "ChangesAnswer":
        """The changes as callers see them."""
        return cls(changes=[change.words for change in changes])


AllowLarge = Annotated[
    bool,
    Query(
        alias="allow_large_change",
        description="Also remove prices, or change them by over 50 %; another model or number"
        " of tiers is not compared.",
    ),
]


def demand_small(changes: list[Change], *, allowed: bool) -> list[Change]:
    """Return the changes; removed prices and changes by more than half must be allowed.

    Errors: CHANGE_TOO_LARGE, upon which the caller's transaction writes nothing.
    """
    large = [] if allowed else weighing.asked_by_name(changes)
    if large:
        raise Conflict(
            "CHANGE_TOO_LARGE",
            "a price would be removed or change by more than half; set allow_large_change to"
            f" confirm: {'; '.join(large)}",
        )
    return changes


class DefaultPlanBody(Body):
    """The key of the plan of accounts without an open subscription; null: none."""

    plan: Name | None = Field(description="The key of the plan; null: none")


@router.put("/admin/default-plan", responses=responses("PLAN_NOT_FOUND"))
async def put_default_plan(body: DefaultPlanBody, call: AdminCall) -> ChangesAnswer:
    """Set the plan of accounts without an open subscription: from their next use on, also in months
    that have begun.
    """
    async with call.database.operator() as connection:
        return ChangesAnswer.of_changes(await service.put_default(connection, body.plan))


@router.get("/admin/plans", responses=responses())
async def list_all_plans(call: AdminCall) -> Page[OfferedPlan]:
    """Every plan, open to new subscribers or not, with its prices in all currencies."""
    async with call.database.operator() as connection:
        plans = await store.current_plans(connection, active_only=False)
        prices = await store.current_prices(connection, "plan")
    return as_page(OfferedPlan(**plan.model_dump(), prices=_of(plan.key, prices)) for plan in plans)


@router.put("/admin/plans/{key}", responses=responses("METER_NOT_FOUND", "CHANGE_TOO_LARGE"))
async def put_plan(
    key: KeyPath, body: PlanSpec, call: AdminCall, large: AllowLarge = False
) -> ChangesAnswer:
    """Add a plan or its next version; subscribers keep the version they have."""
    async with call.database.operator() as connection:
        sold = await entitlements.sold(connection, key)
        changes = await service.put_plan(connection, key, body, sold)
        return ChangesAnswer.of_changes(demand_small(changes, allowed=large))


@router.get("/admin/credit-packages", responses=responses())
async def list_all_credit_packages(call: AdminCall) -> Page[OfferedPack]:
    """Every credit pack, on offer or not."""
    async with call.database.operator() as connection:
        packs = await store.packs(connection, active_only=False)
        prices = await store.current_prices(connection, "pack")
    return as_page(OfferedPack(**pack.model_dump(), prices=_of(pack.key, prices)) for pack in packs)


@router.put("/admin/credit-packages/{key}", responses=responses("CHANGE_TOO_LARGE"))
async def put_credit_package(
    key: KeyPath, body: PackSpec, call: AdminCall, large: AllowLarge = False
) -> ChangesAnswer:
    """Add or change a credit pack; purchases that have started keep their terms."""
    async with call.database.operator() as connection:
        changes = await service.put_pack(connection, key, body)
        return ChangesAnswer.of_changes(demand_small(changes, allowed=large))


@router.get("/admin/credit-costs", responses=responses())
async def list_credit_costs(call: AdminCall) -> Page[DatedCost]:
    """The cost of each operation in credits; `built_in` where no active row sets it [F5]."""
    async with call.database.operator() as connection:
        costs, past = await store.costs(connection), await store.past_costs(connection)
    return as_page(DatedCost(**one.model_dump(), past=past.get(one.operation, [])) for one in costs)


@router.put("/admin/credit-costs/{key}", responses=responses("CHANGE_TOO_LARGE"))
async def put_credit_cost(
    key: KeyPath, body: CostSpec, call: AdminCall, large: AllowLarge = False
) -> ChangesAnswer:
    """Set the cost of an operation from now on; an inactive row restores the built-in cost.

    Earlier uses keep the cost of their time, also those reported later. The first cost of an
    operation without a built-in one applies to them too.
    """
    async with call.database.operator() as connection:
        changes = await service.put_cost(connection, key, body)
        return ChangesAnswer.of_changes(demand_small(changes, allowed=large))


def _of(key: str, prices: list[Price]) -> list[Any]:
    return [price for price in prices if price.key == key]
