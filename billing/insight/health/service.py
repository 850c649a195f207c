"""The signs that the database gives of the whole product."""

from billing.core.database import Database
from billing.insight.health import rules, store
from billing.insight.health.schemas import Sign


async def examine(database: Database, *, release: str | None = None) -> tuple[Sign, ...]:
    """Every sign of one look; `release` is the migration that is needed, if known.

    Of another schema only that is told: what else there is to see is not known.
    """
    async with database.operator() as connection:
        found = rules.schema(await store.migration(connection), release)
        if found.state != "well":
            return (found,)
        return found, *rules.signs(await store.look(connection))
