"""Alembic's way to the database: as the owner, one at a time, in the chosen schema.

Two processes that migrate at once are harmless: the second waits and finds nothing to do.
"""

from typing import Final

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text

from billing.core.database import metadata
from billing.core.settings import Settings
from migrations.draft import load_tables

LOCK_TIMEOUT_MS: Final = 10_000
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
    """Bring the database up to the newest migration, all in one transaction."""
    url = settings.database_owner_url or settings.database_url
    options = f"-c search_path={settings.database_schema} -c lock_timeout={LOCK_TIMEOUT_MS}"
    engine = create_engine(url.get_secret_value(), connect_args={"options": options})
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        prepare_schema(connection, settings)
        context.configure(connection=connection, target_metadata=metadata)
        context.run_migrations()
    engine.dispose()


load_tables()
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    context.run_migrations()
else:
    run(Settings())
