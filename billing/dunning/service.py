"""The verbs of recovery: what a try leaves behind, what an operator may steer, how a case ends.

Callers hold the owning matter's row; state, audit and outbox rows commit with them.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.audit import service as audit
from billing.core import ids, matters
from billing.core.agenda import head
from billing.core.errors import Conflict, Invalid
from billing.credits import service as credits
from billing.dunning import rules, store
from billing.dunning.rules import Policy
from billing.dunning.schemas import DunningCase
from billing.events import service as events
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import service as paying
from billing.payments import store as payments

MAX_EXTENSION_DAYS = 90


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


async def pause(connection: AsyncConnection, case_id: UUID, at: datetime) -> DunningCase:
    """No slots and no final action until resumed."""
    case = await _steerable(connection, case_id)
    if case.status == "paused":
        return case
    paused = await store.change(connection, case.id, status="paused", paused_at=at)
    await _steered(connection, paused, "paused", at)
    return paused


async def resume(connection: AsyncConnection, case_id: UUID, at: datetime) -> DunningCase:
    """Slots go on where they stood; a missed one runs now, the next keep their gaps."""
    case = await _steerable(connection, case_id)
    if case.status == "open":
        return case
    resumed = await store.change(connection, case.id, status="open", paused_at=None)
    await _steered(connection, resumed, "resumed", at)
    return resumed


async def extend(
    connection: AsyncConnection, case_id: UUID, days: int, at: datetime
) -> DunningCase:
    """Move the slots to come and the final action by `days`."""
    case = await _steerable(connection, case_id)
    if not 0 < days <= MAX_EXTENSION_DAYS - case.extended_days:
        raise Invalid("INVALID_EXTENSION", f"a case extends by 1 to {MAX_EXTENSION_DAYS} days")
    extended = await store.change(connection, case.id, extended_days=case.extended_days + days)
    await _steered(connection, extended, "extended", at, days=days)
    return extended


async def retry_now(
    connection: AsyncConnection, invoice_id: UUID, at: datetime, method_id: UUID | None = None
) -> Invoice:
    """Ask for one try at once, beside the slots; needs a usable card and nothing undecided."""
    invoice = await invoices.lock(connection, invoice_id)
    if invoice.status not in ("open", "draft"):
        raise Conflict("INVOICE_STATE", f"this invoice is {invoice.status}")
    live = await payments.live(connection, invoice_id)
    if live is not None and live.status in ("processing", "pending_approval"):
        raise Conflict("PAYMENT_PENDING", f"a payment of this invoice is {live.status}")
    asked = await invoices.change(
        connection,
        invoice_id,
        pay_requests=invoice.pay_requests + 1,
        pay_requested_at=at,
        pay_method_id=method_id,
    )
    await matters.wake(connection, asked.workflow_id, at)
    return asked


async def forgive(
    connection: AsyncConnection, invoice_id: UUID, reason: str, at: datetime
) -> Invoice:
    """Give up what is still owed by a credit note; counts as settled."""
    await credits.lock(connection, (await invoices.get(connection, invoice_id)).account_id)
    invoice = await invoices.lock(connection, invoice_id)
    if invoice.status != "open":
        raise Conflict("INVOICE_STATE", f"this invoice is {invoice.status}")
    await close(connection, invoice_id, "forgiven", reason, at)
    await matters.wake(connection, invoice.workflow_id, at)
    fact_key = f"{ids.encode(ids.INVOICE, invoice_id)}/forgiven"
    return await invoicing.credit_note(
        connection, invoice, invoice.remaining_minor, reason, fact_key, at
    )


async def hand_to_collection(
    connection: AsyncConnection, invoice: Invoice, at: datetime
) -> matters.Matter:
    """An open invoice whose subscription has ended: a matter of its own pursues it."""
    matter_id = matters.workflow_id("collection", invoice.id)
    await invoices.change(connection, invoice.id, workflow_id=matter_id)
    await payments.move(connection, invoice.id, matter_id)
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
    live = await payments.live(connection, invoice.id, lock=True)
    if live is not None:
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


async def _steerable(connection: AsyncConnection, case_id: UUID) -> DunningCase:
    case = await store.get(connection, case_id)
    if not case.is_open:
        raise Conflict("DUNNING_CASE_CLOSED", f"this case is {case.status}")
    return case


async def _steered(
    connection: AsyncConnection, case: DunningCase, what: str, at: datetime, **detail: Any
) -> None:
    await _announce(connection, case, what, at, **detail)
    invoice = await invoices.get(connection, case.invoice_id)
    await matters.wake(connection, invoice.workflow_id, at)


async def _announce(
    connection: AsyncConnection, case: DunningCase, what: str, at: datetime, **detail: Any
) -> None:
    subject = ids.encode(ids.DUNNING_CASE, case.id)
    facts = {
        "dunning_case_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, case.invoice_id),
        **detail,
    }
    await audit.record(
        connection,
        account_id=case.account_id,
        action=f"dunning.{what}",
        subject=subject,
        at=at,
        **facts,
    )
    await events.publish(
        connection,
        account_id=case.account_id,
        type=f"evt.billing.dunning.{what}",
        data=facts,
        at=at,
    )
