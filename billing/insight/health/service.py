"""The signs that the database gives of the whole product."""

from billing.core.database import Database
from billing.insight.health import rules, store
from billing.insight.health.schemas import Sign


async def examine(database: Database, *, release: str) -> tuple[Sign, ...]:
    """Every sign of one look; `release` is the migration that the code needs."""
    async with database.operator() as connection:
        return rules.signs(await store.look(connection), release=release)
