"""Months of billing_records: the existing partitions, and the files of exported months.

Statements only, in the order that cli/months.py decides. The owner runs them, but for `PARTITIONS`,
which `billing doctor` reads as the operator.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from billing.metering.usage.rules import FIRST_MONTH
from cli import month_parquet
from cli.errors import StackError
from cli.owner_connection import Connection

BEFORE: Final = "before"
"""The first month: all records from before the table had months."""
LOCK_TIMEOUT: Final = "500ms"
"""While one waits for a table's lock, all later ones wait behind it."""
TRIES: Final = 60
PAUSE_SECONDS: Final = 0.5
ACCOUNTS: Final = 500
TURN: Final = 7_214_033  # any number, the same in every process that works on months
TURN_MS: Final = 5_000
PARTITIONS: Final = f"""
    SELECT c.relname AS table, c.reltuples::bigint AS records,
        pg_total_relation_size(c.oid) AS size, pg_get_expr(c.relpartbound, c.oid) AS bound,
        EXISTS (SELECT FROM pg_trigger AS t
            WHERE t.tgrelid = c.oid AND t.tgname = 'being_detached') AS is_frozen,
        EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted
                AND l.classid = 0 AND l.objid = {TURN} AND l.objsubid = 1) AS is_busy
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('billing_records')
"""  # noqa: S608 - a number of ours
LEFT: Final = (
    "detaching {0} was killed and changes of its records are refused: run"
    " billing months detach {0} again"
)
_BOUND: Final = re.compile(r"FROM \((MINVALUE|'(?P<month>[^']+)')\) TO \('(?P<until>[^']+)'\)")
_FILES: Final = """
    SELECT id, month, until, file, digest, rows_digest, records, size_bytes, written_at,
        is_away, returned_at
    FROM month_files ORDER BY written_at, id
"""
_DIGEST: Final = """
    SELECT count(*) AS records,
        concat_ws('/', sum(('x' || left(d, 16))::bit(64)::bigint::numeric),
            sum(('x' || right(d, 16))::bit(64)::bigint::numeric)) AS digest
    FROM (SELECT md5(ROW({columns})::text) AS d FROM {table}) AS rows
"""


@dataclass(frozen=True, slots=True)
class Month:
    """A partition."""

    table: str
    records: int
    """As of its last statistics; -1: there are none."""
    size: int
    month: date
    until: date
    is_frozen: bool
    """Its records refuse every change, because it is being detached."""
    is_busy: bool
    """A command works on a month."""

    @property
    def name(self) -> str:
        """The month's name in commands, such as 2026-01."""
        return name_of(self.month)

    @property
    def is_left(self) -> bool:
        """True if its detaching was killed: nobody else frees its records."""
        return self.is_frozen and not self.is_busy


@dataclass(frozen=True, slots=True)
class MonthFile:
    """A file that a month was written to."""

    id: UUID
    month: date
    until: date
    file: str
    digest: str
    rows_digest: str
    records: int
    size_bytes: int
    written_at: datetime
    is_away: bool
    returned_at: datetime | None

    @property
    def name(self) -> str:
        """The month's name in commands; see `Month.name`."""
        return name_of(self.month)


def name_of(month: date) -> str:
    """Return a month's name in commands."""
    return BEFORE if month == FIRST_MONTH else f"{month:%Y-%m}"


def take_turn(connection: Connection) -> None:
    """Wait shortly for another command on months; the server soon ends a killed one.

    Errors: StackError.
    """
    try:
        connection.execute(f"SET lock_timeout = {TURN_MS}")
        connection.execute("SELECT pg_advisory_lock(%s)", (TURN,))
        connection.execute("SET lock_timeout = 0")
    except psycopg.errors.LockNotAvailable as error:
        raise StackError("MONTH_BUSY: another command is working on a month") from error


def partitions(connection: Connection) -> list[Month]:
    """Return the months in the table, oldest first."""
    return sorted(map(month_of, connection.execute(PARTITIONS)), key=lambda one: one.month)


def month_of(row: dict[str, Any]) -> Month:
    """Return the month of a row of `PARTITIONS`."""
    bound = _BOUND.search(row.pop("bound"))
    if bound is None:
        raise StackError(f"{row['table']} is not a month")
    month = date.fromisoformat(bound["month"]) if bound["month"] else FIRST_MONTH
    return Month(**row, month=month, until=date.fromisoformat(bound["until"]))


def files(connection: Connection) -> list[MonthFile]:
    """Return every file that was written, oldest first."""
    return [MonthFile(**row) for row in connection.execute(_FILES)]


def digest(
    connection: Connection, table: str, columns: Iterable[sql.Composable] | None = None
) -> tuple[int, str]:
    """Return a table's number of rows, and a digest that does not depend on their order, over the
    given columns; by default all of this release.
    """
    if columns is None:
        columns = map(sql.Identifier, month_parquet.COLUMNS)
    query = sql.SQL(_DIGEST).format(
        columns=sql.SQL(", ").join(columns), table=sql.Identifier(table)
    )
    row = connection.execute(query).fetchone() or {}
    return row["records"], row["digest"]


def load(connection: Connection, table: str, names: Iterable[str], pages: Iterator[bytes]) -> None:
    """Create a table like billing_records and fill these columns from pages of CSV; others have
    their defaults.
    """
    name = sql.Identifier(table)
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (LIKE billing_records INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        ).format(name)
    )
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(name, columns)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for page in pages:
            copy.write(page)


@contextmanager
def frozen(connection: Connection, table: str) -> Iterator[None]:
    """Block changes to the month's rows meanwhile; the caller is asked to retry."""
    make = sql.SQL(
        "CREATE TRIGGER being_detached BEFORE INSERT OR UPDATE OR DELETE ON {}"
        " FOR EACH ROW EXECUTE FUNCTION usage_refuse_detached()"
    ).format(sql.Identifier(table))
    until_locked(connection, _thawing(table), make)
    try:
        yield
    except BaseException:
        if not connection.closed:
            until_locked(connection, _thawing(table))
        raise


def thaw(connection: Connection, month: Month) -> None:
    """Take changes of the month again if its detaching was killed; call it in one's turn."""
    if month.is_frozen:
        until_locked(connection, _thawing(month.table))


def _thawing(table: str) -> sql.Composed:
    return sql.SQL("DROP TRIGGER IF EXISTS being_detached ON {}").format(sql.Identifier(table))


def seal(connection: Connection, file_id: UUID, table: str) -> None:
    """Save the sums of each account that the checks need, page by page."""
    query = sql.SQL("SELECT DISTINCT account_id FROM {}").format(sql.Identifier(table))
    accounts = [row["account_id"] for row in connection.execute(query)]
    for first in range(0, len(accounts), ACCOUNTS):
        page = accounts[first : first + ACCOUNTS]
        listed = ",".join(map(str, page))
        connection.execute("SELECT set_config('app.accounts', %s, true)", (listed,))
        connection.execute("SELECT usage_seal_month(%s, %s)", (file_id, page))


def until_locked(connection: Connection, *statements: sql.Composed) -> None:
    """Run the statements in one transaction; retry until their locks are free."""
    for left in reversed(range(TRIES)):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                for statement in statements:
                    connection.execute(statement)
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if not left:
                raise StackError("MONTH_BUSY: others are using the table; try again") from error
            time.sleep(PAUSE_SECONDS)
