"""Pays all or some of an account's debt in one step.

Or previews that, with its effect on the period.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids
from billing.core.errors import Conflict, NotFound
from billing.core.frozen import Frozen
from billing.matters.effects import Work
from billing.matters.tables import steps
from billing.money.dunning import cases
from billing.money.invoice_requests import card, locks
from billing.money.invoice_requests.card import TryRequest
from billing.money.invoices import store as invoice_store
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.tables import invoices as invoice_rows
from billing.money.payments import store as payment_store
from billing.money.payments.rules import PAID_OTHERWISE
from billing.money.payments.schemas import Attempt
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.endings import pauses
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import invoicing
from billing.money.subscriptions.previews import deciding, tokens
from billing.money.subscriptions.previews.tokens import Promise
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import Paying, Subscription, SubscriptionChange
from billing.money.subscriptions.terms import scheduling
from billing.platform.decisions import service as decisions


class Wanted(NamedTuple):
    """A payment of all that is open, or of `only` some invoices, by the default card or another."""

    only: Collection[UUID] | None
    method_id: UUID | None
    resumes: bool
    """True also starts a paused subscription again."""
    use_balance: bool
    """True if the money balance pays first for that."""


class Foreseen(Frozen):
    """The subscription once all is paid, and if it is paused the invoice that starts it again.

    `resumption` is an invoice that was not written; `charged_minor` is what is charged for it.
    """

    subscription: Subscription | None = None
    resumption: Invoice | None = None
    charged_minor: int = 0

    def digest_with(self, owed: Sequence[Invoice], *, resumes: bool) -> bytes:
        """Return the digest of the charges: each owed invoice and whether the subscription resumes,
        then the resumption. `resume_as_previewed` checks the second half, after the debt is paid.
        """
        debt = [[str(one.id), one.remaining_minor] for one in owed]
        return _half([debt, resumes, self.charged_minor]) + _half_of(self.resumption)


async def owed(
    connection: AsyncConnection, account_id: UUID, only: Collection[UUID] | None = None
) -> list[Invoice]:
    """Return the open invoices of the account, or `only` the named ones, oldest first.

    Errors, for a named one: INVOICE_NOT_FOUND, and those of `locks.demand_owed`.
    """
    query = invoice_store.listing(account_id, status="open" if only is None else None)
    if only is not None:
        query = query.where(invoice_rows.c.id.in_(only))
    rows = await connection.execute(query.order_by("created_at", "id"))
    found = [invoice_store.show(row) for row in rows.mappings()]
    if only is not None:
        if len(found) < len(set(only)):
            raise NotFound("INVOICE_NOT_FOUND")
        for invoice in found:
            await locks.demand_owed(connection, invoice, by_card=True)
    return found


async def look(
    connection: AsyncConnection, account_id: UUID, wanted: Wanted
) -> tuple[list[Invoice], Foreseen]:
    """Return what is `owed` of what is wanted, and the result of paying it. Errors: those of `owed`
    and `foresee`.
    """
    debts = await owed(connection, account_id, wanted.only)
    foreseen = await foresee(
        connection, account_id, wanted.only,
        resumes=wanted.resumes, use_balance=wanted.use_balance, method_id=wanted.method_id,
    )  # fmt: skip
    return debts, foreseen


async def demand_as_previewed(
    connection: AsyncConnection,
    account_id: UUID,
    wanted: Wanted,
    token: str,
    secrets: Sequence[str],
) -> list[UUID]:
    """Lock what is wanted, and refuse if the amounts to be charged differ from the previewed ones;
    return the previewed invoices. Errors: PREVIEW_EXPIRED, those of `look`.
    """
    await lock_owed(connection, account_id, wanted.only)
    promise = tokens.read(token, secrets, clock.real_now())
    debts, foreseen = await look(connection, account_id, wanted)
    if foreseen.subscription is None or foreseen.subscription.id != promise.subscription_id:
        raise tokens.expired()
    if foreseen.digest_with(debts, resumes=wanted.resumes) != promise.digest:
        raise tokens.expired()
    return [one.id for one in debts]


async def lock_owed(
    connection: AsyncConnection, account_id: UUID, only: Collection[UUID] | None
) -> list[UUID]:
    """Lock the account and the collectors of what is `owed`: nothing of it changes meanwhile.

    Returns what is still owed under the locks. Errors: those of `owed`.
    """
    known = [one.id for one in await owed(connection, account_id, only)]
    await locks.take_collectors(connection, account_id, known)
    debts = await owed(connection, account_id, only)
    return [one.id for one in debts if one.id in known]


async def ask(
    connection: AsyncConnection,
    account_id: UUID,
    at: datetime,
    *,
    suffix: str,
    method_id: UUID | None = None,
    only: Collection[UUID] | None = None,
) -> list[tuple[UUID, TryRequest]]:
    """Request one try of each invoice that is `owed`, all or none, once per `suffix`.

    A repeat returns the same, and tries again what reached no card and is still owed. Errors: those
    of `owed` and `card.retry_now`.
    """
    known = await asked_before(connection, account_id, suffix)
    if known:
        await locks.take_collectors(connection, account_id, known)
    else:
        known = await lock_owed(connection, account_id, only)
    asked = [(one, await _try(connection, one, at, suffix, method_id)) for one in known]
    return [(invoice_id, request) for invoice_id, request in asked if request is not None]


async def _try(
    connection: AsyncConnection, invoice_id: UUID, at: datetime, suffix: str, method_id: UUID | None
) -> TryRequest | None:
    """Request a try; None if an earlier one reached no card, and the invoice was paid since."""
    order, number = suffix, 1
    while True:
        try:
            asked = await card.retry_now(
                connection, invoice_id, at, suffix=order, method_id=method_id
            )
        except Conflict as refused:
            if number > 1 and refused.code == "INVOICE_ALREADY_PAID":
                return None
            raise
        attempt = await payment_store.find_attempt(connection, asked.attempt)
        if attempt is None or attempt.status != "unreached":
            return asked
        if attempt.decline_code == PAID_OTHERWISE:
            return asked
        number += 1
        order = f"{suffix}-{number}"


async def demand(
    connection: AsyncConnection,
    account_id: UUID,
    at: datetime,
    *,
    method_id: UUID | None = None,
    only: Collection[UUID] | None = None,
) -> None:
    """Refuse what `ask` would refuse; request nothing."""
    for invoice in await owed(connection, account_id, only):
        await card.to_try(connection, invoice, at, method_id=method_id)


async def asked_before(
    connection: AsyncConnection, account_id: UUID, suffix: str
) -> Sequence[UUID]:
    """Return the invoices whose tries were requested under this suffix before."""
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


async def has_asked(
    connection: AsyncConnection, account_id: UUID, suffix: str, change_id: UUID
) -> bool:
    """True if money was requested under this suffix before: for a debt, or for this resumption.

    The debt's locks are taken first, because that request may be about to commit. Errors:
    UNAVAILABLE.
    """
    debts = [one.id for one in await owed(connection, account_id)]
    await locks.take_collectors(connection, account_id, debts)
    if await subscriptions.find_change(connection, change_id) is not None:
        return True
    return bool(await asked_before(connection, account_id, suffix))


async def received(connection: AsyncConnection, attempt: Attempt | None) -> int:
    """Return what came in by a try, in minor units."""
    if attempt is None or attempt.payment_id is None or attempt.status != "succeeded":
        return 0
    return (await payment_store.get(connection, attempt.payment_id)).received_minor or 0


async def foresee(
    connection: AsyncConnection,
    account_id: UUID,
    only: Collection[UUID] | None = None,
    *,
    resumes: bool = False,
    use_balance: bool = True,
    method_id: UUID | None = None,
) -> Foreseen:
    """Return the current subscription as it will be when what is `owed` is paid; nothing is
    written.

    `resumes`: it is also started again, if it is paused then, by this card or its own. Errors:
    those of `running.resume`.
    """
    found = await subscriptions.find_current(connection, account_id)
    if found is None or found.status in ENDED:
        return Foreseen(subscription=found)
    pay = partial(_pay, only=only, resumes=resumes, use_balance=use_balance, method_id=method_id)
    foreseen, _ = await decisions.command(connection, ENGINE, found.id, pay, dry_run=True)
    return foreseen


def resume_as_previewed(w: Work[SubscriptionFacts], paying: Paying, promise: Promise) -> None:
    """Resume for the previewed sums. Errors: PREVIEW_EXPIRED, those of `resume`."""
    running.resume(w, paying)
    change = w.rows.get(SubscriptionChange, paying.change_id)
    if not promise.digest.endswith(_half_of(w.rows.get(Invoice, change.draft_id))):
        raise tokens.expired()


def _half_of(resumption: Invoice | None) -> bytes:
    return _half(resumption and resumption.model_dump(mode="json", include=deciding.SUMS))


def _half(content: Any) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()[:16]


def _pay(
    w: Work[SubscriptionFacts],
    only: Collection[UUID] | None,
    *,
    resumes: bool,
    use_balance: bool,
    method_id: UUID | None,
) -> Foreseen:
    for invoice in invoicing.collected(w.rows, subscription_of(w), ("open",)):
        if only is not None and invoice.id not in only:
            continue
        paid = invoices.receive(w, invoice, invoice.remaining_minor)
        cases.close_case(w, invoice.id, "recovered", "foreseen")
        payment_effects.on_paid(w, paid)
    subscription = subscription_of(w)
    if subscription.status != "paused":
        return Foreseen(subscription=subscription)
    if resumes:
        return _resumed(w, method_id, use_balance=use_balance)
    offered = _offered(w, use_balance=use_balance)
    return Foreseen(subscription=subscription, resumption=offered)


def _offered(w: Work[SubscriptionFacts], *, use_balance: bool) -> Invoice:
    """Return the invoice that would start the subscription again."""
    draft = pauses.draft(w, w.facts.new_id(), scheduling.coming(w, w.facts.at))
    if use_balance:
        draft = invoices.use_balance(w, draft)
    return invoices.whole_steps(w, invoices.bill_carried(w, draft))


def _resumed(w: Work[SubscriptionFacts], method_id: UUID | None, *, use_balance: bool) -> Foreseen:
    """Resume by the real command, and pay it."""
    asked = Paying(change_id=w.facts.new_id(), method_id=method_id, use_balance=use_balance)
    running.resume(w, asked)
    draft = w.rows.get(Invoice, w.rows.get(SubscriptionChange, asked.change_id).draft_id)
    charged = draft.amount_due_minor if draft.status == "draft" else 0
    if charged:
        payment_effects.on_paid(w, invoices.receive(w, draft, charged))
    written = w.rows.get(Invoice, draft.id)
    return Foreseen(subscription=subscription_of(w), resumption=written, charged_minor=charged)
