"""Alembic's environment: migrates as the owner, one process at a time, in the chosen schema.

Two processes that migrate at once are harmless: the second waits and finds nothing to do.
"""

import time
from typing import Final

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from billing.core.database import NOTICES_DEATH, metadata
from billing.core.settings import Settings
from migrations.draft import load_tables
from migrations.prepare import LOCK_TIMEOUT_MS, prepare, until_free
from migrations.repairs import Repair
from migrations.rights import alter_again, give_again
from migrations.walls import put_up_again

WAIT_SECONDS: Final = 0.2
MIGRATION_LOCK: Final = 7_214_031  # any number, the same in every process that migrates

# A server or a role may limit these for all. What is cut off is begun from the first row the next
# time, and one connection rests while the other migrates.
NO_LIMITS: Final = " ".join(
    f"-c {limit}=0"
    for limit in ("statement_timeout", "transaction_timeout", "idle_session_timeout")
)


def prepare_schema(connection: Connection, settings: Settings) -> None:
    """Create the chosen schema, and grant its use to the roles that the settings name."""
    schema = settings.database_schema
    if schema == "public":
        return
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}"))
    for url in (settings.database_url, settings.operator_url):
        if role := make_url(url.get_secret_value()).username:
            connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}"))


def run(settings: Settings) -> None:
    """Migrate the database: first the slow steps, each in its own transaction, then the migration
    in one transaction.
    """
    url = settings.database_owner_url or settings.database_url
    schema = f"-c search_path={settings.database_schema}"
    options = f"{schema} -c lock_timeout={LOCK_TIMEOUT_MS} {NO_LIMITS}"
    engine = create_engine(
        url.get_secret_value(), connect_args={"options": options, **NOTICES_DEATH}
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
        _wait_for_turn(alone)
        prepare(alone, _steps())
        until_free(lambda: _migrate(engine, settings))
    engine.dispose()


def _migrate(engine: Engine, settings: Settings) -> None:
    with engine.begin() as connection:
        prepare_schema(connection, settings)
        _configure(connection)
        context.run_migrations()
        _tell(_restore(connection), context.get_context().get_current_revision())


def _restore(connection: Connection) -> list[Repair]:
    """Restore missing rights and altered roles, and missing walls if the database is at the newest
    migration: an earlier one does not have all. Return an outcome for each.
    """
    given = give_again(connection) + alter_again(connection)
    head = context.script.get_current_head()
    is_newest = context.get_context().get_current_revision() == head
    return given + (put_up_again(connection) if is_newest else [])


def _tell(repairs: list[Repair], revision: str | None) -> None:
    """Pass the outcome of the repairs, and the database's revision, to the caller."""
    context.config.attributes |= {"repairs": repairs, "revision": revision}


def _configure(connection: Connection) -> None:
    """Configure Alembic; leave out partitions, which belong to a described table."""
    query = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
    partitions = set(connection.scalars(text(query)))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=lambda name, kind, _: kind != "table" or name not in partitions,
    )


def _wait_for_turn(connection: Connection) -> None:
    """Poll until no other process migrates. A statement that waited for the lock would block an
    index that the other process creates: the index waits for all running statements.
    """
    ask = text("SELECT pg_try_advisory_lock(:key)")
    while not connection.scalar(ask, {"key": MIGRATION_LOCK}):
        time.sleep(WAIT_SECONDS)


def _steps() -> dict[str, str]:
    """Return each migration up to the wanted one, by its predecessor."""
    try:
        wanted = context.get_revision_argument()
    except KeyError:  # nothing to migrate
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
