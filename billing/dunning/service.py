"""The verbs of recovery: what a try leaves behind, what an operator may steer, how a case ends.

Callers hold the owning matter's row; state, audit and outbox rows commit with them.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, matters
from billing.core.agenda import head
from billing.core.errors import Conflict, Invalid
from billing.core.matters import Matter
from billing.dunning import rules, store
from billing.dunning.rules import MAX_EXTENSION_DAYS, Policy
from billing.dunning.schemas import DunningCase
from billing.events import service as events
from billing.events import store as inbox
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import collectors
from billing.payments import service as paying
from billing.payments import store as payments


async def note_failure(
    connection: AsyncConnection,
    invoice: Invoice,
    *,
    slot: int | None,
    true_attempt: bool,
    policy: Policy,
    zone: str,
    reason: str,
    at: datetime,
) -> DunningCase:
    """A try brought no money: open the invoice's case, or move it on.

    `slot` None is an extra try (new card, retry-now): it uses up no slot. `true_attempt` False
    means nothing reached the card (no usable card, hard decline before).
    """
    case = await store.find_of_invoice(connection, invoice.id)
    if case is None:
        case = await _open(connection, invoice, policy, zone, at)
    fields: dict[str, Any] = {}
    if slot is not None:
        fields |= {"last_slot": max(slot, case.last_slot), "last_slot_ran_at": at}
    if true_attempt:
        fields["last_true_attempt_at"] = at
    if fields:
        case = await store.change(connection, case.id, **fields)
    await _announce(connection, case, "attempt_failed", at, slot=slot, reason=reason)
    return case


async def close(
    connection: AsyncConnection, invoice_id: UUID, status: str, reason: str, at: datetime
) -> DunningCase | None:
    """End the invoice's case: recovered, exhausted, forgiven or canceled."""
    case = await store.find_of_invoice(connection, invoice_id)
    if case is None or not case.is_open:
        return case
    closed = await store.change(
        connection, case.id, status=status, close_reason=reason, closed_at=at
    )
    await _announce(connection, closed, status, at, reason=reason)
    return closed


async def pause(
    connection: AsyncConnection, case_id: UUID, at: datetime, *, reason: str = ""
) -> Matter:
    """No slots and no final action until resumed; answers the matter to tell."""
    case, invoice = await _steerable(connection, case_id)
    if case.status != "paused":
        case = await store.change(connection, case.id, status="paused", paused_at=at)
        await _announce(connection, case, "paused", at, **_why(reason))
    return await collectors.wake(connection, invoice, at)


async def resume(
    connection: AsyncConnection, case_id: UUID, at: datetime, *, reason: str = ""
) -> Matter:
    """Slots go on where they stood; a missed one runs now, the next keep their gaps."""
    case, invoice = await _steerable(connection, case_id)
    if case.status != "open":
        case = await store.change(connection, case.id, status="open", paused_at=None)
        await _announce(connection, case, "resumed", at, **_why(reason))
    return await collectors.wake(connection, invoice, at)


async def extend(
    connection: AsyncConnection, case_id: UUID, days: int, at: datetime, *, reason: str = ""
) -> Matter:
    """Move the slots to come and the final action by `days`. Errors: INVALID_EXTENSION."""
    case, invoice = await _steerable(connection, case_id)
    if not 0 < days <= MAX_EXTENSION_DAYS - case.extended_days:
        raise Invalid(
            "INVALID_EXTENSION", f"a case extends by {MAX_EXTENSION_DAYS} days at most, in all"
        )
    extended = await store.change(connection, case.id, extended_days=case.extended_days + days)
    await _announce(connection, extended, "extended", at, days=days, **_why(reason))
    return await collectors.wake(connection, invoice, at)


async def forgive(
    connection: AsyncConnection, invoice_id: UUID, reason: str, at: datetime
) -> Invoice:
    """Give up what is still owed by a credit note; counts as settled. Errors: INVOICE_STATE."""
    invoice = await collectors.hold(connection, invoice_id)
    if invoice.status != "open":
        raise Conflict(
            "INVOICE_STATE",
            f"an invoice that is {invoice.status} has nothing to forgive",
            invoice_status=invoice.status,
        )
    await close(connection, invoice_id, "forgiven", reason, at)
    fact_key = f"{ids.encode(ids.INVOICE, invoice_id)}/forgiven"
    return await invoicing.credit_note(
        connection, invoice, invoice.remaining_minor, reason, fact_key, at
    )


async def hand_to_collection(connection: AsyncConnection, invoice: Invoice, at: datetime) -> Matter:
    """An open invoice whose subscription has ended: a matter of its own pursues it."""
    matter_id = matters.workflow_id("collection", invoice.id)
    await invoices.change(connection, invoice.id, workflow_id=matter_id)
    await payments.move(connection, invoice.id, matter_id)
    await inbox.move(connection, invoice.id, invoice.workflow_id, matter_id)
    found = await store.collecting(connection, matter_id, pay_first=False)
    steps = [step for one in found for step in rules.agenda(one)]
    return await matters.birth(
        connection,
        kind="collection",
        account_id=invoice.account_id,
        subject_id=invoice.id,
        head=head(steps),
        at=at,
    )


async def close_roads(connection: AsyncConnection, invoice: Invoice, at: datetime) -> None:
    """No payment of this invoice may bring money any more on our books."""
    await paying.make_way(connection, invoice.id, at)
    while (live := await payments.live(connection, invoice.id, lock=True)) is not None:
        await paying.close_unpaid(connection, live, "canceled", at)


async def _open(
    connection: AsyncConnection, invoice: Invoice, policy: Policy, zone: str, at: datetime
) -> DunningCase:
    case = await store.open_case(
        connection,
        {
            "id": ids.new(),
            "account_id": invoice.account_id,
            "invoice_id": invoice.id,
            "subscription_id": invoice.subscription_id,
            "status": "open",
            "policy": policy.model_dump(mode="json"),
            "zone": zone,
            "day_zero_at": invoice.finalized_at or at,
            "last_slot": 0,
            "last_slot_ran_at": at,
            "last_true_attempt_at": at,
            "opened_at": at,
        },
    )
    await _announce(connection, case, "opened", at)
    return case


async def _steerable(connection: AsyncConnection, case_id: UUID) -> tuple[DunningCase, Invoice]:
    """The case and its invoice, under all locks of the collector. Errors: DUNNING_CASE_CLOSED."""
    known = await store.get(connection, case_id)
    invoice = await collectors.hold(connection, known.invoice_id)
    case = await store.get(connection, case_id, lock=True)
    if not case.is_open:
        raise Conflict(
            "DUNNING_CASE_CLOSED", f"this case is {case.status}", case_status=case.status
        )
    return case, invoice


def _why(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}


async def _announce(
    connection: AsyncConnection, case: DunningCase, what: str, at: datetime, **detail: Any
) -> None:
    subject = ids.encode(ids.DUNNING_CASE, case.id)
    facts = {
        "dunning_case_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, case.invoice_id),
        **detail,
    }
    await events.announce(
        connection,
        account_id=case.account_id,
        action=f"dunning.{what}",
        subject=subject,
        facts=facts,
        at=at,
    )
