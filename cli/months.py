"""Exports a month of uses to a file, removes it from the table, and imports it again.

A verb that was killed can be repeated. The transaction that removes the rows saves their sums for
the checks; before it, the file is read back and compared with the rows.
"""

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from psycopg import sql

from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import open_database
from billing.core.failpoints import failpoint
from billing.core.settings import Settings
from billing.metering.usage import months as usage_months
from billing.platform.audit import service as audit
from billing.platform.audit import store as audit_store
from billing.platform.audit.tables import billing_audit
from cli import month_files, month_parquet, owner_connection
from cli.errors import StackError
from cli.month_files import Month, MonthFile
from cli.owner_connection import Connection

_IS_YOUNG: Final = """
    SELECT coalesce(bool_and(
        greatest(ends_at, %(until)s) + usage_late_limit() > %(now)s), true) AS is_young
    FROM usage_months WHERE month = %(month)s
"""
# Reasons to keep a month's records in the table, with the accounts concerned.
_STILL_NEEDED: Final = {
    "uses that are not paid, or on no invoice yet": """
        SELECT account_id FROM billing_records
        WHERE month >= %(from)s AND month < %(until)s
            AND billing_status IN ('pending', 'processing', 'failed')
    """,
    "uses of a billing period that may still change": """
        SELECT r.account_id
        FROM (
            SELECT account_id, period_start, max(occurred_at) AS last FROM billing_records
            WHERE month >= %(from)s AND month < %(until)s GROUP BY account_id, period_start) AS r
        JOIN usage_periods AS p ON p.account_id = r.account_id
            AND (p.start_at = r.period_start OR p.carried_since <= r.last)
        JOIN accounts AS a ON a.id = r.account_id
        WHERE p.end_at + usage_late_limit() > coalesce(a.clock_at, %(now)s)
    """,
    "uses that are claimed and not recorded": """
        SELECT c.account_id FROM quota_claims AS c JOIN accounts AS a ON a.id = c.account_id
        WHERE c.status = 'open' AND c.expires_at > coalesce(a.clock_at, %(now)s)
            AND usage_month_of(c.id, true) >= %(from)s AND usage_month_of(c.id, true) < %(until)s
    """,
    "uses beside an open hold of their time": """
        SELECT h.account_id FROM credit_holds AS h
        WHERE h.status = 'open' AND h.created_at < %(until)s AND EXISTS (
            SELECT FROM billing_records AS r
            WHERE r.account_id = h.account_id AND r.month >= %(from)s AND r.month < %(until)s)
    """,
}


_WHOSE: Final = """
    SELECT count(*) AS many,
        (array_agg(DISTINCT public_id('acc', account_id)))[1:3] AS examples
    FROM ({}) AS found
"""


def make(settings: Settings) -> str:
    """Create the months that the daily job creates: the current and later ones."""
    made = asyncio.run(_make(settings))
    if not made:
        return "every month is there"
    return "1 month was made" if made == 1 else f"{made} months were made"


async def _make(settings: Settings) -> int:
    async with open_database(settings) as database, database.operator() as connection:
        return await usage_months.make(connection)


def listing(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Return a line for each month: its name, records, size and place."""
    with owner_connection.connected(settings) as owner:
        here, written = month_files.partitions(owner), month_files.files(owner)
    lines = {
        one.month: (one.name, _about(one.records), _size(one.size), _here(one, written))
        for one in here
    }
    for file in written:
        if file.is_away:
            words = f"away: {file.file}, {_when(file)}"
            lines[file.month] = file.name, f"{file.records:,}", _size(file.size_bytes), words
    return [lines[month] for month in sorted(lines)]


def export(settings: Settings, name: str, folder: Path) -> str:
    """Write a month to a file in a folder and verify it; return a sentence.

    Errors: StackError.
    """
    month_parquet.need_pyarrow()
    if not folder.is_dir():
        raise StackError(f"MONTH_FILE_MISSING: {folder} is not a folder")
    with owner_connection.connected(settings) as owner:
        month_files.take_turn(owner)
        month = _month(owner, name)
        month_files.thaw(owner, month)
        _refuse(settings, month)
        path = folder.resolve() / f"billing_records_{name.replace('-', '_')}.parquet"
        _refuse_other(owner, path)
        draft = path.with_suffix(".part")
        with month_parquet.writing(path):
            with owner.transaction():
                # One snapshot, because others write meanwhile.
                owner.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                file = _write(owner, month, draft, path)
                _note(owner, file)
            asyncio.run(failpoint("month.proven"))
            month_parquet.keep(draft, path)
    _tell(settings, "month.exported", file)
    return f"{name}: {file.records:,} records in {file.file}, {_size(file.size_bytes)}"


def detach(settings: Settings, name: str, copy: Path | None = None) -> str:
    """Remove an exported month from the table; return a sentence. `copy` is the file's current
    path, if it was moved.

    Errors: StackError.
    """
    with owner_connection.connected(settings) as owner:
        month_files.take_turn(owner)
        file = _latest(owner, name)
        if not file.is_away:
            month = _month(owner, name)
            # A refusal leaves the month as it was before a run that was killed.
            month_files.thaw(owner, month)
            path = copy or Path(file.file)
            _demand_whole(path, file)
            file = replace(file, file=str(path.resolve()))
            _refuse(settings, month)
            with month_files.frozen(owner, month.table):
                asyncio.run(failpoint("month.frozen"))
                _refuse(settings, month)
                with owner.transaction():
                    _take_away(owner, month, file)
            asyncio.run(failpoint("month.detached"))
    _tell(settings, "month.detached", file)
    return f"{name}: {file.records:,} records are in {file.file} alone"


def bring_back(settings: Settings, path: Path) -> str:
    """Import a month from its file; return a sentence. Errors: StackError."""
    month_parquet.need_pyarrow()
    digest = month_parquet.digest(path)
    with owner_connection.connected(settings) as owner:
        month_files.take_turn(owner)
        found = [one for one in month_files.files(owner) if one.digest == digest]
        if not found:
            raise StackError(
                f"MONTH_FILE_DAMAGED: {path} is damaged or belongs to another database: no month"
                " was exported with its digest"
            )
        file = next((one for one in found if one.is_away), found[-1])
        if not file.is_away and file.returned_at is None:
            return f"{file.name} is not away"
        if file.is_away:
            with owner.transaction():
                _attach(owner, file, path)
    _tell(settings, "month.imported", file)
    return f"{file.name}: {file.records:,} records are back"


def verify(settings: Settings, folder: Path | None = None) -> tuple[list[str], list[str]]:
    """Compare the files of detached months with their digests; return a line for each file that is
    as it was written, and one for each that is not. `folder` is where they are now, if moved.
    """
    with owner_connection.connected(settings) as owner:
        away = [one for one in month_files.files(owner) if one.is_away]
    right, wrong = [], []
    for file in sorted(away, key=lambda one: one.month):
        path = Path(file.file) if folder is None else folder / Path(file.file).name
        try:
            _demand_whole(path, file)
            right.append(f"{file.name}: {path} is as it was written")
        except StackError as error:
            wrong.append(str(error))
    return right, wrong


def _demand_whole(path: Path, file: MonthFile) -> None:
    if month_parquet.digest(path) != file.digest:
        raise StackError(f"MONTH_FILE_DAMAGED: {path} is not the file that was exported")


def _month(owner: Connection, name: str) -> Month:
    for one in month_files.partitions(owner):
        if one.name == name:
            return one
    if any(one.name == name and one.is_away for one in month_files.files(owner)):
        raise StackError(f"MONTH_AWAY: {name} is already in a file; see billing months list")
    raise StackError(f"MONTH_UNKNOWN: there is no month {name}; see billing months list")


def _latest(owner: Connection, name: str) -> MonthFile:
    found = [one for one in month_files.files(owner) if one.name == name]
    away = [one for one in found if one.is_away]
    written = away or [one for one in found if one.returned_at is None]
    if not written:
        _month(owner, name)
        raise StackError(f"MONTH_NOT_WRITTEN: run billing months export {name} --to … first")
    return written[-1]


def _refuse(settings: Settings, month: Month) -> None:
    """Raise StackError if a month is not over, or its records are still needed."""
    # The first partition includes all months before its end, whatever its name is.
    begins = month.month if month.name != month_files.BEFORE else date.min
    values = {"month": month.month, "from": begins, "until": month.until, "now": real_now()}
    with owner_connection.operating(settings) as operator:
        found = operator.execute(_IS_YOUNG, values).fetchone()
        if found is None or found["is_young"]:
            raise StackError(not_over(month))
        for words, query in _STILL_NEEDED.items():
            broken = operator.execute(_WHOSE.format(query), values).fetchone() or {}
            if broken["many"]:
                raise StackError(
                    f"MONTH_IN_USE: {month.name} has {words}, such as of"
                    f" {', '.join(broken['examples'])}"
                )


def not_over(month: Month) -> str:
    """Return the refusal of a month to which uses may still be added."""
    if month.name == month_files.BEFORE:
        return (
            f"MONTH_NOT_OVER: uses of the time before {month.until} may still arrive:"
            f" {month.name} is complete 35 days after that day"
        )
    return (
        f"MONTH_NOT_OVER: uses of {month.name} may still arrive: a month is complete 35 days after"
        f" its end, {month.until}"
    )


def _refuse_other(owner: Connection, path: Path) -> None:
    """Raise StackError if a file of another database is there: it may be the only copy."""
    if path.exists() and month_parquet.digest(path) not in {
        one.digest for one in month_files.files(owner)
    }:
        raise StackError(
            f"MONTH_FILE_EXISTS: {path} already exists and belongs to another database"
        )


def _write(owner: Connection, month: Month, draft: Path, path: Path) -> MonthFile:
    """Write the file, read it into a separate table and compare."""
    records, rows_digest = month_files.digest(owner, month.table)
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY id) TO STDOUT (FORMAT csv, HEADER)").format(
        month_parquet.selected(), sql.Identifier(month.table)
    )
    with owner.cursor() as cursor, cursor.copy(query) as chunks:
        month_parquet.write(chunks, draft)
    proof = f"{month.table}_proof"
    month_files.load(owner, proof, month_parquet.COLUMNS, month_parquet.read(draft))
    if month_files.digest(owner, proof) != (records, rows_digest):
        raise StackError(f"MONTH_FILE_DAMAGED: {draft} reads back differently from {month.name}")
    owner.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(proof)))
    return MonthFile(
        id=ids.new(), month=month.month, until=month.until, file=str(path),
        digest=month_parquet.digest(draft), rows_digest=rows_digest, records=records,
        size_bytes=draft.stat().st_size, written_at=real_now(), is_away=False, returned_at=None,
    )  # fmt: skip


def _note(owner: Connection, file: MonthFile) -> None:
    owner.execute(
        "INSERT INTO month_files (id, month, until, file, digest, rows_digest, records, size_bytes,"
        " written_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            file.id, file.month, file.until, file.file, file.digest, file.rows_digest,
            file.records, file.size_bytes, file.written_at,
        ),
    )  # fmt: skip


def _take_away(owner: Connection, month: Month, file: MonthFile) -> None:
    """Save the sums while others can read; take the short exclusive lock last."""
    if month_files.digest(owner, month.table) != (file.records, file.rows_digest):
        raise StackError(
            f"MONTH_CHANGED: records of {month.name} changed after the export: export it again"
        )
    month_files.seal(owner, file.id, month.table)
    owner.execute(
        "UPDATE month_files SET detached_at = %s, file = %s WHERE id = %s",
        (real_now(), file.file, file.id),
    )
    table = sql.Identifier(month.table)
    month_files.until_locked(
        owner,
        sql.SQL("ALTER TABLE billing_records DETACH PARTITION {}").format(table),
        sql.SQL("DROP TABLE {}").format(table),
    )


def _attach(owner: Connection, file: MonthFile, path: Path) -> None:
    """Attach the rows of a file; from then on its saved sums no longer count."""
    name = f"billing_records_{file.name.replace('-', '_')}"
    columns = month_parquet.columns_of(path)
    month_files.load(owner, name, columns, month_parquet.read(path))
    if month_files.digest(owner, name, columns.values()) != (file.records, file.rows_digest):
        raise StackError(
            f"MONTH_FILE_DAMAGED: {path} reads back differently from what was detached"
        )
    table = sql.Identifier(name)
    begins = sql.SQL("MINVALUE") if file.name == month_files.BEFORE else sql.Literal(file.month)
    owner.execute("UPDATE month_files SET returned_at = %s WHERE id = %s", (real_now(), file.id))
    owner.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
    month_files.until_locked(
        owner,
        # Programs read and write rows only through the parent table.
        sql.SQL("REVOKE ALL ON {} FROM PUBLIC, billing_app, billing_operator").format(table),
        sql.SQL(
            "ALTER TABLE billing_records ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
        ).format(table, begins, sql.Literal(file.until)),
        sql.SQL("ANALYZE {}").format(table),
    )


def _tell(settings: Settings, action: str, file: MonthFile) -> None:
    """Record the action in the audit once; a repeat adds what a killed run left out."""
    asyncio.run(_record(settings, action, file))


async def _record(settings: Settings, action: str, file: MonthFile) -> None:
    known = audit_store.listing(None, action=action, subject=file.name).where(
        billing_audit.c.detail["file_id"].astext == str(file.id)
    )
    async with open_database(settings) as database, database.operator() as connection:
        if (await connection.execute(known.limit(1))).first() is None:
            await audit.record(
                connection, account_id=None, action=action, subject=file.name, at=real_now(),
                file_id=str(file.id), file=file.file, digest=file.digest, records=file.records,
            )  # fmt: skip


def _here(month: Month, written: list[MonthFile]) -> str:
    copies = [one for one in written if one.month == month.month]
    also = f"; also {copies[-1].file}, {_when(copies[-1])}" if copies else ""
    if not month.is_frozen:
        return f"here{also}"
    if not month.is_left:
        return f"here, being detached{also}"
    return f"here{also}; {month_files.LEFT.format(month.name)}"


def _when(file: MonthFile) -> str:
    return f"written {file.written_at:%Y-%m-%d %H:%M} UTC, sha256 {file.digest}"


def _about(records: int) -> str:
    return f"about {records:,}" if records >= 0 else "not counted yet"


def _size(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
