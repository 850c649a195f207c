"""Applies an operator's act to one of many subscriptions: the single commands, once per request.

A dry run does the same, without numbers, in a transaction that its caller rolls back.
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
from billing.money.bulk_acts.schemas import OF_SUBSCRIPTIONS, BulkAct, BulkOutcome, Overdue
from billing.money.dunning import cases
from billing.money.dunning import store as case_store
from billing.money.invoice_requests import asking, card, locks, recovery
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
    acted = [(one.invoice.id, one.amount_minor, one.attempt) for one in done.overdue]
    now = await _overdue(connection, acted)
    after = await subscriptions.get(connection, done.subscription.id)
    return done.model_copy(update={"subscription": after, "overdue": now})


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
    known = await store.overdue_of(connection, found.id, order)
    await locks.take_collectors(connection, found.account_id, known)
    # One of them may have been paid, and its recovery closed, before the locks.
    now = await store.overdue_of(connection, found.id, order)
    debts = [one for one in now if one in known]
    if await _was_done(connection, found, order):
        return BulkOutcome(subscription=found, is_repeated=True)
    if not debts:
        raise Conflict("NOTHING_OVERDUE")
    at = await clock.now(connection, found.account_id)
    before = await invoice_store.by_id(connection, debts)
    owed = [before[one].remaining_minor for one in debts]
    asked, attempts = await _do(connection, debts, order, at)
    await _note(connection, found, order)
    return BulkOutcome(
        subscription=await subscriptions.get(connection, found.id),
        overdue=await _overdue(connection, list(zip(debts, owed, attempts, strict=True))),
        matters=tuple({one.workflow_id: one for one in asked}.values()),
    )


async def _do(
    connection: AsyncConnection, debts: Sequence[UUID], order: BulkAct, at: datetime
) -> tuple[list[Matter], list[str | None]]:
    """Act on the invoices; return the matters to notify, and the keys of the requested tries."""
    none: list[str | None] = [None] * len(debts)
    if order.act == "retry":
        tries = [await card.retry_now(connection, one, at, suffix=order.suffix) for one in debts]
        return [one.matter for one in tries], [one.attempt for one in tries]
    if order.act == "forgive":
        numbered = not order.is_dry_run
        asked = await recovery.forgive_all(connection, debts, order.reason, numbered=numbered)
        return asked, none
    return await asking.ask_all(connection, debts, lambda _: _of_cases(order)), none


def _of_cases(order: BulkAct) -> asking.Verb:
    match order.act:
        case "pause_dunning":
            return partial(cases.pause, reason=order.reason)
        case "resume_dunning":
            return partial(cases.resume, reason=order.reason)
        case "extend_dunning":
            return partial(cases.extend, days=order.days, reason=order.reason)
        case _:
            raise LookupError(f"{order.act} is no act on cases")


async def _overdue(
    connection: AsyncConnection, acted: Sequence[tuple[UUID, int, str | None]]
) -> tuple[Overdue, ...]:
    """Return each invoice after the act, with what it owed before and the key of its try."""
    invoices = await invoice_store.by_id(connection, [one for one, _, _ in acted])
    found = await case_store.of_invoices(connection, list(invoices))
    steps = await recovery.next_steps(connection, found.values())
    return tuple(
        Overdue(
            invoice=invoices[invoice_id],
            case=found.get(invoice_id),
            step=steps.get(invoice_id),
            amount_minor=owed,
            attempt=attempt,
        )
        for invoice_id, owed, attempt in acted
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
        connection, account_id=subscription.account_id, action=store.STEERED,
        subject=ids.encode(ids.SUBSCRIPTION, subscription.id), at=at,
        plan=subscription.plan_key, act=order.act.replace("_", " "), reason=order.reason,
        days=order.days or None, request=order.suffix,
    )  # fmt: skip
