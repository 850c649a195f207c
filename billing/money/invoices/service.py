"""The life of an invoice: drafted, numbered and frozen, settled, or corrected by a credit note.

Callers hold the matter's row and then the account's lock; the series is taken last.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.currencies import collectable
from billing.core.errors import Conflict
from billing.core.failpoints import failpoint
from billing.ledger.credits import service as credits
from billing.money.invoices import store
from billing.money.invoices.rules import content_hash
from billing.money.invoices.schemas import Invoice, NewInvoice
from billing.platform.accounts import store as accounts
from billing.platform.outbox import service as events

INVOICE_SERIES: Final = "INV"
CREDIT_NOTE_SERIES: Final = "CN"


async def draft(connection: AsyncConnection, new: NewInvoice, at: datetime) -> Invoice:
    """Write a draft, once per `fact_key`; a repeat answers the first."""
    subtotal = sum(line.amount_minor for line in new.lines)
    row = new.model_dump(exclude={"lines"}) | {
        "id": ids.new(),
        "status": "draft",
        "subtotal_minor": subtotal,
        "total_minor": max(0, subtotal),
        "amount_due_minor": max(0, subtotal),
        "created_at": at,
    }
    created = await store.add(connection, row, new.lines)
    if created is not None:
        return created
    found = await store.find_fact(connection, new.fact_key)
    if found is None:
        raise Conflict("INVOICE_EXISTS", "this was invoiced to another account")
    return found


async def finalize(connection: AsyncConnection, invoice: Invoice, at: datetime) -> Invoice:
    """Number and freeze a draft that is owed: `open`, or `paid` when nothing is left to collect.

    Below what the provider charges at all, the amount is carried in the money balance and the
    invoice is paid with settlement `carried` (docs/rules.md#money).
    """
    await credits.lock(connection, invoice.account_id)
    applied, due = await _settle_with_balance(connection, invoice, at)
    charge = collectable(due, invoice.currency)
    await _carry(connection, invoice, due - charge, at)
    fields: dict[str, Any] = {
        "balance_applied_minor": applied,
        "amount_due_minor": charge,
        "status": "open" if charge else "paid",
        "due_at": at,
    }
    if not charge:
        fields |= {"paid_at": at, "settlement": "carried" if due else "zero"}
    return await _number(connection, invoice, fields, at)


async def settle(
    connection: AsyncConnection, invoice: Invoice, paid_minor: int, at: datetime
) -> Invoice:
    """Money arrived: a pay-first draft is numbered now; enough of it makes the invoice paid.

    A partial payment leaves it open (or a draft) with `amount_paid_minor`; more than is owed goes
    to the money balance. Of an open invoice a rest that no card can be charged is carried.
    """
    paid = invoice.amount_paid_minor + paid_minor
    owed = invoice.amount_due_minor - invoice.amount_credited_minor
    fields: dict[str, Any] = {"amount_paid_minor": min(paid, owed)}
    if paid > owed:
        await _add_balance(connection, invoice, "overpaid", paid - owed, at)
    elif paid < owed and (invoice.status != "open" or collectable(owed - paid, invoice.currency)):
        partly = await store.change(connection, invoice.id, **fields)
        await _announce(connection, partly, "partly_paid", at, received_cents=paid_minor)
        return partly
    elif paid < owed:
        await _add_balance(connection, invoice, "carried", paid - owed, at, part="-rest")
        fields["amount_due_minor"] = invoice.amount_due_minor - (owed - paid)
    fields |= {"status": "paid", "paid_at": at, "settlement": "payment"}
    if invoice.number is None:
        return await _number(connection, invoice, fields, at)
    settled = await store.change(connection, invoice.id, **fields)
    await _announce(connection, settled, "paid", at)
    return settled


async def void(connection: AsyncConnection, invoice: Invoice, reason: str, at: datetime) -> Invoice:
    """A draft never to be paid becomes void, unnumbered; a numbered one is corrected by notes.

    What was paid on it already is the customer's: it goes to the money balance.
    """
    if invoice.status != "draft":
        raise Conflict("INVOICE_STATE", f"an invoice that is {invoice.status} cannot be voided")
    if invoice.amount_paid_minor:
        await _add_balance(connection, invoice, "returned", invoice.amount_paid_minor, at)
    voided = await store.change(connection, invoice.id, status="void", voided_at=at)
    await _announce(connection, voided, "voided", at, reason=reason)
    return voided


async def keep_money(
    connection: AsyncConnection,
    invoice: Invoice,
    payment_id: UUID,
    amount_minor: int,
    at: datetime,
) -> None:
    """Money that arrived although nothing was owed: into the money balance, never lost."""
    await _add_balance(connection, invoice, "unasked", amount_minor, at, payment_id=payment_id)


async def _settle_with_balance(
    connection: AsyncConnection, invoice: Invoice, at: datetime
) -> tuple[int, int]:
    """(applied, due): a credit is used up to the total, a carried debt is added to it."""
    total = invoice.total_minor
    if invoice.subscription_id is None:
        return 0, total
    balance = await store.money_balance(connection, invoice.account_id, invoice.currency)
    applied = min(balance, total)
    if applied:
        await _add_balance(connection, invoice, "applied", -applied, at)
    return applied, total - applied


async def _carry(
    connection: AsyncConnection, invoice: Invoice, rest_minor: int, at: datetime
) -> None:
    if rest_minor:
        await _add_balance(connection, invoice, "carried", -rest_minor, at)


async def _add_balance(
    connection: AsyncConnection,
    invoice: Invoice,
    kind: str,
    amount_minor: int,
    at: datetime,
    payment_id: UUID | None = None,
    part: str = "",
) -> None:
    suffix = f"/{ids.encode(ids.PAYMENT, payment_id)}" if payment_id else part
    await store.add_balance_entry(
        connection,
        {
            "id": ids.new(),
            "account_id": invoice.account_id,
            "key": f"{ids.encode(ids.INVOICE, invoice.id)}/balance-{kind}{suffix}",
            "kind": kind,
            "amount_minor": amount_minor,
            "currency": invoice.currency,
            "invoice_id": invoice.id,
            "payment_id": payment_id,
            "at": at,
        },
    )


async def _number(
    connection: AsyncConnection,
    invoice: Invoice,
    fields: dict[str, Any],
    at: datetime,
) -> Invoice:
    """Freeze the content under the next number of the series, the last lock taken."""
    paid = fields["status"] == "paid"
    await _announce(connection, invoice, "paid" if paid else "finalized", at)
    content = content_hash(
        invoice.account_id,
        invoice.currency,
        invoice.total_minor,
        invoice.tax_minor,
        await store.lines(connection, invoice.id),
    )
    series = await _series(connection, invoice, INVOICE_SERIES)
    await events.flush(connection)
    number, issued_on = await store.next_number(connection, series, at.date())
    await failpoint("invoice.numbered")
    return await store.change(
        connection,
        invoice.id,
        series=series,
        number=f"{series}-{number:06d}",
        issued_on=issued_on,
        finalized_at=at,
        content_hash=content,
        **fields,
    )


async def _series(connection: AsyncConnection, invoice: Invoice, kind: str) -> str:
    """One series per issuer; a test account has its own, for its clock is its own too."""
    if await accounts.is_test(connection, invoice.account_id):
        return f"TEST-{ids.encode(ids.ACCOUNT, invoice.account_id)[-10:].upper()}-{kind}"
    if invoice.issuer_id is None:
        return kind
    return f"{kind}-{ids.encode(ids.ISSUER, invoice.issuer_id)[-6:].upper()}"


async def _announce(
    connection: AsyncConnection, invoice: Invoice, what: str, at: datetime, **detail: Any
) -> None:
    subject = ids.encode(ids.INVOICE, invoice.id)
    facts = {
        "invoice_id": subject,
        "total_cents": invoice.total_minor,
        "currency": invoice.currency,
        **detail,
    }
    await events.announce(
        connection,
        account_id=invoice.account_id,
        action=f"invoice.{what}",
        subject=subject,
        facts=facts,
        at=at,
    )
