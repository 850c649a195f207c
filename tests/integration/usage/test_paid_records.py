"""The records that a ledger entry paid are looked for in the few months that may contain them."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.metering.usage import logs, months
from tests.integration.actors import Actors, Customer
from tests.integration.rows_fetched import scanned

USE = {"product_id": "gpt-4", "usage_amount": "100"}


@pytest.fixture
async def spender(actors: Actors) -> Customer:
    customer = await actors.customer()
    await customer.bought("small")
    return customer


def near() -> set[str]:
    """The months before, of and after today, and that of the release before."""
    now = real_now()
    this = now.year * 12 + now.month - 1
    months_near = [date(n // 12, n % 12 + 1, 1) for n in range(this - 1, this + 2)]
    return {"billing_records_before", *(f"billing_records_{one:%Y_%m}" for one in months_near)}


async def paid(customer: Customer) -> dict[str, Any]:
    """The one record with its entry."""
    (found,) = await customer.rows(
        "SELECT id, transaction_id FROM billing_records WHERE account_id = %(me)s"
    )
    return found


async def test_the_uses_behind_an_entry_are_looked_for_near_its_month(
    spender: Customer, superuser: AsyncConnection
) -> None:
    await spender.ask("POST", "/usage/record", USE)
    use = await paid(spender)
    entry = use["transaction_id"]
    others = await logs.others_behind(superuser, spender.uuid, "somebody", [entry])
    assert others == {entry: False}
    behind = select(months.behind([entry]).c.id)
    assert list(await superuser.scalars(behind)) == [use["id"]]
    assert await scanned(superuser, "billing_records_") <= near()


@pytest.mark.parametrize(
    "names", ["'usage/' || CAST(:old AS text), NULL", "NULL, public_id('bill', :old)"]
)
async def test_an_entry_that_paid_an_older_use_names_it(
    superuser: AsyncConnection, names: str
) -> None:
    old = UUID("0196a1b2-0000-7000-8000-000000000000")
    values = {"new": UUID("019f0000-0000-7000-8000-000000000000"), "old": old}
    found = await superuser.scalar(text(f"SELECT usage_entry_months(:new, {names})"), values)
    of_old = await superuser.scalar(text("SELECT usage_month_of(:old, false)"), {"old": old})
    assert of_old in found
    assert date(1970, 1, 1) in found
    assert len(set(found)) == 5


async def test_the_use_that_is_voided_is_looked_for_in_its_month(
    spender: Customer, superuser: AsyncConnection
) -> None:
    await spender.ask("POST", "/usage/record", USE)
    verdict = text("SELECT usage_void_verdict(:me, :use, false)")
    values = {"me": spender.uuid, "use": (await paid(spender))["id"]}
    assert await superuser.scalar(verdict, values) == "ok"
    assert await scanned(superuser, "billing_records_") <= near()


@pytest.mark.parametrize(
    "again",
    [
        "usage_count_again(:me, ARRAY[CAST(:use AS uuid)], -1)",
        "usage_move_facet(:me, ARRAY[CAST(:use AS uuid)], 'wallet_deduction', 'pending')",
        "usage_complete(:me, ARRAY[CAST(:use AS uuid)], 'inv', now())",
        "usage_note_unpaid(:me, ARRAY[CAST(:use AS uuid)], now())",
    ],
)
async def test_uses_that_are_counted_again_are_looked_for_in_their_months(
    spender: Customer, superuser: AsyncConnection, again: str
) -> None:
    await spender.ask("POST", "/usage/record", USE)
    values = {"me": spender.uuid, "use": (await paid(spender))["id"]}
    await superuser.execute(text(f"SELECT {again}"), values)
    assert await scanned(superuser, "billing_records_") <= near()
