"""An operator's commands on the recovery of an invoice: pause, resume, extend, forgive; and `ask`
and `learn`, by which any command on an invoice reaches the matter that collects it.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.matters import commands
from billing.matters.agenda import Step, head
from billing.matters.effects import Facts, Wake, Work
from billing.matters.kinds import CHARGE, COLLECTION, PURCHASE, SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.card_usage.reading import ENGINE as CHARGES
from billing.money.collecting.reading import ENGINE as COLLECTIONS
from billing.money.dunning import cases, store
from billing.money.dunning.schemas import DunningCase
from billing.money.invoice_requests import locks
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.purchases.reading import ENGINE as PURCHASES
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.reading import ENGINE as SUBSCRIPTIONS
from billing.platform.decisions import service as decisions
from billing.platform.decisions.service import Engine, Read

T = TypeVar("T")
Verb = Callable[[Work[Facts], UUID], None]
"""A change of the invoice with this id."""
_ENGINES: Final[dict[str, Engine[Any, Any]]] = {
    SUBSCRIPTION.name: SUBSCRIPTIONS,
    COLLECTION.name: COLLECTIONS,
    PURCHASE.name: PURCHASES,
    CHARGE.name: CHARGES,
}


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
    numbered: bool = True,
) -> list[Matter]:
    """Forgive what is still owed of several invoices, whose collectors the caller has locked.

    Returns the matters to notify. Unless `numbered`, the credit notes are left to the COMMIT.
    Errors: INVOICE_STATE, PAYMENT_PENDING, UNAVAILABLE.
    """

    def forgiving(owner: Matter) -> Verb:
        return partial(_forgive, reason=reason, tries=may_try(owner))

    return await ask_all(connection, invoice_ids, forgiving, numbered=numbered)


def may_try(owner: Matter) -> bool:
    """True if a try of the matter may be under way; one that it left open may be why it is halted,
    which a command frees.
    """
    return owner.status != "halted"


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
        engine = _ENGINES[owner.kind]
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
    if forgiven.workflow_id.startswith(f"{SUBSCRIPTION.name}/"):
        payment_effects.on_paid(w, forgiven)


async def _command_case(connection: AsyncConnection, case_id: UUID, verb: Verb) -> Matter:
    """Change an open case. Errors: DUNNING_CASE_NOT_FOUND, DUNNING_CASE_CLOSED."""
    case = await store.get(connection, case_id)
    cases.demand_open_case(case)
    return await ask(connection, await invoice_store.get(connection, case.invoice_id), verb)


async def ask(
    connection: AsyncConnection, invoice: Invoice, verb: Verb, *, beside: Collection[UUID] = ()
) -> Matter:
    """Decide a change under all locks of the invoice's collector, and wake that matter; invoices
    `beside` it are read, too. Errors: UNAVAILABLE where another collects it by then.
    """
    owner = await locks.collector(connection, invoice)
    if not await _ask_owner(connection, owner, [invoice.id], verb, beside=beside):
        raise locks.passed_on()
    return await locks.collector(connection, await invoice_store.get(connection, invoice.id))


async def ask_all(
    connection: AsyncConnection,
    invoice_ids: Collection[UUID],
    verb_of: Callable[[Matter], Verb],
    *,
    numbered: bool = True,
) -> list[Matter]:
    """Decide the same change of several invoices, oldest first, in one decision of each collector;
    return the matters to notify. One that the change of another passes on is changed by its next
    collector. `numbered` as for `decisions.command`. Errors: as for `ask`.
    """
    asked: dict[str, Matter] = {}
    left = set(invoice_ids)
    while left:
        before = len(left)
        for name, invoices in (await invoice_store.by_collector(connection, left)).items():
            owner = await locks.collector(connection, invoices[0])
            mine = [one.id for one in invoices]
            left -= await _ask_owner(connection, owner, mine, verb_of(owner), numbered=numbered)
            asked[name] = await locks.collector(connection, invoices[0])
        if len(left) == before:
            raise locks.passed_on()
    return list(asked.values())


async def _ask_owner(
    connection: AsyncConnection,
    owner: Matter,
    invoice_ids: Sequence[UUID],
    verb: Verb,
    *,
    beside: Collection[UUID] = (),
    numbered: bool = True,
) -> set[UUID]:
    """Return the invoices that are changed: those that it collected when it was their turn."""

    def decide(w: Work[Facts]) -> set[UUID]:
        changed = set()
        for one in invoice_ids:
            if w.rows.get(Invoice, one).workflow_id == owner.workflow_id:
                verb(w, one)
                changed.add(one)
        w.do(Wake(owner.workflow_id))
        return changed

    known = frozenset({*invoice_ids, *beside})
    changed, _ = await decisions.command(
        connection,
        _ENGINES[owner.kind],
        owner.subject_id,
        decide,
        known=known,
        numbered=numbered,
    )
    return changed


async def learn(
    connection: AsyncConnection,
    invoice: Invoice,
    question: Callable[[Work[Facts], UUID], T],
    *,
    beside: Collection[UUID],
) -> T:
    """Answer a question about the invoice from the rows that a command would read."""
    owner = await locks.collector(connection, invoice)
    answer, _ = await decisions.command(
        connection,
        _ENGINES[owner.kind],
        owner.subject_id,
        lambda w: question(w, invoice.id),
        dry_run=True,
        known=frozenset({invoice.id, *beside}),
    )
    return answer
