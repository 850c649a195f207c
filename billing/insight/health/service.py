"""The signs that the database gives of the whole product."""

from collections.abc import Sequence

from billing.core.database import Database
from billing.insight.health import rules, store
from billing.insight.health.schemas import Sign


async def examine(database: Database, *, migrations: Sequence[str] = ()) -> tuple[Sign, ...]:
    """Every sign of one look; `migrations` are those of the release, if known.

    Of an older schema only that is told: what else there is to see is not known.
    """
    async with database.operator() as connection:
        found = rules.schema(await store.migration(connection), migrations)
        if found.state != "well":
            return (found,)
        return found, *rules.signs(await store.look(connection))
