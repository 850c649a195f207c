"""Applying a catalog: only the difference, new versions for new customers, nothing sold changes."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import loader, service, store
from billing.catalog.plans.spec import CatalogSpec, CostSpec, PlanSpec
from billing.catalog.plans.tables import prices
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.periods import MONTH, Interval
from billing.core.prepared import driver_of
from billing.money.subscriptions.entitlements import sold
from tests.integration.catalog.subscribing import subscribe

YEAR = Interval(unit="year")


@pytest.fixture
async def scratch(database: Database) -> AsyncIterator[AsyncConnection]:
    """An operator's transaction that is rolled back: whole catalogs may be applied in it."""
    async with database.operator() as connection:
        yield connection
        await driver_of(connection).rollback()


def with_plan(key: str, **more: Any) -> CatalogSpec:
    """The file's catalog and one plan more."""
    wanted = loader.read().model_dump()
    wanted["plans"][key] = {
        "family": "test", "name": "Test", "features": {"export": True},
        "prices": {"month": {"USD": 1000, "EUR": 900}},
    } | more  # fmt: skip
    return CatalogSpec.model_validate(wanted)


async def words(connection: AsyncConnection, wanted: CatalogSpec) -> list[str]:
    """Apply, and list the changes; the list and the changes agree."""
    said = [
        change.words for change in await service.diff(connection, wanted, await sold(connection))
    ]
    done = [
        change.words for change in await service.apply(connection, wanted, await sold(connection))
    ]
    assert said == done
    assert await service.diff(connection, wanted, await sold(connection)) == []
    return said


async def test_a_fresh_stack_sells_what_the_file_says(scratch: AsyncConnection) -> None:
    await service.apply(scratch, loader.read(), await sold(scratch))
    plan = await store.find_plan(scratch, "pro")
    price = await store.plan_price(scratch, "pro", "EUR", YEAR)
    pack = await store.find_pack(scratch, "small")
    assert plan is not None
    assert price is not None
    assert pack is not None
    assert (plan.family, int(plan.monthly_credits)) == ("app", 500)
    assert price.amount_minor == 49000
    yen = await store.pack_price(scratch, "small", "JPY")
    assert yen is not None
    assert (int(pack.credits), yen.amount_minor) == (100, 1500)
    assert not await store.is_empty(scratch)


async def test_applying_it_again_changes_nothing(scratch: AsyncConnection, key: str) -> None:
    await service.apply(scratch, with_plan(key), await sold(scratch))
    assert await service.diff(scratch, with_plan(key), await sold(scratch)) == []


async def test_a_changed_plan_is_a_new_version_and_the_old_one_stays(
    scratch: AsyncConnection, key: str
) -> None:
    await service.apply(scratch, with_plan(key), await sold(scratch))
    first = await store.find_plan(scratch, key)
    assert first is not None
    said = await words(scratch, with_plan(key, features={"export": True, "seats": 5}))
    assert said == [f"plan {key}: version 2 (features)"]
    second = await store.find_plan(scratch, key)
    assert second is not None
    assert (second.version, second.features) == (2, {"export": True, "seats": 5})
    kept = await store.get_plan(scratch, first.id)
    assert kept == first.model_copy(update={"is_current": False})


async def test_a_changed_price_touches_new_customers_only_and_says_whom_it_spares(
    scratch: AsyncConnection, key: str, new_account: Any
) -> None:
    await service.apply(scratch, with_plan(key), await sold(scratch))
    old = await store.plan_price(scratch, key, "USD", MONTH)
    assert old is not None
    # The third is a test account's, and nobody's money.
    for clock_at in (None, None, real_now()):
        account = await new_account(clock_at=clock_at)
        await subscribe(scratch, account.id, key, "active")
    said = await words(scratch, with_plan(key, prices={"month": {"USD": 1250, "EUR": 900}}))
    [change] = said
    assert change == (
        f"price of plan {key} per month: 10.00 USD → 12.50 USD;"
        " 2 open subscriptions keep theirs (5.00 USD per month if they moved)"
    )
    new = await store.plan_price(scratch, key, "USD", MONTH)
    assert new is not None
    assert (new.version, new.amount_minor) == (2, 1250)
    kept = await scratch.execute(select(prices).where(prices.c.id == old.id))
    assert (row := kept.one()).amount_minor == 1000
    assert not row.is_current


async def test_what_the_file_no_longer_lists_is_closed_not_deleted(
    scratch: AsyncConnection, key: str
) -> None:
    await service.apply(scratch, with_plan(key), await sold(scratch))
    said = await words(scratch, loader.read())
    assert said[0] == f"plan {key}: closed to new subscribers"
    assert sorted(said[1:]) == [
        f"price of plan {key} per month: 10.00 USD → none",
        f"price of plan {key} per month: 9.00 EUR → none",
    ]
    plan = await store.find_plan(scratch, key)
    assert plan is not None
    assert not plan.is_active
    assert key not in {plan.key for plan in await store.current_plans(scratch, active_only=True)}
    reopened = await words(scratch, with_plan(key))
    assert reopened[0] == f"plan {key}: opened"
    again = await store.plan_price(scratch, key, "USD", MONTH)
    assert again is not None
    assert again.version == 2


async def test_a_pack_is_changed_in_place_for_later_purchases(
    scratch: AsyncConnection, key: str
) -> None:
    wanted = loader.read().model_dump()
    wanted["packs"][key] = {"name": "Mini", "credits": 10, "prices": {"USD": 199}}
    await service.apply(scratch, CatalogSpec.model_validate(wanted), await sold(scratch))
    wanted["packs"][key]["credits"] = 12
    assert await words(scratch, CatalogSpec.model_validate(wanted)) == [
        f"pack {key}: changed, 10.00 → 12.00 credits"
    ]
    pack = await store.find_pack(scratch, key)
    assert pack is not None
    assert pack.credits == 12


async def cost_of(connection: AsyncConnection, operation: str) -> Decimal | None:
    """The cost in credits that operators see for an operation."""
    return {one.operation: one.cost for one in await store.costs(connection)}.get(operation)


async def test_an_operation_costs_its_row_else_the_built_in_constant(
    scratch: AsyncConnection,
) -> None:
    assert await cost_of(scratch, "document_upload") == 2
    await service.put_cost(scratch, "document_upload", CostSpec(cost=Decimal("3.5")))
    assert str(await cost_of(scratch, "document_upload")) == "3.500000000000"
    await service.put_cost(
        scratch, "document_upload", CostSpec(cost=Decimal("3.5"), is_active=False)
    )
    assert await cost_of(scratch, "document_upload") == 2
    assert await cost_of(scratch, "unheard_of") is None


async def test_a_past_cost_stays_that_of_its_time(scratch: AsyncConnection) -> None:
    cost_then = text("SELECT credit_cost('document_upload', :at)")
    times = [real_now()]
    for cost, is_active in (("3", True), ("4", True), ("4", False), ("2.5", True)):
        wanted = CostSpec(cost=Decimal(cost), is_active=is_active)
        await service.put_cost(scratch, "document_upload", wanted)
        times.append(real_now())
    found = [await scratch.scalar(cost_then, {"at": at}) for at in times]
    assert found == [2, 3, 4, 2, Decimal("2.5")], "the built-in cost held before, and between"
    past = (await store.past_costs(scratch))["document_upload"]
    assert [one.cost for one in past[:4]] == [2, 4, 3, 2]


async def test_each_change_is_in_the_audit_trail(scratch: AsyncConnection, key: str) -> None:
    plan = PlanSpec.model_validate(
        {"family": "test", "name": "Test", "prices": {"month": {"USD": 1}}}
    )
    changes = await service.put_plan(scratch, key, plan, await sold(scratch))
    rows = await scratch.execute(
        text(
            "SELECT detail ->> 'words' FROM billing_audit"
            " WHERE action = 'catalog.change' AND subject = :subject ORDER BY id"
        ),
        {"subject": f"plan {key}"},
    )
    assert list(rows.scalars()) == [change.words for change in changes]
