"""Alembic's way to the database: as the owner, one at a time, in the chosen schema.

Two processes that migrate at once are harmless: the second waits and finds nothing to do.
"""

import time
from typing import Final

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text

from billing.core.database import NOTICES_DEATH, metadata
from billing.core.settings import Settings
from migrations.draft import load_tables
from migrations.prepare import prepare
from migrations.rights import give_again
from migrations.walls import put_up_again

LOCK_TIMEOUT_MS: Final = 10_000
WAIT_SECONDS: Final = 0.2
MIGRATION_LOCK: Final = 7_214_031  # any number, the same in every process that migrates


def prepare_schema(connection: Connection, settings: Settings) -> None:
    """Make the chosen schema, open to the roles that the settings name."""
    schema = settings.database_schema
    if schema == "public":
        return
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}"))
    for url in (settings.database_url, settings.operator_url):
        if role := make_url(url.get_secret_value()).username:
            connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}"))


def run(settings: Settings) -> None:
    """Bring the database up to the newest migration: first what takes long, each step by itself,
    then the migration in one transaction.
    """
    url = settings.database_owner_url or settings.database_url
    options = f"-c search_path={settings.database_schema} -c lock_timeout={LOCK_TIMEOUT_MS}"
    engine = create_engine(
        url.get_secret_value(), connect_args={"options": options, **NOTICES_DEATH}
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
        _wait_for_turn(alone)
        prepare(alone, _steps())
        with engine.begin() as connection:
            prepare_schema(connection, settings)
            _configure(connection)
            context.run_migrations()
            _tell(_restore(connection))
    engine.dispose()


def _restore(connection: Connection) -> list[str]:
    """Rights that somebody took away, and walls that somebody took down, which only the newest
    migration has all of.
    """
    given = [f"{one.words}: given again" for one in give_again(connection)]
    head = context.script.get_current_head()
    is_newest = context.get_context().get_current_revision() == head
    return given + (put_up_again(connection) if is_newest else [])


def _tell(restored: list[str]) -> None:
    """Whoever called finds there which rights and walls are there again."""
    context.config.attributes["restored"] = restored


def _configure(connection: Connection) -> None:
    """Partitions are parts of a table that is described, and nothing by themselves."""
    query = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
    partitions = set(connection.scalars(text(query)))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=lambda name, kind, _: kind != "table" or name not in partitions,
    )


def _wait_for_turn(connection: Connection) -> None:
    """Until nobody else migrates. Asked again and again: an index that another one makes waits for
    every statement that has begun, and so for one that would wait here.
    """
    ask = text("SELECT pg_try_advisory_lock(:key)")
    while not connection.scalar(ask, {"key": MIGRATION_LOCK}):
        time.sleep(WAIT_SECONDS)


def _steps() -> dict[str, str]:
    """Each migration on the way to the one that is wanted, by the one before it."""
    try:
        wanted = context.get_revision_argument()
    except KeyError:  # nothing is to be migrated
        return {}
    return {
        str(one.down_revision): one.revision
        for one in context.script.iterate_revisions(wanted, "base")
    }


load_tables()
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    context.run_migrations()
else:
    run(Settings())
