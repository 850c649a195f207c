"""Checking the books by command: the invariants in Postgres, and Postgres against Temporal."""

import asyncio
from typing import Final
from uuid import UUID

from temporalio.client import Client

from api.temporal import connect
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.integrity import rules, service, store
from billing.insight.integrity.schemas import Finding, Report
from billing.platform.accounts import store as accounts
from cli.errors import StackError
from workflows import visibility

SECOND_LOOK_SECONDS: Final = 2.0
"""A workflow that is just starting or ending looks wrong for a moment."""


async def verify(
    settings: Settings,
    *,
    account: str | None = None,
    temporal: bool = True,
    tell: service.Progress = lambda _done, _total: None,
) -> Report:
    """Every check of one account on one snapshot; of all accounts page by page, and with `temporal`
    also which workflows run.

    Errors: StackError for an unknown account, RPCError when Temporal is away.
    """
    database = open_database(settings)
    try:
        if (account_id := await account_named(database, account)) is not None:
            return await service.examine(database, account_id)
        report = await service.examine_all(database, tell)
        if not temporal:
            return report
        found = await compare_workflows(database, await connect(settings))
        checks = (*report.checks, *found)
        return report.model_copy(update={"ok": all(c.ok for c in checks), "checks": checks})
    finally:
        await database.close()


async def account_named(database: Database, name: str | None) -> UUID | None:
    """Row id of an account by its id or external id; None stands for all of them."""
    if name is None:
        return None
    async with database.operator() as connection:
        found = await accounts.find(connection, name)
    if found is None:
        raise StackError(f"no account {name!r}: give its id or external id")
    return found.id


async def compare_workflows(database: Database, client: Client) -> list[Finding]:
    """Open matters against running workflows; what looks wrong is looked at twice.

    Errors: RPCError when Temporal is away.
    """
    findings: list[Finding] = []
    for pause in (SECOND_LOOK_SECONDS, 0.0):
        running = await visibility.running_matters(client)
        async with database.operator() as connection:
            wanted = await store.open_matters(connection)
        findings = rules.compare(wanted, running)
        if all(finding.ok for finding in findings):
            break
        await asyncio.sleep(pause)
    return findings
