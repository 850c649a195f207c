"""Numbers of a series that this database never assigns: they were assigned before its restore."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, row_writes
from billing.money.invoices import series as names
from billing.money.invoices.tables import invoice_series, skipped_numbers
from billing.platform.accounts import issuers
from billing.platform.audit import service as audit

MOST: Final = 1_000_000
"""The most numbers that one call skips, so that a typing error does not use up a series."""


async def skip(connection: AsyncConnection, number: str, reason: str, at: datetime) -> int:
    """Continue a series after this number, the last assigned; return how many are skipped.

    Errors: ValueError, with a text for the person who gave the number.
    """
    series, _, digits = number.rpartition("-")
    if not series or not digits.isdecimal():
        raise ValueError(f"{number} is not a number such as INV-000123")
    await _refuse_unknown(connection, series)
    last = int(digits)
    # A digit that was lost or added changes how far the series jumps, for good.
    if digits != (written := str(last).zfill(names.DIGITS)):
        raise ValueError(f"{number} is written otherwise: was {series}-{written} meant?")
    await connection.execute(
        insert(invoice_series)
        .values(series=series, last_number=0, last_issued_on=at.date())
        .on_conflict_do_nothing()
    )
    row = invoice_series.c.series == series
    given = await connection.scalar(
        select(invoice_series.c.last_number).where(row).with_for_update()
    )
    first = int(given or 0) + 1
    if last - first >= MOST:
        raise ValueError(f"{number} is too far beyond {first - 1}, the last number of {series}")
    if last < first:
        return 0
    await connection.execute(
        invoice_series.update()
        .where(row)
        .values(
            last_number=last,
            last_issued_on=func.greatest(invoice_series.c.last_issued_on, at.date()),
        )
    )
    gap = {"series": series, "first_number": first, "last_number": last}
    await row_writes.add(
        connection, skipped_numbers, gap | {"id": ids.new(), "reason": reason, "at": at}
    )
    await audit.record(
        connection, account_id=None, action="numbers.skipped", subject=series, at=at,
        first=first, last=last, reason=reason,
    )  # fmt: skip
    return last - first + 1


async def _refuse_unknown(connection: AsyncConnection, series: str) -> None:
    """Raise ValueError if no issuer has the series and it has no number yet."""
    known = names.of_all([one.id for one in await issuers.listed(connection)])
    begun = select(invoice_series.c.series).where(invoice_series.c.series == series)
    if series not in known and await connection.scalar(begun) is None:
        raise ValueError(f"no issuer uses the series {series}; known are {', '.join(known)}")
