"""Requests on an unpaid invoice: try a card now, or let the payer complete it, also at PayPal.

Nothing is charged here: the request is recorded, and the matter that collects the invoice charges.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.core.paypal_currencies import demand_taken
from billing.matters import commands
from billing.matters.schemas import Matter
from billing.money.dunning import store as cases
from billing.money.invoice_requests import locks
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.rules import is_debit
from billing.money.payment_methods.schemas import Method
from billing.money.payment_methods.tables import payment_methods
from billing.money.payments import card_rules
from billing.money.payments import service as payment_service
from billing.money.payments import store as payment_store
from billing.money.payments.demands import demand_chargeable, demand_usable
from billing.money.payments.owed import is_refused_for_good
from billing.money.payments.rules import ORDER_OFFERED_FOR
from billing.money.payments.schemas import Attempt
from billing.platform.audit import service as audit

PayersOwn = Literal["card", "paypal"]
_BUSY: Final = {
    "processing": "the bank is processing a payment of this invoice",
    "pending_approval": "a manual payment of this invoice is awaiting approval",
    "tried": "a try of this invoice is on its way",
}


class TryRequest(Frozen):
    """A request for one try: the key of its attempt, and the matter to notify."""

    attempt: str
    matter: Matter


async def retry_now(
    connection: AsyncConnection,
    invoice_id: UUID,
    at: datetime,
    *,
    suffix: str,
    method_id: UUID | None = None,
) -> TryRequest:
    """Request one try at once, beside the slots, once per `suffix`; the default card unless named.

    Errors: INVOICE_NOT_FOUND, INVOICE_ALREADY_PAID, INVOICE_STATE, PAYMENT_PENDING,
    PAYMENT_METHOD_NOT_FOUND, PAYMENT_METHOD_REQUIRED, CARD_DECLINED, CURRENCY_NOT_CHARGED.
    """
    invoice = await locks.take(connection, invoice_id)
    order = keys.pay_request(invoice_id, suffix)
    attempt = await commands.result_of(connection, order)
    if attempt is None:
        method = await to_try(connection, invoice, at, method_id=method_id)
        attempt = await _ask(connection, invoice, method, order, at)
    return TryRequest(attempt=attempt, matter=await locks.wake(connection, invoice, at))


async def is_decided(
    connection: AsyncConnection, invoice_id: UUID, attempt: Attempt | None
) -> bool:
    """True once the requested try has a result, or none is made as the debt is settled or void."""
    if attempt is None:
        return not (await invoice_store.get(connection, invoice_id)).takes_money
    return attempt.is_decided


async def to_try(
    connection: AsyncConnection, invoice: Invoice, at: datetime, *, method_id: UUID | None
) -> Method:
    """Return the card that a requested try would charge. Errors: as for `retry_now`."""
    demand_chargeable(invoice.currency)
    await locks.demand_owed(connection, invoice, by_card=True)
    await _refuse_while_paying(connection, invoice)
    named = method_id or await _own_card(connection, invoice)
    return await _usable(connection, invoice, named, at)


async def offer_payers_own(
    connection: AsyncConnection,
    invoice_id: UUID,
    flow: PayersOwn,
    at: datetime,
    return_url: str | None,
) -> Matter:
    """Let the payer complete the payment in the browser; the matter opens it if necessary.

    Errors: as for `retry_now`, without those of methods.
    """
    invoice = await locks.take(connection, invoice_id)
    await locks.demand_owed(connection, invoice, by_card=True)
    if flow == "paypal":
        demand_taken(invoice.remaining_minor, invoice.currency)
    else:
        demand_chargeable(invoice.currency)
    await _refuse_while_paying(connection, invoice)
    live = await payment_store.live(connection, invoice_id, lock=True)
    if live is None:
        live = await payment_service.open_flow(
            connection, invoice, flow=flow, method_id=None, at=at
        )
        await payment_store.change(connection, live.id, return_url=return_url)
    # One intent per invoice: the payer confirms a card's payment that failed. One for another
    # amount, or at another provider, is canceled first; the payer then asks again. So is an order
    # that PayPal is about to end, or has ended.
    is_elsewhere = (live.flow == "paypal") != (flow == "paypal")
    is_old = flow == "paypal" and at >= live.created_at + ORDER_OFFERED_FOR
    if is_elsewhere or is_old:
        await payment_store.change(connection, live.id, superseded_at=at)
    elif live.amount_minor == invoice.remaining_minor:
        await payment_store.change(connection, live.id, flow=flow, offered_at=at)
        await _audit(connection, invoice, "invoice.pay_offered", at)
    return await locks.wake(connection, invoice, at)


async def note_link(connection: AsyncConnection, invoice_id: UUID) -> None:
    """Note on the open payment that its payer has come by the link, and may be anyone."""
    live = await payment_store.live(connection, invoice_id)
    if live is not None:
        await payment_store.change(connection, live.id, by_link=True)


async def _ask(
    connection: AsyncConnection, invoice: Invoice, method: Method, order: str, at: datetime
) -> str:
    number = invoice.pay_requests + 1
    attempt = _retry_key(invoice, number)
    live = await payment_store.live(connection, invoice.id, lock=True)
    if live is not None and live.flow == "paypal":
        await payment_store.change(connection, live.id, superseded_at=at)
    await invoice_store.change(
        connection,
        invoice.id,
        pay_requests=number,
        pay_requested_at=at,
        pay_method_id=method.id,
    )
    await commands.note(
        connection,
        key=order,
        name="pay",
        workflow_id=invoice.workflow_id,
        account_id=invoice.account_id,
        at=at,
        result=attempt,
    )
    method_id = ids.encode(ids.PAYMENT_METHOD, method.id)
    await _audit(connection, invoice, "invoice.pay_asked", at, payment_method_id=method_id)
    return attempt


def _retry_key(invoice: Invoice, number: int) -> str:
    return keys.manual_retry(ids.encode(ids.INVOICE, invoice.id), number)


async def _refuse_while_paying(connection: AsyncConnection, invoice: Invoice) -> None:
    """Raise PAYMENT_PENDING while a try may still bring money: one try at a time."""
    why = None
    live = await payment_store.live(connection, invoice.id)
    if live is not None:
        why = _BUSY.get(live.status)
    if await payment_store.submission(connection, invoice.id) is not None:
        why = _BUSY["pending_approval"]
    tried = await payment_store.attempts_of(connection, invoice.id)
    if any(one.status == "pending" for one in tried):
        why = _BUSY["tried"]
    if why is not None:
        raise Conflict("PAYMENT_PENDING", why)
    await refuse_before_try(connection, invoice)


async def refuse_before_try(connection: AsyncConnection, invoice: Invoice) -> None:
    """Raise PAYMENT_PENDING while a requested try has not begun: none begins once it is void."""
    asked = _retry_key(invoice, invoice.pay_requests)
    is_asked = invoice.pay_requested_at is not None and invoice.takes_money
    if is_asked and await payment_store.find_attempt(connection, asked) is None:
        raise Conflict("PAYMENT_PENDING", _BUSY["tried"])


async def _own_card(connection: AsyncConnection, invoice: Invoice) -> UUID | None:
    """Return the card its subscription names, unless it was refused for good; None: the default."""
    own = await locks.own_card(connection, invoice)
    if own is None:
        return None
    tried = await payment_store.attempts_of(connection, invoice.id)
    return None if is_refused_for_good(tried, await method_store.get(connection, own)) else own


async def _usable(
    connection: AsyncConnection, invoice: Invoice, method_id: UUID | None, at: datetime
) -> Method:
    if method_id is not None:
        method: Method | None = await method_store.get(connection, method_id)
    else:
        method = await method_store.default(connection, invoice.account_id)
    if method is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED")
    await demand_usable(connection, method, invoice.currency, at)
    if is_debit(method):
        await _demand_debits_left(connection, invoice)
    return method


async def _demand_debits_left(connection: AsyncConnection, invoice: Invoice) -> None:
    """Raise CARD_DECLINED after too many debits: each keeps the invoice waiting for days."""
    case = await cases.find_of_invoice(connection, invoice.id)
    if case is None:
        return
    # Removed methods too.
    rows = await connection.execute(
        select(payment_methods).where(payment_methods.c.account_id == invoice.account_id)
    )
    known = [method_store.show(row) for row in rows.mappings()]
    tried = await payment_store.attempts_of(connection, invoice.id)
    if card_rules.are_used_up(known, tried, len(case.terms.days)):
        raise card_rules.refusal("debits_returned")


async def _audit(
    connection: AsyncConnection, invoice: Invoice, action: str, at: datetime, **detail: str
) -> None:
    await audit.record(
        connection,
        account_id=invoice.account_id,
        action=action,
        subject=ids.encode(ids.INVOICE, invoice.id),
        at=at,
        **detail,
    )
