"""Numbers of each series against its counter, page by page, so that no snapshot lasts too long.

Numbers are assigned in sequence and never change. So the hourly run continues after the last
proven number, and restarts from the first within a week. Its queries are here, apart from the
checks that are one statement each.
"""

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.core.frozen import Frozen
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import store
from billing.insight.integrity.rules import EXAMPLES
from billing.insight.integrity.schemas import Broken
from billing.insight.integrity.tables import proven_series
from billing.money.invoices.series import OF_TESTS

NAME: Final = "invoice_numbers"
PART: Final = 10_000
"""Numbers on one snapshot."""
WHOLE_EVERY: Final = timedelta(days=7)

_NUMBER: Final = "{series} || '-' || lpad(({n})::text, greatest(6, length(({n})::text)), '0')"
# Series that have a counter or a number; each is found from the previous one, by index. Series of
# test accounts are checked with their account. `is_behind`: a number exceeds the counter.
_LISTED: Final = text(
    f"""
    WITH RECURSIVE given(series) AS (
        SELECT least((SELECT min(series) FROM invoices), (SELECT min(series) FROM credit_notes))
        UNION ALL
        SELECT least((SELECT min(series) FROM invoices WHERE series > g.series),
                     (SELECT min(series) FROM credit_notes WHERE series > g.series))
        FROM given g WHERE g.series IS NOT NULL
    ), named AS (
        SELECT n.series, coalesce(s.last_number, 0) AS last
        FROM (SELECT series FROM given WHERE series IS NOT NULL
              UNION SELECT series FROM invoice_series) n
        LEFT JOIN invoice_series s USING (series)
        WHERE n.series NOT LIKE '{OF_TESTS}%'
    ), counted AS (
        SELECT series, last, {_NUMBER.format(series="series", n="last + 1")} AS next FROM named
    )
    SELECT c.series AS name, c.last, c.next, coalesce(p.up_to, 0) AS up_to, p.whole_at,
        EXISTS (SELECT FROM invoices i WHERE i.series = c.series AND i.number = c.next)
        OR EXISTS (SELECT FROM credit_notes o WHERE o.series = c.series AND o.number = c.next)
        OR EXISTS (SELECT FROM skipped_numbers k
                   WHERE k.series = c.series AND k.last_number > c.last) AS is_behind
    FROM counted c LEFT JOIN proven_series p USING (series)
    ORDER BY c.series
    """  # noqa: S608 (constant)
)
# Each number is on exactly one document, or skipped.
_WRONG: Final = text(
    f"""
    SELECT g.number
    FROM (
        SELECT n, {_NUMBER.format(series="CAST(:series AS text)", n="n")} AS number
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    ) g
    WHERE (SELECT count(*) FROM invoices i WHERE i.series = :series AND i.number = g.number)
        + (SELECT count(*) FROM credit_notes o WHERE o.series = :series AND o.number = g.number)
        + (SELECT count(*) FROM skipped_numbers k
           WHERE k.series = :series AND g.n BETWEEN k.first_number AND k.last_number) <> 1
    ORDER BY g.n
    """  # noqa: S608 (constant)
)


class Series(Frozen):
    """A series, its counter, and the last number proven."""

    name: str
    last: int
    next: str
    """The next number of the counter."""
    is_behind: bool
    up_to: int
    whole_at: AwareDatetime | None
    """The last time that the numbers were checked from the first on."""


async def look(database: Database, now: datetime, *, anew: bool = True) -> list[Broken]:
    """Find missing and duplicate numbers, up to the first page that has any, and counters that are
    behind. With `anew` start from the first number; else from the last proven one, and record the
    progress.
    """
    async with database.operator() as connection:
        await prepare(connection)
        rows = (await connection.execute(_LISTED)).mappings()
        found = [Series.model_validate(dict(row)) for row in rows]
    broken = []
    for series in found:
        is_whole = anew or series.whole_at is None or series.whole_at < now - WHOLE_EVERY
        proven, wrong = await _prove(database, series, 0 if is_whole else series.up_to)
        if not anew:
            whole_at = now if is_whole else series.whole_at
            await _keep(database, series.name, proven, whole_at)
        wrong += [series.next] if series.is_behind else []
        if wrong:
            examples = tuple(wrong[:EXAMPLES])
            broken.append(Broken(name=NAME, violations=len(wrong), examples=examples))
    return broken


async def _prove(database: Database, series: Series, proven: int) -> tuple[int, list[str]]:
    """Return the last number up to which all is correct, and the wrong ones after it."""
    while proven < series.last:
        last = min(proven + PART, series.last)
        page = {"series": series.name, "first": proven + 1, "last": last}
        async with database.operator() as connection:
            await prepare(connection)
            if wrong := list(await connection.scalars(_WRONG, page)):
                return proven, wrong
        proven = last
    return proven, []


async def prepare(connection: AsyncConnection) -> None:
    """Allow time for a page, and have its numbers found by index."""
    await store.allow_time(connection)
    await read_by_index(connection)


async def _keep(database: Database, name: str, up_to: int, whole_at: datetime | None) -> None:
    found = {"series": name, "up_to": up_to, "whole_at": whole_at}
    statement = insert(proven_series).values(found)
    async with database.operator() as connection:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["series"], set_=found)
        )
