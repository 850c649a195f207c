"""An operator's commands on the recovery of an invoice: pause, resume, extend, forgive."""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.matters import commands
from billing.matters.agenda import Step, head
from billing.matters.effects import Work
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.dunning import cases, store
from billing.money.dunning.schemas import DunningCase
from billing.money.invoice_requests import locks
from billing.money.invoice_requests.asking import ENGINES, Verb, ask, ask_all, may_try
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.subscriptions import payment_effects
from billing.platform.decisions.service import Read


async def pause(
    connection: AsyncConnection, case_id: UUID, *, reason: str = "", with_all: bool = False
) -> Matter:
    """Pause slots and final action until resumed; return the matter to notify."""
    verb = partial(cases.pause, reason=reason, with_all=with_all)
    return await _command_case(connection, case_id, verb)


async def resume(connection: AsyncConnection, case_id: UUID, *, reason: str = "") -> Matter:
    """Continue the slots where they stopped; a missed one runs now, the next keep their gaps."""
    return await _command_case(connection, case_id, partial(cases.resume, reason=reason))


async def extend(
    connection: AsyncConnection, case_id: UUID, days: int, *, reason: str = ""
) -> Matter:
    """Move the coming slots and the final action by `days`. Errors: INVALID_EXTENSION."""
    return await _command_case(connection, case_id, partial(cases.extend, days=days, reason=reason))


async def extend_once(
    connection: AsyncConnection,
    case: DunningCase,
    days: int,
    at: datetime,
    *,
    suffix: str,
    reason: str = "",
) -> Matter:
    """Extend the case once per `suffix`: a repeated request adds no days."""
    invoice = await locks.take(connection, case.invoice_id)
    order = keys.command(ids.encode(ids.DUNNING_CASE, case.id), suffix)
    if await commands.result_of(connection, order) is not None:
        return await locks.collector(connection, invoice)
    matter = await extend(connection, case.id, days, reason=reason)
    await commands.note(
        connection, key=order, name="extend_dunning", workflow_id=matter.workflow_id,
        account_id=case.account_id, at=at, result=f"{days} days",
    )  # fmt: skip
    return matter


async def forgive(
    connection: AsyncConnection,
    invoice_id: UUID,
    reason: str,
    *,
    again: bool = False,
    between_steps: bool = False,
) -> Matter:
    """Forgive what is still owed by a credit note: for its subscription it counts as paid.

    Returns the matter to notify. `again`: an earlier try of the same request may have done it.
    `between_steps`: its matter does nothing else meanwhile. Errors: INVOICE_NOT_FOUND,
    INVOICE_STATE, PAYMENT_PENDING, UNAVAILABLE.
    """
    invoice = await locks.take(connection, invoice_id)
    owner = await locks.collector(connection, invoice)
    if again and invoice.settlement == "forgiven":
        return owner
    tries = not between_steps and may_try(owner)
    return await ask(connection, invoice, partial(_forgive, reason=reason, tries=tries))


async def forgive_all(
    connection: AsyncConnection,
    invoice_ids: Collection[UUID],
    reason: str,
    *,
    numbered: bool,
) -> list[Matter]:
    """Forgive what is still owed of several invoices, whose collectors the caller has locked.

    Returns the matters to notify. Unless `numbered`, the credit notes are left to the COMMIT.
    Errors: INVOICE_STATE, PAYMENT_PENDING, UNAVAILABLE.
    """

    def forgiving(owner: Matter) -> Verb:
        return partial(_forgive, reason=reason, tries=may_try(owner))

    return await ask_all(connection, invoice_ids, forgiving, numbered=numbered)


async def next_steps(
    connection: AsyncConnection, listed: Collection[DunningCase]
) -> dict[UUID, Step]:
    """Return the next automatic step of each open case that has one, by its invoice.

    Each collector is read once, however many of its invoices are listed.
    """
    wanted = {one.invoice_id for one in listed if one.is_open}
    collected = await invoice_store.by_collector(connection, wanted)
    found: dict[UUID, Step] = {}
    for invoices in collected.values():
        owner = await locks.collector(connection, invoices[0])
        engine = ENGINES[owner.kind]
        rows, facts = await engine.read(connection, Read(owner.subject_id, locked=False))
        plan = list(engine.rules.plan(rows, facts))
        for invoice in invoices:
            name = ids.encode(ids.INVOICE, invoice.id)
            step = head(step for step in plan if step.invoice == name)
            if step is not None:
                found[invoice.id] = step
    return found


def _forgive(w: Work[Any], invoice_id: UUID, *, reason: str, tries: bool) -> None:
    if not w.rows.get(Invoice, invoice_id).takes_money and cases.is_recovering(w.rows, invoice_id):
        # An earlier release left the case open when a note had settled its invoice.
        cases.close_case(w, invoice_id, "canceled", reason)
        return
    forgiven = cases.forgive(w, invoice_id, reason, tries=tries)
    # Then the decision has the facts of a subscription, which only `Work[Any]` admits.
    is_subscriptions = forgiven.workflow_id.startswith(f"{SUBSCRIPTION.name}/")
    if is_subscriptions and forgiven.status == "paid":
        payment_effects.on_paid(w, forgiven)


async def _command_case(connection: AsyncConnection, case_id: UUID, verb: Verb) -> Matter:
    """Change an open case. Errors: DUNNING_CASE_NOT_FOUND, DUNNING_CASE_CLOSED."""
    case = await store.get(connection, case_id)
    cases.demand_open_case(case)
    return await ask(connection, await invoice_store.get(connection, case.invoice_id), verb)
