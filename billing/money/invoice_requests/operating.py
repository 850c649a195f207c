"""An operator's commands on an invoice itself: void, mark uncollectible, credit, record money.

Each is decided under all locks of the matter that collects the invoice, and wakes that matter.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, keys
from billing.core.errors import Conflict, Invalid, NotAllowed
from billing.core.frozen import Frozen
from billing.core.periods import to_wall
from billing.matters.schemas import Matter
from billing.money.invoice_requests import corrections, locks
from billing.money.invoice_requests.asking import ask, learn, may_try
from billing.money.invoice_requests.corrections import Destination, LeftOfUse
from billing.money.invoices import account_currency, notes
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice, InvoiceLine, NoteKind
from billing.money.payments import store
from billing.money.payments.service import announce
from billing.platform.accounts import store as accounts


class RecordedMoney(Frozen):
    """Money received outside of the service."""

    amount_minor: int
    currency: str | None
    method: str
    reference: str
    received_on: date | None


class CreditedLine(Frozen):
    """The part of one line that a credit note credits."""

    position: int
    amount_minor: int


async def void(
    connection: AsyncConnection, invoice_id: UUID, reason: str, *, again: bool = False
) -> Matter:
    """Void a numbered invoice that is not paid: nothing of it is owed any more.

    `again`: an earlier try of the same request may have done it. Errors: INVOICE_NOT_FOUND,
    INVOICE_STATE, PAYMENT_PENDING.
    """
    invoice = await invoice_store.get(connection, invoice_id)
    if again and invoice.status == "void":
        return await locks.collector(connection, invoice)
    return await ask(connection, invoice, partial(corrections.void, reason=reason))


async def mark_uncollectible(
    connection: AsyncConnection, invoice_id: UUID, reason: str, *, again: bool = False
) -> Matter:
    """Give up an open invoice: it is not collected any more, but may still be paid.

    Errors: INVOICE_NOT_FOUND, INVOICE_STATE, PAYMENT_PENDING.
    """
    invoice = await invoice_store.get(connection, invoice_id)
    if again and invoice.status == "uncollectible":
        return await locks.collector(connection, invoice)
    return await ask(connection, invoice, partial(corrections.mark_uncollectible, reason=reason))


async def credit(
    connection: AsyncConnection,
    invoice_id: UUID,
    *,
    amount_minor: int | None,
    lines: Sequence[CreditedLine],
    reason: str,
    to: Destination,
    suffix: str,
    kind: NoteKind = "operator",
) -> Matter:
    """Credit part of a numbered invoice, or of its lines, once per `suffix`; a note of a voided
    use does not wait for money on its way.

    Errors: INVOICE_NOT_FOUND, INVOICE_STATE, CREDIT_NOTE_TOO_LARGE, INVALID_AMOUNT,
    PAYMENT_PENDING.
    """
    # What earlier notes have left of a line is read under the lock, as the sum is.
    invoice = await locks.take(connection, invoice_id)
    parts = await _lines(connection, invoice, lines, suffix)
    amount = amount_minor or sum(one["amount_minor"] for one in parts)
    tries = may_try(await locks.collector(connection, invoice))
    verb = partial(
        corrections.credit, amount=amount, lines=parts, reason=reason, to=to, suffix=suffix,
        kind=kind, tries=tries,
    )  # fmt: skip
    beside = await invoice_store.beside(connection, invoice)
    return await ask(connection, invoice, verb, beside=beside)


async def left_of_use(
    connection: AsyncConnection, invoice: Invoice, amount_minor: int, to: Destination
) -> LeftOfUse:
    """Return the part of a use's price, with its tax, that a credit note can still credit."""
    beside = await invoice_store.beside(connection, invoice)
    question = partial(corrections.left_of_use, amount=amount_minor, to=to)
    return await learn(connection, invoice, question, beside=beside)


async def record_payment(
    connection: AsyncConnection,
    invoice_id: UUID,
    money: RecordedMoney,
    *,
    payment_id: UUID,
    four_eyes: bool,
    at: datetime,
) -> Matter:
    """Record money received outside of the service; its matter books it next.

    Errors: INVOICE_NOT_FOUND, INVOICE_ALREADY_PAID, INVOICE_STATE, CURRENCY_MISMATCH,
    PAYMENT_REFERENCE_USED, INVALID_DATE, FOUR_EYES.
    """
    if four_eyes:
        raise NotAllowed(
            "FOUR_EYES", "submit this as a manual payment, which another person approves"
        )
    invoice = await locks.take(connection, invoice_id)
    if await store.find(connection, payment_id) is not None:
        return await locks.wake(connection, invoice, at)
    await locks.demand_owed(connection, invoice, by_card=False)
    locks.demand_currency(money.currency, invoice)
    if money.received_on is not None:
        await _demand_past(connection, invoice.account_id, money.received_on, at)
    if await store.reference_used(connection, invoice.account_id, money.reference):
        raise Conflict("PAYMENT_REFERENCE_USED", "this reference is already recorded")
    await account_currency.keep(connection, invoice.account_id, invoice.currency)
    number = await store.count(connection, invoice_id) + 1
    actor = context.actor.get()
    row = {
        "id": payment_id, "account_id": invoice.account_id, "invoice_id": invoice_id,
        "workflow_id": invoice.workflow_id, "flow": "manual", "status": "completed",
        "intent_key": keys.submission(invoice_id, number),
        "amount_minor": money.amount_minor, "received_minor": money.amount_minor,
        "currency": invoice.currency, "manual_method": money.method,
        "transaction_reference": money.reference, "received_on": money.received_on,
        "submitted_by": actor, "decided_by": actor, "decided_at": at,
        "created_at": at, "paid_at": at, "closed_at": at,
    }  # fmt: skip
    payment = await store.add(connection, row)
    await announce(connection, payment, "recorded", at, reference=money.reference)
    return await locks.wake(connection, invoice, at)


async def _demand_past(
    connection: AsyncConnection, account_id: UUID, day: date, at: datetime
) -> None:
    """Raise INVALID_DATE if this day has begun neither in the account's zone nor in UTC, by which
    receipts are dated.
    """
    account = await accounts.get(connection, account_id)
    if day > max(to_wall(at, account.zone).date(), at.astimezone(UTC).date()):
        raise Invalid("INVALID_DATE")


async def parts_of(
    connection: AsyncConnection,
    invoice: Invoice,
    amount_minor: int,
    is_of: Callable[[InvoiceLine], bool],
) -> tuple[CreditedLine, ...]:
    """Return parts of the matching lines that total `amount_minor`; none if less is left."""
    found, asked = list[CreditedLine](), amount_minor
    for line in (await _left_of_lines(connection, invoice)).values():
        minor = min(asked, line.total_minor) if is_of(line) else 0
        asked -= minor
        if minor > 0:
            found.append(CreditedLine(position=line.position, amount_minor=minor))
    return () if asked else tuple(found)


async def _lines(
    connection: AsyncConnection, invoice: Invoice, asked: Sequence[CreditedLine], suffix: str
) -> tuple[dict[str, Any], ...]:
    """Return the lines of a note, with their descriptions. Errors: INVALID_AMOUNT."""
    # A repeated request finds its own note.
    known = await _left_of_lines(connection, invoice, but=notes.key(invoice, suffix))
    for one in asked:
        if one.position not in known or one.amount_minor > known[one.position].total_minor:
            raise Invalid(
                "INVALID_AMOUNT",
                f"the amount exceeds what can still be credited on line {one.position}",
            )
    return tuple(notes.noted_part(known[one.position], one.amount_minor) for one in asked)


async def _left_of_lines(
    connection: AsyncConnection, invoice: Invoice, *, but: str = ""
) -> dict[int, InvoiceLine]:
    """Return its lines by position, less what notes that name them have credited, `but` one."""
    known = {one.position: one for one in await invoice_store.lines(connection, invoice.id)}
    for earlier in await invoice_store.credit_notes_of(connection, invoice.id):
        for part in earlier["lines"] if earlier["fact_key"] != but else ():
            line = known[part["position"]]
            less = line.amount_minor - part["amount_minor"]
            known[line.position] = line.model_copy(update={"amount_minor": less})
    return known
