"""The catalog's tables are shared by the whole run: each test changes things under its own keys."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.core.prepared import driver_of


@pytest.fixture
async def scratch(database: Database) -> AsyncIterator[AsyncConnection]:
    """An operator's transaction that is rolled back: whole catalogs may be applied in it."""
    async with database.operator() as connection:
        yield connection
        await driver_of(connection).rollback()


@pytest.fixture
def key() -> str:
    """A key of a plan or pack that no other test uses."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def plan_body() -> dict[str, Any]:
    """A plan as an operator sends it."""
    return {
        "family": "test",
        "name": "Test plan",
        "features": {"export": True, "seats": 3},
        "limits": [
            {"meter": "api_calls", "included": "1000", "then": "overage", "prices": {"USD": "0.01"}}
        ],
        "trial_days": 7,
        "monthly_credits": "250",
        "prices": {"month": {"USD": {"amount_minor": 1200}, "JPY": {"amount_minor": 1500}}},
    }
