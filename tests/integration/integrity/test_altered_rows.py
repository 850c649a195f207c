"""Rows that a superuser altered, to give something or take it, are found in the books."""

from typing import Final
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity import service
from tests.integration.actors import Actors, Customer

MINE: Final = "account_id = :me"
ADJUSTED: Final = f"{MINE} AND kind = 'adjusted'"
# Each with the check that finds it.
ALTERED: Final = {
    f"DELETE FROM credit_balances WHERE {MINE}": "ledger_balance",
    f"UPDATE credit_lots SET amount = amount + 1 WHERE {MINE}": "lots_granted",
    f"UPDATE credit_lots SET amount = amount + 1, clawed = 1 WHERE {MINE}": "lots_granted",
    f"UPDATE credit_lots SET is_paid = true WHERE {MINE} AND kind = 'plan'": "lots_of_their_kind",
    f"UPDATE credit_lots SET expires_at = created_at + interval '9 years'"
    f" WHERE {MINE} AND kind = 'purchase'": "lots_of_their_kind",
    f"UPDATE usage_counters SET maximum = maximum + 1000 WHERE {MINE}": "usage_counted",
    f"UPDATE billing_records SET usage_amount = usage_amount + 7 WHERE {MINE}": "usage_counted",
    f"UPDATE balance_entries SET amount_minor = amount_minor + 1 WHERE {ADJUSTED}": (
        "adjustments_told"
    ),
    f"DELETE FROM balance_entries WHERE {ADJUSTED}": "adjustments_told",
    f"UPDATE balance_entries SET kind = 'adjusted' WHERE {MINE} AND kind = 'applied'": (
        "adjustments_told"
    ),
    "INSERT INTO balance_entries (id, account_id, key, kind, amount_minor, currency, at)"
    " SELECT uuidv7(), account_id, key || '-again', kind, amount_minor, currency, at"
    f" FROM balance_entries WHERE {ADJUSTED}": "adjustments_told",
    "UPDATE accounts SET is_test = true WHERE id = :me": "tests_apart",
    "UPDATE accounts SET stripe_customer_id = NULL WHERE id = :me": "cards_kept",
    f"UPDATE subscriptions SET cancel_at_period_end = true WHERE {MINE}": "cancels_stand",
    f"UPDATE subscriptions SET cancel_at = current_period_end WHERE {MINE}": "cancels_stand",
}


@pytest.fixture(scope="module")
async def owner(actors: Actors) -> Customer:
    """Has a plan, a reading of a level beyond it, a pack, and money that an operator gave."""
    owner = await actors.customer()
    await owner.subscribed("pro")
    reading = {"feature_type": "storage_gb", "usage_amount": "130"}
    await owner.ask("POST", "/usage/record", reading)
    given = {"amount_cents": 100, "reason": "goodwill"}
    path = f"/admin/accounts/{owner.id}/balance/adjust"
    await actors.operate("POST", path, given, status=201, key=str(uuid4()))
    await owner.bought("small")
    return owner


@pytest.mark.parametrize(("statement", "name"), ALTERED.items())
async def test_what_was_altered_by_hand_is_found(
    owner: Customer, superuser: AsyncConnection, statement: str, name: str
) -> None:
    assert (await service.evaluate(superuser, owner.uuid)).ok
    assert (await superuser.execute(text(statement), {"me": owner.uuid})).rowcount > 0
    found = (await service.evaluate(superuser, owner.uuid)).wrong
    assert name in {one.name for one in found}
