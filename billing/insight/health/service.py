"""The health signs of the whole product, from the database."""

from collections.abc import Sequence

from billing.core.database import Database
from billing.insight.health import rules, store
from billing.insight.health.schemas import Sign


async def examine(database: Database, *, migrations: Sequence[str] = ()) -> tuple[Sign, ...]:
    """Return every sign; `migrations` are the release's, if known.

    If the schema is too old, return only that sign: the others cannot be read from it.
    """
    async with database.operator() as connection:
        found = rules.schema(await store.migration(connection), migrations)
        if found.state != "healthy":
            return (found,)
        return found, *rules.signs(await store.look(connection))
