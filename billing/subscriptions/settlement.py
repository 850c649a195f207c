"""What money does to a subscription: paid, unpaid, given up, ended."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, matters
from billing.core.money import split
from billing.dunning import service as dunning
from billing.dunning.rules import FinalAction
from billing.invoices import service as invoicing
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import collectors
from billing.subscriptions import cycles, notes, store
from billing.subscriptions.schemas import Subscription
from billing.trials import service as trials
from billing.usage import closing


async def on_paid(
    connection: AsyncConnection, subscription: Subscription, invoice: Invoice, at: datetime
) -> Subscription:
    """An invoice is settled by any road: active when nothing overdue is left; credits granted."""
    subscription = await store.get(connection, subscription.id)
    if subscription.status == "incomplete":
        subscription = await _activate(connection, subscription, at)
    if invoice.settlement == "payment":
        await trials.convert(connection, subscription.account_id, at)
    if invoice.cycle_start is not None and invoice.cycle_end is not None:
        await cycles.grant(connection, subscription, invoice.cycle_start, invoice.cycle_end, at)
    return await recover(connection, subscription, at)


async def recover(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> Subscription:
    """Back to active when nothing overdue is left; from `unpaid` with a new period."""
    if subscription.status not in ("past_due", "unpaid"):
        return subscription
    if await store.overdue(connection, subscription.id):
        return subscription
    if subscription.status == "unpaid":
        restarted, invoice = await cycles.restart(connection, subscription, at)
        if invoice.status == "paid":
            return await on_paid(connection, restarted, invoice, at)
        return restarted
    return await _activate(connection, subscription, at)


async def forgive(
    connection: AsyncConnection, invoice_id: UUID, reason: str, at: datetime
) -> matters.Matter:
    """Give up what is still owed on an invoice: as good as paid for its subscription.

    Answers the matter to tell. Errors: INVOICE_NOT_FOUND, INVOICE_STATE.
    """
    forgiven = await dunning.forgive(connection, invoice_id, reason, at)
    if forgiven.workflow_id.startswith("subscription/") and forgiven.subscription_id is not None:
        subscription = await store.get(connection, forgiven.subscription_id)
        await on_paid(connection, subscription, forgiven, at)
    return await collectors.wake(connection, forgiven, at)


async def on_unpaid(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> Subscription:
    """A charge failed: `past_due`, while its case tries to recover it."""
    if subscription.status != "active":
        return subscription
    late = await store.change(connection, subscription.id, status="past_due", updated_at=at)
    await notes.announce(connection, late, "past_due", at)
    return late


async def give_up(
    connection: AsyncConnection,
    subscription: Subscription,
    invoice: Invoice,
    action: FinalAction,
    at: datetime,
) -> Subscription:
    """The final action of an exhausted case: unpaid | cancel | uncollectible (product.md §11)."""
    await dunning.close(connection, invoice.id, "exhausted", action, at)
    if action == "uncollectible":
        await invoicing.mark_uncollectible(connection, invoice, at)
        return await recover(connection, subscription, at)
    if action == "cancel":
        await invoicing.mark_uncollectible(connection, invoice, at)
        return await end(connection, subscription, "dunning exhausted", at)
    unpaid = await store.change(connection, subscription.id, status="unpaid", updated_at=at)
    await notes.announce(connection, unpaid, "unpaid", at)
    return unpaid


async def end(
    connection: AsyncConnection, subscription: Subscription, reason: str, at: datetime
) -> Subscription:
    """Cancel for good: drafts void, time not served taken back, the rest goes to Collection.

    The end closes the last cycle; use beyond the plan, and what was carried until now, has a final
    invoice [C5].
    """
    ended = await store.change(
        connection,
        subscription.id,
        status="canceled",
        canceled_at=subscription.canceled_at or at,
        ended_at=at,
        end_reason=reason,
        updated_at=at,
    )
    await notes.announce(connection, ended, "canceled", at, reason=reason)
    matter = matters.workflow_id("subscription", subscription.id)
    for invoice in await invoices.of_matter(connection, matter, ["draft", "open"]):
        if invoice.status == "draft":
            await invoicing.void(connection, invoice, reason, at)
            continue
        owed = await _take_back_unserved(connection, invoice, at)
        if owed.status == "open":
            await dunning.hand_to_collection(connection, owed, at)
        else:
            await dunning.close(connection, owed.id, "canceled", reason, at)
    final = await cycles.bill_usage(connection, ended, "final", at, debts=True)
    if final is not None and final.status == "open":
        await dunning.hand_to_collection(connection, final, at)
    return ended


async def bill_late(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> list[matters.Matter]:
    """Use that came in after its subscription ended: supplementary invoices, for Collection."""
    born = []
    for subscription_id in await closing.take_late(connection, account_id):
        subscription = await store.get(connection, subscription_id)
        mark = f"late-usage-{at:%Y-%m-%dT%H:%M:%S.%fZ}"
        invoice = await cycles.bill_usage(connection, subscription, mark, at)
        if invoice is not None and invoice.status == "open":
            born.append(await dunning.hand_to_collection(connection, invoice, at))
    return born


async def expire_incomplete(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> Subscription:
    """The first payment never came, and is proven not to come any more."""
    asked = subscription.canceled_at is not None
    status = "canceled" if asked else "incomplete_expired"
    ended = await store.change(
        connection,
        subscription.id,
        status=status,
        ended_at=at,
        end_reason="canceled by request" if asked else "first payment never came",
        updated_at=at,
    )
    await notes.announce(connection, ended, status, at)
    matter = matters.workflow_id("subscription", subscription.id)
    for invoice in await invoices.of_matter(connection, matter, ["draft"]):
        await dunning.close_roads(connection, invoice, at)
        await invoicing.void(connection, invoice, status, at)
    return ended


async def _activate(
    connection: AsyncConnection, subscription: Subscription, at: datetime
) -> Subscription:
    active = await store.change(
        connection, subscription.id, status="active", incomplete_expires_at=None, updated_at=at
    )
    await notes.announce(connection, active, "activated", at, before=subscription.status)
    return active


async def _take_back_unserved(
    connection: AsyncConnection, invoice: Invoice, at: datetime
) -> Invoice:
    """On an unpaid invoice, time not yet served is a credit note against it, by the second.

    Its usage was served.
    """
    if invoice.period_start is None or invoice.period_end is None or at >= invoice.period_end:
        return invoice
    whole = int((invoice.period_end - invoice.period_start).total_seconds())
    served = max(0, min(whole, int((at - invoice.period_start).total_seconds())))
    used = sum(
        line["amount_minor"]
        for line in await invoices.lines(connection, invoice.id)
        if line["kind"] == closing.USAGE
    )
    _, unserved_minor = split(invoice.total_minor - used, [served, whole - served])
    return await invoicing.credit_note(
        connection,
        invoice,
        unserved_minor,
        "time not served",
        f"{ids.encode(ids.INVOICE, invoice.id)}/unserved",
        at,
    )
