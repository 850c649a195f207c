"""Asks the matter that collects an invoice: any command on the invoice is decided over its rows."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters.agenda import Step
from billing.matters.effects import Facts, Wake, Work
from billing.matters.kinds import CHARGE, COLLECTION, PURCHASE, SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.card_usage.reading import ENGINE as CHARGES
from billing.money.collecting.reading import ENGINE as COLLECTIONS
from billing.money.invoice_requests import locks
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import Invoice
from billing.money.purchases.reading import ENGINE as PURCHASES
from billing.money.subscriptions.reading import ENGINE as SUBSCRIPTIONS
from billing.platform.decisions import service as decisions
from billing.platform.decisions.service import Engine

T = TypeVar("T")
Verb = Callable[[Work[Facts], UUID], None]
"""A change of the invoice with this id."""
ENGINES: Final[dict[str, Engine[Any, Any]]] = {
    SUBSCRIPTION.name: SUBSCRIPTIONS,
    COLLECTION.name: COLLECTIONS,
    PURCHASE.name: PURCHASES,
    CHARGE.name: CHARGES,
}
"""Of each kind of matter that collects invoices."""


def may_try(owner: Matter) -> bool:
    """True if a try of the matter may be under way; one that it left open may be why it is halted,
    which a command frees.
    """
    return owner.status != "halted"


def plan_of(owner: Matter, w: Work[Any]) -> list[Step]:
    """Return the open steps of an invoice's collector, in the middle of a decision of it."""
    return ENGINES[owner.kind].rules.plan(w.rows, w.facts)


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
        ENGINES[owner.kind],
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
        ENGINES[owner.kind],
        owner.subject_id,
        lambda w: question(w, invoice.id),
        dry_run=True,
        known=frozenset({invoice.id, *beside}),
    )
    return answer
