"""After every story the books of its accounts agree: the product's own checks, all of them. What it
published is of a type that docs/events.md names, with its fields.
"""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from billing.core import ids
from billing.core.database import Database
from billing.insight.integrity import service as integrity
from tests.integration.actors import Actors
from tests.integration.postings_oracle import demand_agreement
from tests.misfits import misfits


@pytest.fixture(autouse=True)
async def books_agree(actors: Actors, database: Database) -> AsyncIterator[None]:
    """Import it into a conftest.py, and each test there ends with this question."""
    before = ids.new()
    yield
    made = await actors.sql("SELECT id FROM accounts WHERE id > %(before)s", before=before)
    for account in made:
        report = await integrity.examine(database, account["id"])
        assert report.ok, [check for check in report.checks if not check.ok]
        await demand_agreement(database, account["id"])
    await demand_known_events(actors, [account["id"] for account in made])


async def demand_known_events(actors: Actors, accounts: list[UUID]) -> None:
    """Every event of these accounts is as `kinds.py` says."""
    told = await actors.sql(
        "SELECT type, data FROM events WHERE account_id = ANY(%(accounts)s)", accounts=accounts
    )
    found = {fault for event in told for fault in misfits(event["type"], event["data"])}
    assert not found, "\n".join(sorted(found))
