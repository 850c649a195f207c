"""Checks the invariants of the books in Postgres, and compares Postgres with Temporal."""

from uuid import UUID

from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.integrity import service
from billing.insight.integrity.schemas import Report
from billing.platform.accounts import store as accounts
from cli.errors import StackError
from cli.workflow_check import compare_workflows
from workflows.client import connect


async def verify(
    settings: Settings,
    *,
    account: str | None = None,
    temporal: bool = True,
    tell: service.Progress = lambda _done, _total: None,
) -> Report:
    """Run every check: of one account in one snapshot, or of all accounts page by page and with
    `temporal` also of their workflows.

    Errors: StackError for an unknown account, RPCError if Temporal is unavailable.
    """
    async with open_database(settings) as database:
        if (account_id := await account_named(database, account)) is not None:
            return await service.examine(database, account_id)
        report = await service.examine_all(database, tell)
        if not temporal:
            return report
        found = await compare_workflows(database, await connect(settings))
        checks = (*report.checks, *found)
        return report.model_copy(update={"ok": all(c.ok for c in checks), "checks": checks})


async def account_named(database: Database, name: str | None) -> UUID | None:
    """Return the row id of an account, given its id or external id; None means all accounts."""
    if name is None:
        return None
    async with database.operator() as connection:
        found = await accounts.find(connection, name)
    if found is None:
        raise StackError(f"no account {name!r}: give its id or external id")
    return found.id
