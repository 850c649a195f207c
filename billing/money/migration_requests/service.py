"""Submit and handle migration requests, each in the caller's transaction [P12, P14, R7]."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, context, ids, row_writes
from billing.core.errors import Conflict, NotFound
from billing.ledger.credits import service as credits
from billing.matters.effects import Announce
from billing.money.migration_requests import rules, store
from billing.money.migration_requests.schemas import Environment, MigrationRequest
from billing.money.migration_requests.tables import migration_requests
from billing.platform.outbox import service as outbox


async def submit(
    connection: AsyncConnection,
    account_id: UUID,
    request_id: UUID,
    environment: Environment,
    notes: str,
) -> MigrationRequest:
    """Queue a request for the operators. A known id returns its request, unchanged.

    Errors: MIGRATION_REQUEST_LIMIT.
    """
    await credits.lock(connection, account_id)
    known = await store.find(connection, request_id)
    if known is not None:
        return known
    if await store.count_queued(connection, account_id) >= rules.MAX_QUEUED:
        raise Conflict(
            "MIGRATION_REQUEST_LIMIT",
            f"{rules.MAX_QUEUED} migration requests of this account wait for an operator; send"
            " more later",
        )
    at = await clock.now(connection, account_id)
    row = {
        "id": request_id, "account_id": account_id, "environment": environment, "notes": notes,
        "requested_by": context.actor.get(), "created_at": at,
    }  # fmt: skip
    made = store.show(await row_writes.add(connection, migration_requests, row))
    await _announce(connection, made, "requested", at)
    return made


async def lock(connection: AsyncConnection, request_id: UUID) -> MigrationRequest:
    """Return one request, locked against other writers. Errors: MIGRATION_REQUEST_NOT_FOUND."""
    found = await store.find(connection, request_id, locked=True)
    if found is None:
        raise NotFound("MIGRATION_REQUEST_NOT_FOUND")
    return found


async def handle(
    connection: AsyncConnection, request: MigrationRequest, comment: str
) -> MigrationRequest:
    """Mark a locked request as handled; `comment` says what was done.

    Errors: MIGRATION_REQUEST_HANDLED.
    """
    if request.status == "handled":
        raise Conflict("MIGRATION_REQUEST_HANDLED")
    at = await clock.now(connection, request.account_id)
    row = await row_writes.change(
        connection, migration_requests, request.id,
        handled_at=at, handled_by=context.actor.get(), comment=comment,
    )  # fmt: skip
    handled = store.show(row)
    await _announce(connection, handled, "handled", at)
    return handled


async def _announce(
    connection: AsyncConnection, request: MigrationRequest, what: str, at: datetime
) -> None:
    # The notes stay out: audit and events outlive what an operator may correct.
    name = ids.encode(ids.MIGRATION_REQUEST, request.id)
    facts = {"migration_request_id": name, "environment": request.environment}
    event = Announce(request.account_id, f"migration.{what}", name, facts)
    await outbox.announce(connection, event, at)
