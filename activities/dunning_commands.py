"""Operators' commands from the Temporal UI: the admin API's verbs for one unpaid invoice."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import Conflict, Invalid, NotFound
from billing.money.dunning import store
from billing.money.invoice_requests import card, recovery
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from workflows.contracts import CommandRequest


async def carry_out(connection: AsyncConnection, request: CommandRequest, at: datetime) -> str:
    """Carry out the command; return its result as text.

    Errors: UNKNOWN_COMMAND, INVOICE_NOT_FOUND, INVOICE_REQUIRED, and those of the verbs.
    """
    command = request.command
    invoice = await _invoice(connection, request.ref.workflow_id, command.invoice)
    if command.name == "retry_now":
        asked = await card.retry_now(connection, invoice.id, at, suffix=request.key)
        return asked.attempt
    if command.name == "forgive":
        await recovery.forgive(connection, invoice.id, command.reason, between_steps=True)
        return f"forgiven: {command.reason}"
    case = await store.of_invoice(connection, invoice.id)
    match command.name:
        case "pause_dunning":
            await recovery.pause(connection, case.id, reason=command.reason)
        case "resume_dunning":
            await recovery.resume(connection, case.id, reason=command.reason)
        case "extend_dunning":
            await recovery.extend(connection, case.id, command.days, reason=command.reason)
        case name:
            raise Invalid("UNKNOWN_COMMAND", f"no command {name!r} for this matter")
    return command.reason or "done"


async def _invoice(connection: AsyncConnection, workflow_id: str, name: str | None) -> Invoice:
    """Return the named unpaid invoice of this matter, or the only one."""
    owed = await invoice_store.of_matter(connection, workflow_id, ["open"])
    if name is not None:
        owed = [one for one in owed if ids.encode(ids.INVOICE, one.id) == name]
    if not owed:
        raise NotFound("INVOICE_NOT_FOUND", "this matter has no such unpaid invoice")
    if len(owed) > 1:
        raise Conflict("INVOICE_REQUIRED", f"name the invoice: {len(owed)} are unpaid")
    return owed[0]
