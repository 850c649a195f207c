"""Running the checks: one query each, over all accounts or one.

Under row-level security a check sees what its connection may see; of one account only the
series of its own is counted, for numbers of a shared one belong to others too.
"""

import json
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import currencies, ids
from billing.core.clock import real_now
from billing.insight.integrity import credits, flow, money, usage
from billing.insight.integrity.rules import (
    EXAMPLES,
    LEDGER,
    PARKED_AFTER,
    SLACK,
    SWEPT_WITHIN,
    UNDECIDED,
)
from billing.ledger.credits import invariants
from billing.matters.tables import matters
from billing.money.invoices.rules import content_hash

Violations = tuple[int, tuple[str, ...]]

TIMEOUT_MS: Final = 120_000
"""A check reads whole tables; the usual limit of a statement is for people who wait."""
PAGE: Final = 2_000

_WRAPPED: Final = """
SELECT count(*) AS violations, (array_agg(subject ORDER BY subject))[1:{examples}] AS examples
FROM ({query}) AS found
WHERE CAST(:account_id AS uuid) IS NULL OR account_id = :account_id
"""
_QUERIES: Final[dict[str, TextClause]] = {
    name: text(_WRAPPED.format(examples=EXAMPLES, query=query))
    for queries in (credits.QUERIES, money.QUERIES, flow.QUERIES, usage.QUERIES)
    for name, query in queries.items()
}
_CONTENT: Final = text(
    """
    SELECT i.id, i.account_id, i.currency, i.total_minor, i.tax_minor, i.content_hash,
           l.kind, l.description, l.quantity, l.amount_minor, l.discounts, l.taxes
    FROM invoices i LEFT JOIN invoice_lines l ON l.invoice_id = i.id
    WHERE i.number IS NOT NULL
      AND (CAST(:account_id AS uuid) IS NULL OR i.account_id = :account_id)
    ORDER BY i.id, l.position
    """
)


async def allow_time(connection: AsyncConnection) -> None:
    """Lift the limit of a statement for this transaction."""
    await connection.execute(text(f"SET LOCAL statement_timeout = {TIMEOUT_MS}"))


async def freeze(connection: AsyncConnection) -> None:
    """One snapshot, nothing written; the first statement of a transaction."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


async def ledger_violations(
    connection: AsyncConnection, account_id: UUID | None
) -> dict[str, Violations]:
    """Count the violations of the ledger's own rules, by rule, up to the limit of each."""
    names = {sentence: name for name, (_, sentence) in LEDGER.items()}
    found: dict[str, list[str]] = {name: [] for name in LEDGER}
    for one in await invariants.violations(connection, account_id):
        found[names[one.rule]].append(ids.encode(ids.ACCOUNT, one.account_id))
    return {
        name: (len(accounts), tuple(sorted(set(accounts))[:EXAMPLES]))
        for name, accounts in found.items()
    }


async def violations(
    connection: AsyncConnection, name: str, now: datetime, account_id: UUID | None
) -> Violations:
    """Count the violations of one of the other checks, and name some."""
    if name == "invoice_content":
        return await _changed_invoices(connection, account_id)
    query = _QUERIES[name]
    known: dict[str, Any] = {
        "account_id": account_id,
        "now": now,
        "slack": SLACK,
        "undecided": UNDECIDED,
        "parked_after": PARKED_AFTER,
        "everything": account_id is None,
        "minimums": json.dumps(currencies.MINIMUMS),
        "minimum": currencies.MINIMUM,
    }
    row = (await connection.execute(query, known)).one()
    return row.violations, tuple(row.examples or ())


async def open_matters(connection: AsyncConnection) -> dict[str, bool]:
    """List open matters, and whether each must run: not at rest, nor left to a sweep."""
    await allow_time(connection)
    looked_at = matters.c.started_at.is_not(None)
    must_run = and_(
        matters.c.status != "resting",
        or_(looked_at, matters.c.woken_at < real_now() - SWEPT_WITHIN),
    )
    query = select(matters.c.workflow_id, must_run).where(matters.c.closed_at.is_(None))
    rows = await connection.execute(query)
    return {row[0]: row[1] for row in rows}


async def count_open_matters(connection: AsyncConnection) -> int:
    """Count the open matters, for a progress bar."""
    query = (
        select(func.count())
        .select_from(matters)
        .where(matters.c.closed_at.is_(None), matters.c.status != "resting")
    )
    return int(await connection.scalar(query) or 0)


async def _changed_invoices(connection: AsyncConnection, account_id: UUID | None) -> Violations:
    """Numbered invoices whose content no longer has the hash it was issued with."""
    changed = []
    options = {"yield_per": PAGE}
    found = await connection.stream(_CONTENT, {"account_id": account_id}, execution_options=options)
    async for invoice_id, rows in _by_invoice(found):
        first = rows[0]
        lines = [row._mapping for row in rows if row.kind is not None]  # noqa: SLF001
        hashed = content_hash(
            first.account_id, first.currency, first.total_minor, first.tax_minor, lines
        )
        if hashed != first.content_hash:
            changed.append(ids.encode(ids.INVOICE, invoice_id))
    return len(changed), tuple(sorted(changed)[:EXAMPLES])


async def _by_invoice(found: Any) -> Any:
    """The rows of one invoice at a time; a page may end inside one."""
    rest: list[Any] = []
    async for page in found.partitions():
        groups = [(key, list(rows)) for key, rows in groupby([*rest, *page], lambda row: row.id)]
        rest = groups.pop()[1]
        for group in groups:
            yield group
    if rest:
        yield rest[0].id, rest
