"""Connections of commands past the pools: the owner's, and one that sees all as the operator."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from pydantic import SecretStr
from sqlalchemy import make_url

from billing.core.database import NOTICES_DEATH
from billing.core.settings import Settings
from cli.errors import StackError
from migrations.repairs import NEEDS_OWNER

Connection = psycopg.Connection[dict[str, Any]]


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """Connect as the tables' owner, who may detach a month and end sessions.

    Each statement commits, unless it is in a transaction. Errors: StackError without the
    owner's URL.
    """
    if settings.database_owner_url is None:
        raise StackError(NEEDS_OWNER)
    options = " ".join(f"-c {name}={value}" for name, value in _session(settings).items())
    with _connect(settings.database_owner_url, options=options) as connection:
        yield connection


@contextmanager
def operating(settings: Settings) -> Iterator[Connection]:
    """A transaction of the operator, who sees all accounts.

    It brings its settings itself: a pooler in transaction mode refuses start-up options.
    """
    pooled = _connect(settings.operator_url, prepare_threshold=None)
    with pooled as connection, connection.transaction():
        for name, value in _session(settings).items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        yield connection


def _connect(url: SecretStr, **options: Any) -> Connection:
    known = make_url(url.get_secret_value()).set(drivername="postgresql")
    return psycopg.connect(
        known.render_as_string(hide_password=False),
        autocommit=True, row_factory=dict_row, **NOTICES_DEATH, **options,
    )  # fmt: skip


def _session(settings: Settings) -> dict[str, str]:
    schema = settings.database_schema
    return {"search_path": schema, "statement_timeout": "0", "timezone": "UTC"}
