"""The debt of an account, all or some of it, paid in one step.

Or foreseen, with what paying does to the period.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import NotFound
from billing.core.frozen import Frozen
from billing.matters.effects import Work
from billing.matters.tables import steps
from billing.money.dunning import cases
from billing.money.invoice_requests import card, locks
from billing.money.invoice_requests.card import Asked
from billing.money.invoices import store as invoice_store
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.tables import invoices as invoice_rows
from billing.money.subscriptions import (
    agreements,
    changes,
    commands,
    cycles,
    pauses,
    payment_effects,
)
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.schemas import Paying, Subscription, SubscriptionChange
from billing.platform.decisions import service as decisions


class Foreseen(Frozen):
    """The subscription when all is paid, and the invoice that starts it again, where it is paused.

    `resumption` is an invoice that nobody has written; `charged_minor` is what is charged for it.
    """

    subscription: Subscription | None = None
    resumption: Invoice | None = None
    charged_minor: int = 0


async def owed(
    connection: AsyncConnection, account_id: UUID, only: Collection[UUID] | None = None
) -> list[Invoice]:
    """The open invoices of the account, or `only` the named ones, oldest first.

    Errors, of a named one: INVOICE_NOT_FOUND, and those of `locks.demand_owed`.
    """
    query = invoice_store.listing(account_id, status="open" if only is None else None)
    if only is not None:
        query = query.where(invoice_rows.c.id.in_(only))
    rows = await connection.execute(query.order_by("created_at", "id"))
    found = [invoice_store.show(row) for row in rows.mappings()]
    if only is not None:
        if len(found) < len(set(only)):
            raise NotFound("INVOICE_NOT_FOUND", "no such invoice")
        for invoice in found:
            await locks.demand_owed(connection, invoice, by_card=True)
    return found


async def ask(
    connection: AsyncConnection,
    account_id: UUID,
    at: datetime,
    *,
    suffix: str,
    method_id: UUID | None = None,
    only: Collection[UUID] | None = None,
) -> list[tuple[UUID, Asked]]:
    """Ask for one try of each that is `owed`, all or none, once per `suffix`.

    Asked again, it answers the same. Errors: those of `owed` and `card.retry_now`.
    """
    known = await _asked(connection, account_id, suffix)
    if not known:
        known = [one.id for one in await owed(connection, account_id, only)]
    await locks.hold_collectors(connection, account_id, known)
    return [
        (
            invoice_id,
            await card.retry_now(connection, invoice_id, at, suffix=suffix, method_id=method_id),
        )
        for invoice_id in known
    ]


async def foresee(
    connection: AsyncConnection,
    account_id: UUID,
    only: Collection[UUID] | None = None,
    *,
    resumes: bool = False,
) -> Foreseen:
    """The open subscription as it is when what is `owed` is paid; nothing is written.

    With `resumes` it is started again as well, where it is paused then. Errors: those of
    `commands.resume`.
    """
    found = await subscriptions.find_open(connection, account_id)
    if found is None:
        return Foreseen()
    pay = partial(_pay, only=only, resumes=resumes)
    foreseen, _ = await decisions.command(connection, ENGINE, found.id, pay, dry_run=True)
    return foreseen


def _pay(w: Work[SubscriptionFacts], only: Collection[UUID] | None, *, resumes: bool) -> Foreseen:
    for invoice in cycles.collected(w.rows, cycles.of(w), ("open",)):
        if only is not None and invoice.id not in only:
            continue
        paid = invoices.receive(w, invoice, invoice.remaining_minor)
        cases.close_case(w, invoice.id, "recovered", "foreseen")
        payment_effects.on_paid(w, paid)
    subscription = cycles.of(w)
    if subscription.status != "paused":
        return Foreseen(subscription=subscription)
    return _resumed(w) if resumes else Foreseen(subscription=subscription, resumption=_offered(w))


def _offered(w: Work[SubscriptionFacts]) -> Invoice:
    """The invoice that would start it again."""
    changes.apply_scheduled(w)
    agreements.sell(w)
    draft = pauses.draft(w, w.facts.new_id())
    return invoices.whole_steps(w, invoices.use_balance(w, draft))


def _resumed(w: Work[SubscriptionFacts]) -> Foreseen:
    """Started again by the very command, and paid; a foreseen charge asks for no card."""
    asked = Paying(change_id=w.facts.new_id(), by_card=True)
    commands.resume(w, asked)
    draft = w.rows.get(Invoice, w.rows.get(SubscriptionChange, asked.change_id).draft_id)
    charged = draft.amount_due_minor if draft.status == "draft" else 0
    if charged:
        payment_effects.on_paid(w, invoices.receive(w, draft, charged))
    written = w.rows.get(Invoice, draft.id)
    return Foreseen(subscription=cycles.of(w), resumption=written, charged_minor=charged)


async def _asked(connection: AsyncConnection, account_id: UUID, suffix: str) -> Sequence[UUID]:
    """The invoices that were asked for under this suffix before."""
    found = await connection.scalars(
        select(steps.c.key)
        .where(
            steps.c.account_id == account_id,
            steps.c.name == "pay",
            steps.c.key.endswith(f"/pay-{suffix}", autoescape=True),
        )
        .order_by(steps.c.key)
    )
    return [ids.decode(ids.INVOICE, key.partition("/")[0]) for key in found]
