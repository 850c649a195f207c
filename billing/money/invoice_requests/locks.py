"""The matter that collects an invoice, and the locks for changing what is owed.

The order is that of docs/architecture.md#order-of-locks: the matter's row, the account, the
record of a use paid by card, the invoice.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.currencies import demand_payable
from billing.core.errors import Conflict, Unavailable
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.kinds import ACCOUNT, CHARGE
from billing.matters.schemas import Matter
from billing.metering.usage.tables import billing_records
from billing.money.invoices import store as invoice_store
from billing.money.invoices.refusals import wrong_status
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.tables import invoices as invoice_rows
from billing.money.payment_methods.tables import payment_methods
from billing.money.purchases.tables import purchases
from billing.money.subscriptions.tables import subscriptions

ROWS: Final[dict[str, Table]] = {
    "purchase": purchases,
    "subscription": subscriptions,
    "collection": invoice_rows,
    "charge": billing_records,
}
"""The table of the subjects of each kind of matter that collects invoices."""

_FIRST_PAYMENTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "purchase": {"draft": ("pending",), "void": ("expired", "failed", "canceled")},
    "subscription": {"draft": ("incomplete",), "void": ("incomplete_expired",)},
}
"""The statuses of what an invoice without a number pays first, by the status of the invoice."""


async def take(connection: AsyncConnection, invoice_id: UUID) -> Invoice:
    """Lock an invoice, its collector and its account; return it.

    Errors: INVOICE_NOT_FOUND, UNAVAILABLE.
    """
    known = await invoice_store.get(connection, invoice_id)
    await take_collectors(connection, known.account_id, [invoice_id])
    return await invoice_store.lock(connection, invoice_id)


async def take_collectors(
    connection: AsyncConnection, account_id: UUID, invoice_ids: Sequence[UUID]
) -> None:
    """Lock the account and the collectors of many invoices, but not the invoices' own rows.

    Several are locked in the register, too, with the account's own matter: what pays their invoices
    writes it before it wakes them.

    Errors: UNAVAILABLE where an invoice passed to another collector before it was locked.
    """
    known = await invoice_store.by_collector(connection, invoice_ids)
    found = [await collector(connection, invoices[0]) for invoices in known.values()]
    await _take_all(connection, account_id, {(one.kind, one.subject_id) for one in found})
    of = invoice_rows.c
    passed = select(of.id).where(
        of.id.in_(invoice_ids), of.workflow_id.not_in([one.workflow_id for one in found])
    )
    if await connection.scalar(passed.limit(1)) is not None:
        raise passed_on()
    names = {one.workflow_id for one in found}
    if len(names) > 1:
        await matters.take(connection, {ACCOUNT.workflow_id(account_id), *names})


def passed_on() -> Unavailable:
    """Return the error for an invoice that has another collector than the one that is locked.

    To lock that one, too, would be out of order.
    """
    return Unavailable("UNAVAILABLE", "this invoice is being handed over; send the request again")


async def _take_all(
    connection: AsyncConnection, account_id: UUID, subjects: Collection[tuple[str, UUID]]
) -> None:
    charges = {one for one in subjects if one[0] == CHARGE.name}
    await _take_rows(connection, set(subjects) - charges)
    await credits.lock(connection, account_id)
    await _take_rows(connection, charges)


async def _take_rows(connection: AsyncConnection, subjects: Collection[tuple[str, UUID]]) -> None:
    for kind, subject_id in sorted(subjects):
        rows = ROWS[kind]
        await connection.execute(
            select(rows.c.id).where(rows.c.id == subject_id).with_for_update(key_share=True)
        )


async def wake(connection: AsyncConnection, invoice: Invoice, at: datetime) -> Matter:
    """Wake the matter that collects the invoice; callers notify it after the commit."""
    await matters.wake(connection, invoice.workflow_id, at)
    return await collector(connection, invoice)


async def collector(connection: AsyncConnection, invoice: Invoice) -> Matter:
    """Return the matter that collects the invoice now.

    A use paid at once, by the money balance or with the next invoice, has none until somebody
    corrects its invoice: then it is created.
    """
    matter = await matters.find(connection, invoice.workflow_id)
    if matter is None and invoice.workflow_id.startswith(f"{CHARGE.name}/"):
        _, _, use = invoice.workflow_id.partition("/")
        use_id = ids.decode(ids.BILLING_RECORD, use)
        await matters.write_idle(connection, CHARGE, invoice.account_id, use_id, invoice.created_at)
        matter = await matters.find(connection, invoice.workflow_id)
    if matter is None:
        raise RuntimeError(f"invoice {invoice.id} has no collector")
    return matter


async def own_card(connection: AsyncConnection, invoice: Invoice) -> UUID | None:
    """Return the card its subscription names, while usable; None: the account's default."""
    own = subscriptions.c.payment_method_id
    usable = select(payment_methods.c.id).where(
        payment_methods.c.id == own,
        payment_methods.c.status == "active",
        payment_methods.c.barred_at.is_(None),
    )
    found: UUID | None = await connection.scalar(
        select(own).where(subscriptions.c.id == invoice.subscription_id, usable.exists())
    )
    return found


async def demand_owed(connection: AsyncConnection, invoice: Invoice, *, by_card: bool) -> None:
    """Refuse money for what is not owed: INVOICE_ALREADY_PAID, INVOICE_STATE.

    A draft is owed while its first payment is awaited; money by hand may also come after that time.
    A purchase is paid by card on its own flow. An uncollectible invoice may still be paid.
    AMOUNT_TOO_LARGE: a card cannot pay more than the maximum of one charge.
    """
    if by_card:
        demand_payable(invoice.remaining_minor, invoice.currency)
    if invoice.status == "paid":
        raise Conflict("INVOICE_ALREADY_PAID")
    if invoice.is_owed:
        return
    if await _takes_first_payment(connection, invoice, by_card):
        return
    why = (
        "is paid through its purchase" if invoice.purchase_id and by_card else "cannot be paid now"
    )
    raise wrong_status(invoice, why)


def demand_currency(given: str | None, invoice: Invoice) -> None:
    """Refuse money by hand in another currency than the invoice's: CURRENCY_MISMATCH."""
    if given not in (None, invoice.currency):
        raise Conflict(
            "CURRENCY_MISMATCH",
            f"the invoice is in {invoice.currency}, not in {given}",
            currency=invoice.currency,
        )


async def _takes_first_payment(
    connection: AsyncConnection, invoice: Invoice, by_card: bool
) -> bool:
    if invoice.purchase_id is not None:
        kind, owner = "purchase", invoice.purchase_id
    elif invoice.subscription_id is not None:
        kind, owner = "subscription", invoice.subscription_id
    else:
        return False
    if by_card and (invoice.purchase_id is not None or invoice.status == "void"):
        return False
    taken = _FIRST_PAYMENTS[kind].get(invoice.status, ()) if invoice.number is None else ()
    rows = ROWS[kind]
    return await connection.scalar(select(rows.c.status).where(rows.c.id == owner)) in taken
