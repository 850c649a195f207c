"""The checks of `billing doctor`: each looks at one part, and returns signs."""

import asyncio
import platform
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio.client import Client
from temporalio.service import RPCError

from api.monitoring.health_checks import StripeUnwell, ask_stripe
from billing.catalog.products.provider import PricesAway
from billing.core.clock import real_now
from billing.core.database import REPLICA_FAR_BEHIND, Database
from billing.core.database_roles import blind_operator, role_faults, without_triggers
from billing.core.database_words import message_of
from billing.core.settings import Settings
from billing.insight.health import service as health
from billing.insight.health.rules import healthy, unhealthy, unknown
from billing.insight.health.schemas import Sign
from billing.insight.integrity import service as integrity
from billing.insight.integrity.rules import OUTAGE
from billing.insight.integrity.schemas import Report
from billing.insight.locks import rules as lock_rules
from billing.insight.locks import store as locking
from billing.matters.kinds import QUEUES
from billing.platform.accounts import clocks
from billing.platform.accounts import store as accounts
from cli import month_files
from cli.provision import known
from cli.workflow_check import compare_workflows
from gateways.pricing import HttpPrices
from gateways.stripe import StripeGateway
from migrations import rights as given
from migrations import walls as built
from workflows import pollers, visibility
from workflows import schedules as scheduled
from workflows.client import lacks_namespace

if TYPE_CHECKING:
    from devstack.stack import StackInfo

SMALL_BOOKS: Final = 2_000
"""The books of up to this many accounts are usually checked in time."""
BOOKS_SECONDS: Final = 12.0
"""Time for all of the books. It leaves some for what is late: a check has twenty seconds."""
DISK_LEFT: Final = 0.05
"""A disk with a smaller free share is reported."""
CUSTOMERS_ASKED: Final = 3
"""Of the customers that are asked for at Stripe, one that it knows is enough: somebody may have
started a process with another account's key for a while.
"""
MOST_NAMED: Final = 5
"""The most things that one sign lists by name."""


@dataclass(frozen=True)
class Patient:
    """The servers to look at; `stack` is None if the settings name them."""

    settings: Settings
    database: Database
    temporal: Client
    stack: "StackInfo | None"


Check = Callable[[Patient], Awaitable[Iterable[Sign]]]


async def children(patient: Patient) -> Iterable[Sign]:
    """Check that every part of the stack on this machine is ready."""
    stack = patient.stack
    if stack is None:
        return []
    from devstack.control import StackControl

    status = await StackControl(stack.control).status()
    if unwell := [f"{name} is {s.state}" for name, s in status.items() if s.state != "ready"]:
        return [unhealthy("parts", f"{', '.join(unwell)}: see {stack.logs}")]
    deaths = sum(child.restarts for child in status.values())
    return [healthy("parts", f"{', '.join(status)} ready; restarted {deaths} times")]


async def installed(patient: Patient) -> Iterable[Sign]:
    """Report the versions of the programs on this machine."""
    if patient.stack is None:
        return [healthy("installed", f"Python {platform.python_version()}, {_stripe()}")]
    from devstack.binaries import postgres_bin, temporal_program

    postgres = _said(postgres_bin() / "postgres", "--version")
    temporal = _said(temporal_program(), "--version")
    words = f"Python {platform.python_version()}, {postgres}, {temporal}, {_stripe()}"
    return [healthy("installed", words)]


async def disk(patient: Patient) -> Iterable[Sign]:
    """Check the free space of the stack's disk."""
    if patient.stack is None:
        return []
    found = shutil.disk_usage(patient.stack.data)
    words = f"{found.free / 2**30:.1f} of {found.total / 2**30:.1f} GiB are free"
    is_full = found.free < DISK_LEFT * found.total
    return [unhealthy("disk", words) if is_full else healthy("disk", words)]


async def database(patient: Patient) -> Iterable[Sign]:
    """Check the health that the database shows, and that both roles can log in."""
    signs = await health.examine(patient.database, migrations=known())
    try:
        async with patient.database.tenant_statement() as connection:
            await connection.execute(text("SELECT 1"))
    except (DBAPIError, PoolTimeout) as error:
        # The other signs may say why: somebody may have limited its connections.
        words = f"could not be asked as the customers' role: {reason(error)}"
        return [*signs, unknown("database", words)]
    return signs


async def replica(patient: Patient) -> Iterable[Sign]:
    """Check that the replica, if one is set, answers, and that it follows."""
    database = patient.database
    if database.replica_engine is None:
        return []
    try:
        behind = await database.replica_lag()
    except (DBAPIError, PoolTimeout):
        return [unhealthy("replica", "REPLICA_DATABASE_URL does not answer: the primary is read")]
    words = f"its last commit is {behind.total_seconds():.0f} s old"
    if behind > REPLICA_FAR_BEHIND:
        return [unhealthy("replica", f"{words}: the primary is read")]
    return [healthy("replica", words)]


async def locks(patient: Patient) -> Iterable[Sign]:
    """Check that no Postgres session blocks another."""
    async with patient.database.operator() as connection:
        found = await locking.blockers(connection)
        return [lock_rules.sign(found, sees_all=await locking.sees_all(connection))]


async def rights(patient: Patient) -> Iterable[Sign]:
    """Check that the programs' roles have the rights that the migrations gave, that row-level
    security holds the customers' role, and that it hides nothing from the operators'.
    """
    look = blind_operator if patient.settings.has_one_role else role_faults
    if wrong := await look(patient.database):
        return [unhealthy("rights", "; ".join(wrong))]
    if lacking := await _lacking(patient, given.missing):
        return [unhealthy("rights", f"{lacking}: billing migrate gives them again")]
    return [healthy("rights", "those that the migrations gave")]


async def walls(patient: Patient) -> Iterable[Sign]:
    """Check that the tables have their constraints, indexes, triggers and policies, and that no
    month kept the trigger of a detaching that was killed. Name sessions for which none acts.
    """
    if wrong := await without_triggers(patient.database):
        return [unhealthy("walls", "; ".join(wrong))]
    if lacking := await _lacking(patient, built.missing):
        return [unhealthy("walls", f"{lacking}: billing migrate puts them up again")]
    async with patient.database.operator() as connection:
        rows = (await connection.execute(text(month_files.PARTITIONS))).mappings().all()
    months = [month_files.month_of(dict(row)) for row in rows]
    if left := [one.name for one in months if one.is_left]:
        return [unhealthy("walls", "; ".join(map(month_files.LEFT.format, left)))]
    return [healthy("walls", "every constraint, index, trigger and policy stands")]


async def _lacking(
    patient: Patient, missing: Callable[[Connection], Sequence[given.Right | built.Wall]]
) -> str:
    """Return the first missing ones as text; empty if nothing is missing."""
    async with patient.database.operator() as connection:
        found = await connection.run_sync(missing)
    named = "; ".join(one.words for one in found[:MOST_NAMED])
    return f"{named}; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else named


async def test_clocks(patient: Patient) -> Iterable[Sign]:
    """Check that no clock of a test account is blocked; that does not affect customers."""
    async with patient.database.operator() as connection:
        found = await clocks.blocked(connection, MOST_NAMED)
    if found:
        return [unhealthy("test clocks", f"blocked: {'; '.join(found)}")]
    return [healthy("test clocks", "none is blocked")]


async def books(patient: Patient) -> Iterable[Sign]:
    """Check every invariant of the books; where that takes long, only that nothing is a day late.

    Waiting work has its own signs.
    """
    whole = await _whole_books(patient.database)
    report = whole or await integrity.examine_late(patient.database)
    if report.wrong:
        named = "; ".join(one.words for one in report.wrong)
        return [unhealthy("books", f"not so, see billing verify: {named}")]
    if whole:
        return [healthy("books", f"{len(whole.checks)} checks hold")]
    return [healthy("books", "nothing is late; the hourly audit looks at the rest")]


async def _whole_books(database: Database) -> Report | None:
    """Check every invariant; None if there are many accounts, or the machine is busy."""
    if await integrity.count_accounts(database) > SMALL_BOOKS:
        return None
    try:
        async with asyncio.timeout(BOOKS_SECONDS):
            return await integrity.examine_all(database, slack=OUTAGE)
    except TimeoutError:
        return None


async def temporal(patient: Patient) -> Iterable[Sign]:
    """Check that workers poll and that the namespace is there, with all search attributes."""
    try:
        asked = await pollers.polled(patient.temporal)
    except RPCError as error:
        if not lacks_namespace(error):
            raise
        return [unhealthy("namespace", f"Temporal has no {patient.temporal.namespace}")]
    now = real_now()
    deserted = [f"{one.task_type} of {one.queue}" for one in asked if one.is_deserted(now)]
    lacking = await visibility.missing_attributes(patient.temporal)
    builds = {f" of the current build {one.build}" for one in asked if one.build}
    return [
        unhealthy("queues", f"no worker{', '.join(builds)} asks for {', '.join(deserted)}")
        if deserted
        else healthy("queues", f"workers ask for work on {' and '.join(QUEUES)}"),
        unhealthy("namespace", f"{patient.temporal.namespace} lacks {', '.join(lacking)}")
        if lacking
        else healthy("namespace", f"{patient.temporal.namespace} has every search attribute"),
    ]


async def schedules(patient: Patient) -> Iterable[Sign]:
    """Check that every schedule starts its job."""
    if found := await scheduled.idle(patient.temporal):
        return [unhealthy("schedules", ", ".join(found))]
    return [healthy("schedules", f"{', '.join(scheduled.JOBS)} start when they should")]


async def workflows(patient: Patient) -> Iterable[Sign]:
    """Check that each open matter has its workflow."""
    wrong = [
        f"{one.words}: {'; '.join(one.examples)}"
        for one in await compare_workflows(patient.database, patient.temporal)
        if not one.ok
    ]
    if wrong:
        return [unhealthy("workflows", f"not so: {'; '.join(wrong)}")]
    return [healthy("workflows", "every open matter has its workflow")]


async def stripe(patient: Patient) -> Iterable[Sign]:
    """Check that Stripe answers and accepts our key, and that it is our account's."""
    try:
        await ask_stripe(patient.settings)
    except StripeUnwell as found:
        return [unhealthy("stripe", str(found))]
    if unknown_one := await _unknown_customer(patient):
        words = f"takes our key, and does not know our {unknown_one}: is it another account's?"
        return [unhealthy("stripe", words)]
    return [healthy("stripe", "answers, and takes our key")]


async def _unknown_customer(patient: Patient) -> str | None:
    """Return a customer of ours; None if Stripe knows one under our key, or none can be read."""
    try:
        async with patient.database.operator() as connection:
            ours = await accounts.some_customers(connection, CUSTOMERS_ASKED)
    except (DBAPIError, PoolTimeout):
        return None  # other signs tell that
    settings = patient.settings
    key = settings.stripe_secret_key.get_secret_value()
    gateway = StripeGateway(key, settings.stripe_api_base)
    try:
        for customer_id in ours:
            if await gateway.knows_customer(customer_id):
                return None
    finally:
        await gateway.close()
    return next(iter(ours), None)


async def products(patient: Patient) -> Iterable[Sign]:
    """Check that the product service, if one is set, answers as it does for a use: with a price,
    or with 404 for a product that it does not sell.
    """
    url = patient.settings.product_service_url
    if url is None:
        return []
    prices = HttpPrices(url, patient.settings.product_service_timeout_seconds)
    try:
        await prices.pricing("doctor", "doctor")
    except PricesAway as found:
        return [unhealthy("products", f"{url}: {found}")]
    finally:
        await prices.close()
    return [healthy("products", f"{url} answers")]


CHECKS: Final[dict[str, Check]] = {
    "installed": installed,
    "parts": children,
    "disk": disk,
    "database": database,
    "replica": replica,
    "locks": locks,
    "rights": rights,
    "walls": walls,
    "test clocks": test_clocks,
    "books": books,
    "temporal": temporal,
    "schedules": schedules,
    "workflows": workflows,
    "stripe": stripe,
    "products": products,
}
"""Checks by the name that a sign has if the check cannot be made."""


def reason(error: BaseException) -> str:
    """Return why something could not be asked, in one line."""
    return message_of(error) or type(error).__name__


def _stripe() -> str:
    return f"stripe {version('stripe')}"


def _said(program: Path, word: str) -> str:
    return subprocess.run(
        [program, word], capture_output=True, text=True, check=True
    ).stdout.strip()
