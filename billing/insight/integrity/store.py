"""The statements of the checks: one query each, over the rows of a list of accounts.

Checks that fail by time also run over all accounts: an index finds what is late, however many rows
there are. So do the few checks across accounts.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import currencies, ids
from billing.core.clock import real_now
from billing.core.transaction_settings import WHOLE_ACCOUNT_MS, limit_statements
from billing.insight.integrity import credits, flow, money, since, usage
from billing.insight.integrity.narrowed import ACCOUNTS, narrowed
from billing.insight.integrity.openings import Opening
from billing.insight.integrity.rules import (
    ENDS_WITHIN,
    EXAMPLES,
    LEDGER,
    PARKED_AFTER,
    SLACK,
    SWEPT_WITHIN,
    UNDECIDED,
)
from billing.insight.integrity.schemas import Broken
from billing.ledger.credits import invariants
from billing.matters.tables import matters
from billing.metering.usage import sums
from billing.metering.usage.tables import usage_counters
from billing.money.invoices.rules import content_hash
from billing.platform.accounts.tables import accounts as account_rows

TIMEOUT_MS: Final = 300_000
"""A check reads all rows of its accounts; the usual statement limit is for interactive requests."""
PAGE: Final = 2_000

_EXAMPLES: Final = f"(array_agg(DISTINCT subject ORDER BY subject))[1:{EXAMPLES}] AS examples"
_NARROWED: Final = """
{narrowed}
SELECT name, account_id, count(*) AS violations, {examples}
FROM ({found}) AS found WHERE account_id = {accounts} GROUP BY name, account_id
"""
_WHOLE: Final = """
SELECT name, CAST(NULL AS uuid) AS account_id, count(*) AS violations, {examples}
FROM ({found}) AS found GROUP BY name
"""
_FOUND: Final = "SELECT '{name}' AS name, account_id, subject FROM ({query}) AS found"
_UNEQUAL: Final = "SELECT account_id, public_id('acc', account_id) AS subject FROM ({}) AS unequal"
_LEDGER: Final = {
    name: invariants.RULES[sentence]
    if sentence in invariants.NAMED
    else _UNEQUAL.format(invariants.RULES[sentence])
    for name, (_, sentence) in LEDGER.items()
}
_SUMS: Final = ("usage_counted", "usage_cycles", "usage_paid", "usage_counted_beyond")
# One statement compares all rows of the largest tables, so that they are read once.
_MOST: Final = frozenset(
    {"billing_records", "credit_transactions", "credit_transaction_lots", "parts_of_lots"}
)
_WRITTEN: Final = credits.QUERIES | money.QUERIES | flow.QUERIES | usage.QUERIES
_LATE: Final = money.LATE | flow.LATE | usage.LATE
Queries = dict[str, TextClause]


def _narrow(
    queries: Mapping[str, str],
    once: frozenset[str] = frozenset(),
    instead: Mapping[str, str] = MappingProxyType({}),
) -> TextClause:
    """Combine queries into one statement on a list of accounts."""
    found = _union(queries)
    clause = narrowed(found, once, instead)
    return text(
        _NARROWED.format(narrowed=clause, examples=_EXAMPLES, found=found, accounts=ACCOUNTS)
    )


def _over_all(name: str, query: str) -> TextClause:
    return text(_WHOLE.format(examples=_EXAMPLES, found=_union({name: query})))


def _union(queries: Mapping[str, str]) -> str:
    return " UNION ALL ".join(
        _FOUND.format(name=name, query=query) for name, query in queries.items()
    )


WRITTEN: Final[Queries] = {
    "sums": _narrow(_LEDGER | {name: _WRITTEN[name] for name in _SUMS}, _MOST),
    **{name: _narrow({name: query}) for name, query in _WRITTEN.items() if name not in _SUMS},
}
"""Checks that only a write can break, for a list of accounts."""
_HERE: Final = ("usage_counted", "usage_cycles", "usage_counted_beyond")
SINCE: Final[Queries] = WRITTEN | {
    "sums": _narrow(
        _LEDGER | {name: _WRITTEN[name] for name in _HERE},
        _MOST | {"credit_holds", "usage_counters"},
        since.SUMS,
    ),
    "usage_paid": _narrow(
        {"usage_paid": _WRITTEN["usage_paid"]},
        frozenset({"before", "credit_transactions", "capture_logs", "uses", "others"}),
        since.PAID,
    ),
    "usage_billed": _narrow(
        {"usage_billed": _WRITTEN["usage_billed"]}, frozenset({"cycles"}), since.BILLED
    ),
    "steps_belong": _narrow({"steps_belong": _WRITTEN["steps_belong"]}, instead=since.STEPS),
    "adjustments_told": _narrow({"adjustments_told": money.ADJUSTED}),
    "audit_chain": _narrow({"audit_chain": flow.AUDIT_SINCE}),
}
"""The checks of WRITTEN for one account with an opening: those on tables that only grow read only
the rows since then.
"""
LATE_HERE: Final[Queries] = {name: _narrow({name: query}) for name, query in _LATE.items()}
"""Checks that fail by time, for a list of accounts."""
LATE: Final[Queries] = {name: _over_all(name, query) for name, query in _LATE.items()}
"""Checks that fail by time, over all accounts."""
OF_ALL: Final[Queries] = {
    name: _over_all(name, query) for name, query in (money.OF_ALL | flow.OF_ALL).items()
}
"""Checks across accounts. They read many accounts, if not all."""
_CONTENT: Final = """
    SELECT i.id, i.account_id, i.currency, i.total_minor, i.tax_minor, i.content_hash,
           l.kind, l.description, l.quantity, l.amount_minor, l.discounts, l.taxes
    FROM invoices i LEFT JOIN invoice_lines l ON l.invoice_id = i.id
    WHERE i.number IS NOT NULL AND i.account_id = {accounts} {since}
    ORDER BY i.id, l.position
    """
_CONTENT_OF_ALL: Final = text(_CONTENT.format(accounts=ACCOUNTS, since=""))
_CONTENT_SINCE: Final = text(
    _CONTENT.format(accounts=ACCOUNTS, since="AND greatest(i.finalized_at, i.created_at) >= :day")
)


async def allow_time(connection: AsyncConnection, *, alone: bool = False) -> None:
    """Raise the statement limit for this transaction, further still for a single account: an
    opening then saves the repetition.
    """
    await limit_statements(connection, WHOLE_ACCOUNT_MS if alone else TIMEOUT_MS)


async def freeze(connection: AsyncConnection) -> None:
    """Make the transaction one read-only snapshot; must be its first statement."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    # A month archived after the snapshot would be missing, and its sums not visible yet.
    await connection.execute(text("LOCK TABLE ONLY billing_records IN ACCESS SHARE MODE"))


async def ask(
    connection: AsyncConnection,
    query: TextClause,
    now: datetime,
    accounts: Sequence[UUID] = (),
    opening: Opening | None = None,
    slack: timedelta = SLACK,
) -> list[Broken]:
    """Run one statement; return its findings, by account if it is for a list of accounts.

    Work in progress is late after `slack`; undone work of a resting matter always after SLACK.
    """
    known: dict[str, Any] = {
        "accounts": list(accounts),
        "now": now,
        "slack": slack,
        "at_rest": SLACK,
        "undecided": max(UNDECIDED, slack),
        "parked_after": PARKED_AFTER,
        "minimums": json.dumps(currencies.MINIMUMS),
        "minimum": currencies.MINIMUM,
    }
    known |= opening.model_dump() | {"first_hold": opening.first_hold} if opening else {}
    rows = (await connection.execute(query, known)).mappings()
    return [Broken.model_validate(dict(row)) for row in rows]


async def changed_invoices(
    connection: AsyncConnection, accounts: Sequence[UUID], opening: Opening | None
) -> list[Broken]:
    """Find numbered invoices whose content has changed since issue, by account; with an opening,
    only those numbered since.
    """
    changed: dict[UUID, list[str]] = {}
    options = {"yield_per": PAGE}
    values: dict[str, Any] = {"accounts": list(accounts)}
    query = _CONTENT_SINCE if opening else _CONTENT_OF_ALL
    values |= {"day": opening.day} if opening else {}
    found = await connection.stream(query, values, execution_options=options)
    async for invoices in _by_invoice(found):
        # Hashes of a page take some hundredths of a second: others go on meanwhile.
        for account_id, invoice_id in await asyncio.to_thread(_changed, invoices):
            changed.setdefault(account_id, []).append(ids.encode(ids.INVOICE, invoice_id))
    return [
        Broken(
            name="invoice_content",
            account_id=account_id,
            violations=len(names),
            examples=tuple(sorted(names)[:EXAMPLES]),
        )
        for account_id, names in changed.items()
    ]


def _changed(invoices: Sequence[list[Any]]) -> list[tuple[UUID, UUID]]:
    """Return account and id of the invoices whose hash differs."""
    found = []
    for rows in invoices:
        first = rows[0]
        lines = [row._mapping for row in rows if row.kind is not None]  # noqa: SLF001
        hashed = content_hash(
            first.account_id, first.currency, first.total_minor, first.tax_minor, lines
        )
        if hashed != first.content_hash:
            found.append((first.account_id, first.id))
    return found


async def account_page(connection: AsyncConnection, after: UUID, limit: int) -> list[UUID]:
    """Return the next accounts by id."""
    column = account_rows.c.id
    query = select(column).where(column > after).order_by(column).limit(limit)
    return list(await connection.scalars(query))


async def count_accounts(connection: AsyncConnection) -> int:
    """Count all accounts, for a progress bar."""
    return int(await connection.scalar(select(func.count()).select_from(account_rows)) or 0)


async def count_uses(connection: AsyncConnection, account_id: UUID) -> int:
    """Count the uses of one account by its counters."""
    counter = usage_counters.c
    query = select(func.sum(counter.events)).where(
        counter.account_id == account_id, sums.of_owner(""), counter.grain == "day"
    )
    return int(await connection.scalar(query) or 0)


async def must_run(connection: AsyncConnection, after: str, limit: int) -> list[str]:
    """Return the next workflow ids of matters whose workflow must run."""
    name = matters.c.workflow_id
    query = select(name).where(_must_run(), name > after).order_by(name).limit(limit)
    return list((await connection.execute(query)).scalars())


async def must_run_among(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Return which of these workflows must run."""
    query = select(matters.c.workflow_id).where(_must_run(), matters.c.workflow_id.in_(names))
    return set(await connection.scalars(query))


async def may_run_among(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Return which of these workflows have an open matter, resting or not, or may be ending."""
    query = select(matters.c.workflow_id).where(
        matters.c.workflow_id.in_(names), or_(matters.c.closed_at.is_(None), _may_be_ending())
    )
    return set(await connection.scalars(query))


def _may_be_ending() -> ColumnElement[bool]:
    """Match matters that were closed, or looked at first, a moment ago: their run ends by itself.

    The look is in real time also where the account's clock, by which it closed, is its own.
    """
    now = real_now()
    closed_now = matters.c.closed_at.between(now - ENDS_WITHIN, now + ENDS_WITHIN)
    return or_(closed_now, matters.c.started_at > now - ENDS_WITHIN)


def _must_run() -> ColumnElement[bool]:
    """Match open matters that do not rest and were started, or should have been by a sweep."""
    looked_at = matters.c.started_at.is_not(None)
    return and_(
        matters.c.closed_at.is_(None),
        matters.c.status != "resting",
        or_(looked_at, matters.c.woken_at < real_now() - SWEPT_WITHIN),
    )


async def _by_invoice(found: Any) -> AsyncIterator[list[list[Any]]]:
    """Yield the rows of each invoice, page by page; a page may end within an invoice."""
    rest: list[Any] = []
    async for page in found.partitions():
        groups = [list(rows) for _, rows in groupby([*rest, *page], lambda row: row.id)]
        rest = groups.pop()
        yield groups
    if rest:
        yield [rest]
