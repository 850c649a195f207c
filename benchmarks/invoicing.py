"""Invoices: rendered as PDF, finalized in one series, and listed over a long history."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter
from typing import Final
from uuid import UUID

import psycopg

from benchmarks.ground import Ground, Site
from benchmarks.harness import ROUNDS, Report, pace, slowest
from benchmarks.loads import Loads
from billing.core import garbage, ids
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.matters.effects import Rows, Work
from billing.money.documents import rules
from billing.money.documents.press import Press
from billing.money.documents.schemas import Printed
from billing.money.invoices import transitions
from billing.money.invoices.schemas import Invoice, InvoiceLine, Line, NewInvoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.invoices.verbs import NUMBERING
from billing.platform.decisions import writer

LINES: Final = 12
DOCUMENTS: Final = 60
AT_ONCE: Final = 8
SECONDS: Final = 3.0
TURNS: Final = 10
READS: Final = 200
PAGE: Final = "/billing/invoices?limit=50"
AT: Final = datetime(2027, 1, 1, tzinfo=UTC)
INSERT: Final = b"INSERT INTO bench_rows VALUES (uuidv7(), %s, 1, clock_timestamp())"
_NUMBERS: Final = itertools.count()


async def measure_documents(report: Report) -> None:
    """Measure the milliseconds of a document."""
    report.add("pdf_ms", await _documents(), "ms", 15, 8, "lower")


async def measure(ground: Ground, report: Report) -> None:
    """Measure the ratios to the insert of a row and to a short history."""
    report.add("finalize_vs_insert", await _finalized(ground), "ratio", 0.04, 0.08)
    pages = await _pages(ground)
    report.add("invoice_page_p95_1m_vs_10k", pages, "ratio", 2, 1.3, "lower")


async def _documents() -> list[float]:
    """Return the milliseconds of invoices with twelve lines, all different, once warm."""
    press, taken = Press(), []
    try:
        for number in range(-5, DOCUMENTS):
            work = Work(Rows(), _facts())
            drafted = transitions.draft(work, _new(UUID(int=1)))
            made = drafted.model_copy(
                update={"number": f"INV-{number:06d}", "issued_on": AT.date()}
            )
            content = rules.invoice(made, work.rows.of(InvoiceLine), _snapshot(made))
            began = perf_counter()
            await press.render(Printed(content=content))
            if number >= 0:
                taken.append((perf_counter() - began) * 1000)
    finally:
        await press.close()
    return taken


async def _finalized(ground: Ground) -> list[float]:
    """Return invoices finalized per second in one series ÷ single rows, turn by turn."""
    site = ground.small
    url = site.app_url.replace("postgresql://", "postgresql+psycopg://")
    settings = Settings.model_validate(
        {"database_url": url, "database_operator_url": url, "BILLING_DATABASE_POOL_SIZE": AT_ONCE}
    )
    garbage.freeze_startup()  # as the programs do
    accounts, found = ground.accounts[1:], []
    async with open_database(settings) as database, _inserting(site, accounts[0]) as insert:

        async def finalize() -> None:
            await _finalize(database, random.choice(accounts))

        await pace(SECONDS, AT_ONCE, finalize)
        for _ in range(ROUNDS):
            finalized, inserted = await _paces(finalize, insert)
            found.append(finalized / inserted)
    return found


async def _paces(*parts: Callable[[], Awaitable[object]]) -> list[float]:
    """Return calls of each per second, in short turns, so that other load hits all alike."""
    paces = [0.0 for _ in parts]
    for _ in range(TURNS):
        for place, part in enumerate(parts):
            paces[place] += await pace(SECONDS / TURNS, AT_ONCE, part) / TURNS
    return paces


async def _finalize(database: Database, account_id: UUID) -> None:
    """Draft and finalize an invoice: lines, number, snapshot, audit row and event."""
    async with database.tenant(account_id) as connection:
        work = Work(Rows(), _facts())
        drafted = transitions.draft(work, _new(account_id))
        transitions.finalize(work, drafted)
        await writer.write(connection, work.effects, AT, NUMBERING, read_again=False)


@asynccontextmanager
async def _inserting(site: Site, account_id: UUID) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield a call that inserts one row in a transaction, over as many connections."""
    opened = [
        await psycopg.AsyncConnection.connect(site.app_url, autocommit=True) for _ in range(AT_ONCE)
    ]
    free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
    for connection in opened:
        free.put_nowait(connection)

    async def insert() -> None:
        connection = free.get_nowait()
        await connection.execute(INSERT, (account_id,))
        free.put_nowait(connection)

    try:
        yield insert
    finally:
        for connection in opened:
            await connection.close()


async def _pages(ground: Ground) -> list[float]:
    """The 95th percentile of a page of invoices: the second page, over both histories in turn."""
    sites = [Loads(ground, site) for site in (ground.small, ground.large)]
    paths = [await loads.next_page(PAGE) for loads in sites]
    reads = [loads.read(path) for loads, path in zip(sites, paths, strict=True)]
    found = []
    for _ in range(ROUNDS):
        small, large = await slowest(reads, READS)
        found.append(large / small)
    return found


def _facts() -> InvoiceFacts:
    return InvoiceFacts(at=AT, real_at=AT, new_id=ids.new)


def _new(account_id: UUID) -> NewInvoice:
    number = next(_NUMBERS)
    lines = tuple(
        Line(
            kind="plan",
            description=f"Pro for team {number}-{place}, 1 Jan 2027 to 1 Feb 2027",
            quantity=Decimal(place + 1),
            unit_amount=Decimal(4900),
            amount_minor=4900 * (place + 1),
        )
        for place in range(LINES)
    )
    return NewInvoice(
        account_id=account_id,
        issuer_id=None,
        workflow_id="subscription/bench",
        fact_key=f"bench/finalized-{ids.new_hex()}",
        currency="USD",
        lines=lines,
    )


def _snapshot(made: Invoice) -> dict[str, object]:
    address = {"line1": "Musterstraße 1", "postal_code": "10115", "city": "Berlin", "country": "DE"}
    return {
        "issuer": {"name": "ACME GmbH", "address": address, "tax_ids": ["VAT DE123456789"]},
        "customer": {"name": "Customer Holding SE", "address": address},
        "balance_applied_minor": 0,
        "amount_due_minor": made.total_minor,
        "amount_paid_minor": 0,
    }
