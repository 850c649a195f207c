"""Applies an operator's act to one of many subscriptions: the single commands, once per request.

A dry run does exactly the same in a transaction that its caller rolls back.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids, keys
from billing.core.errors import Conflict
from billing.matters import commands
from billing.matters import store as matters
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.bulk_acts import store
from billing.money.bulk_acts.schemas import OF_SUBSCRIPTIONS, BulkAct, BulkOutcome, Debt, Overdue
from billing.money.dunning import store as case_store
from billing.money.invoice_requests import card, locks, recovery
from billing.money.invoices import store as invoice_store
from billing.money.subscriptions import service
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.commands import extensions
from billing.money.subscriptions.commands import running as subscription_commands
from billing.money.subscriptions.schemas import Subscription
from billing.platform.audit import service as audit


async def apply(connection: AsyncConnection, subscription_id: UUID, order: BulkAct) -> BulkOutcome:
    """Apply the act to the subscription, or to all its invoices in question, or refuse all of it.

    Errors: NOTHING_OVERDUE, and those of the single commands.
    """
    if order.act in OF_SUBSCRIPTIONS:
        return await _whole(connection, subscription_id, order)
    return await _debts(connection, subscription_id, order)


async def read_again(connection: AsyncConnection, done: BulkOutcome) -> BulkOutcome:
    """Return the current state, such as after the workflow has tried the card."""
    now = [
        await _standing(connection, one.invoice.id, one.amount_minor, one.attempt)
        for one in done.overdue
    ]
    after = await subscriptions.get(connection, done.subscription.id)
    return done.model_copy(update={"subscription": after, "overdue": tuple(now)})


async def _whole(connection: AsyncConnection, subscription_id: UUID, order: BulkAct) -> BulkOutcome:
    """Do an act on the subscription itself."""
    found = await subscriptions.get(connection, subscription_id, lock=True)
    again = await _was_done(connection, found, order)
    if not again:
        verb = (
            partial(subscription_commands.pause, when="period_end")
            if order.act == "pause"
            else partial(
                extensions.extend, days=order.days, reason=order.reason, change_id=ids.new()
            )
        )
        await service.ask(connection, found.id, verb)
        await _note(connection, found, order)
    after = await subscriptions.get(connection, found.id)
    matter = await matters.find(connection, SUBSCRIPTION.workflow_id(found.id))
    return BulkOutcome(
        subscription=after,
        effective_at=after.current_period_end,
        matters=(matter,) if matter is not None else (),
        is_repeated=again,
    )


async def _debts(connection: AsyncConnection, subscription_id: UUID, order: BulkAct) -> BulkOutcome:
    """Do an act on the invoices in recovery or held: all of them or none."""
    found = await subscriptions.get(connection, subscription_id)
    known = [one.invoice_id for one in await store.overdue_of(connection, found.id, order)]
    await locks.take_collectors(connection, found.account_id, known)
    # One of them may have been paid, and its recovery closed, before the locks.
    now = await store.overdue_of(connection, found.id, order)
    debts = [one for one in now if one.invoice_id in known]
    if await _was_done(connection, found, order):
        return BulkOutcome(subscription=found, is_repeated=True)
    if not debts:
        raise Conflict("NOTHING_OVERDUE")
    at = await clock.now(connection, found.account_id)
    before = [(await invoice_store.get(connection, one.invoice_id)) for one in debts]
    asked = [await _do(connection, one, order, at) for one in debts]
    await _note(connection, found, order)
    return BulkOutcome(
        subscription=await subscriptions.get(connection, found.id),
        overdue=await _overdue(connection, debts, [one.remaining_minor for one in before], asked),
        matters=tuple({one.workflow_id: one for one, _ in asked}.values()),
    )


async def _do(
    connection: AsyncConnection, debt: Debt, order: BulkAct, at: datetime
) -> tuple[Matter, str | None]:
    """Run the single command; return the matter to notify, and the key of the requested try."""
    match order.act, debt.case_id:
        case "pause_dunning", UUID() as case_id:
            done = await recovery.pause(connection, case_id, reason=order.reason)
        case "resume_dunning", UUID() as case_id:
            done = await recovery.resume(connection, case_id, reason=order.reason)
        case "extend_dunning", UUID() as case_id:
            done = await recovery.extend(connection, case_id, order.days, reason=order.reason)
        case "forgive", _:
            done = await recovery.forgive(connection, debt.invoice_id, order.reason)
        case "retry", _:
            asked = await card.retry_now(connection, debt.invoice_id, at, suffix=order.suffix)
            return asked.matter, asked.attempt
        case _:
            raise LookupError(f"{order.act} is for no invoice without a case")
    return done, None


async def _overdue(
    connection: AsyncConnection,
    debts: Sequence[Debt],
    owed: Sequence[int],
    asked: Sequence[tuple[Matter, str | None]],
) -> tuple[Overdue, ...]:
    """Return each invoice in its state after the act."""
    found = [
        await _standing(connection, known.invoice_id, amount, attempt)
        for known, amount, (_, attempt) in zip(debts, owed, asked, strict=True)
    ]
    return tuple(found)


async def _standing(
    connection: AsyncConnection, invoice_id: UUID, owed: int, attempt: str | None
) -> Overdue:
    """Return an invoice with the next step of its recovery."""
    case = await case_store.find_of_invoice(connection, invoice_id)
    return Overdue(
        invoice=await invoice_store.get(connection, invoice_id),
        case=case,
        step=await recovery.next_step(connection, case) if case is not None else None,
        amount_minor=owed,
        attempt=attempt,
    )


def _key(subscription: Subscription, order: BulkAct) -> str:
    return keys.command(ids.encode(ids.SUBSCRIPTION, subscription.id), order.suffix)


async def _was_done(
    connection: AsyncConnection, subscription: Subscription, order: BulkAct
) -> bool:
    """True if an earlier try of the request has done it; called under the matter's lock."""
    return await commands.result_of(connection, _key(subscription, order)) is not None


async def _note(connection: AsyncConnection, subscription: Subscription, order: BulkAct) -> None:
    at = await clock.now(connection, subscription.account_id)
    await commands.note(
        connection, key=_key(subscription, order), name="steer",
        workflow_id=SUBSCRIPTION.workflow_id(subscription.id), account_id=subscription.account_id,
        at=at, result=order.act.replace("_", " "),
    )  # fmt: skip
    await audit.record(
        connection, account_id=subscription.account_id, action="subscription.steered",
        subject=ids.encode(ids.SUBSCRIPTION, subscription.id), at=at,
        plan=subscription.plan_key, act=order.act.replace("_", " "), reason=order.reason,
        days=order.days or None, request=order.suffix,
    )  # fmt: skip
