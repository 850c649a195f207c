"""After every story the books of its accounts agree: the product's own checks, all of them."""

from collections.abc import AsyncIterator

import pytest

from billing.core import ids
from billing.core.database import open_database
from billing.insight.integrity import service as integrity
from tests.integration.actors import Actors
from tests.integration.api_app import stack_settings


@pytest.fixture(autouse=True)
async def books_agree(actors: Actors) -> AsyncIterator[None]:
    """Import it into a conftest.py, and each test there ends with this question."""
    before = ids.new()
    yield
    made = await actors.sql("SELECT id FROM accounts WHERE id > %(before)s", before=before)
    database = open_database(stack_settings(actors.stack))
    try:
        for account in made:
            report = await integrity.examine(database, account["id"])
            assert report.ok, [check for check in report.checks if not check.ok]
    finally:
        await database.close()
