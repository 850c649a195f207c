"""Charges of open invoices that reached no card and wait for their hour, and the order not to."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids
from billing.core.frozen import Frozen
from billing.matters.agenda import Step
from billing.matters.effects import Facts, Work
from billing.matters.schemas import Matter
from billing.money.collecting import again
from billing.money.collecting.rules import PROVIDER_DOWN_EVERY
from billing.money.invoice_requests import asking
from billing.money.payments.schemas import AGAIN_AT
from billing.platform.audit import service as audit


class Waiting(Frozen):
    """The invoices of one matter whose last try reached no card."""

    account_id: UUID
    workflow_id: str
    invoice_ids: list[UUID]


_UNDECIDED_FOR: Final = timedelta(days=2)
"""A try may take so long until it is known that it reached no card."""
# All that `again.try_now` may accept: the decision itself looks again, under its locks. The tries
# are few, of late or of one matter; open invoices may be many.
_WAITING: Final = """
    SELECT i.account_id, i.workflow_id, array_agg(i.id ORDER BY i.id) AS invoice_ids
    FROM payment_attempts t
    JOIN invoices i ON i.id = t.invoice_id
    JOIN accounts a ON a.id = i.account_id
    WHERE i.status = 'open' AND t.status = 'unreached'
        AND t.finished_at > coalesce(a.clock_at, CAST(:real_at AS timestamptz)) - :every
        AND {chosen}
        AND NOT EXISTS (
            SELECT FROM payment_attempts n WHERE n.invoice_id = t.invoice_id
                AND (n.real_started_at, n.id) > (t.real_started_at, t.id))
    GROUP BY 1, 2 ORDER BY 2
    """
_LATELY: Final = """a.clock_at IS NULL AND t.detail ->> :again_at IS NULL
        AND t.real_started_at > CAST(:real_at AS timestamptz) - :within"""
_SHARED: Final = {"again_at": AGAIN_AT, "every": PROVIDER_DOWN_EVERY, "within": _UNDECIDED_FOR}
_OF_ALL: Final = text(_WAITING.format(chosen=_LATELY))
_OF_MATTER: Final = text(_WAITING.format(chosen="i.workflow_id = :workflow_id"))


async def waiting(connection: AsyncConnection) -> list[Waiting]:
    """Return what waits in real time; a test clock is moved by whoever tests."""
    found = await connection.execute(_OF_ALL, _SHARED | {"real_at": clock.real_now()})
    return [Waiting.model_validate(dict(row)) for row in found.mappings()]


async def waiting_of(connection: AsyncConnection, workflow_id: str) -> list[Waiting]:
    """Return what waits of one matter, also of a test clock's account, or was ordered and is still
    to be done.
    """
    named = {"workflow_id": workflow_id, "real_at": clock.real_now()}
    found = await connection.execute(_OF_MATTER, _SHARED | named)
    return [Waiting.model_validate(dict(row)) for row in found.mappings()]


async def try_now(connection: AsyncConnection, found: Waiting) -> tuple[list[Matter], int]:
    """Make the tries due; return the matters to notify, and how many tries are due by an order,
    also by an earlier one.

    Errors: UNAVAILABLE.
    """
    due: list[UUID] = []
    earlier: list[UUID] = []

    def ordering(owner: Matter) -> asking.Verb:
        plan: list[Step] = []  # read once: an order moves no other invoice's step

        def verb(w: Work[Facts], invoice_id: UUID) -> None:
            if not plan:
                plan.extend(asking.plan_of(owner, w))
            if again.is_ordered(w, invoice_id, plan):
                earlier.append(invoice_id)
            elif again.try_now(w, invoice_id, plan):
                due.append(invoice_id)

        return verb

    matters = await asking.ask_all(connection, found.invoice_ids, ordering)
    at = await clock.now(connection, found.account_id)
    for invoice_id in due:
        await audit.record(
            connection, account_id=found.account_id, action="invoice.retry_ordered",
            subject=ids.encode(ids.INVOICE, invoice_id), at=at,
        )  # fmt: skip
    return matters, len(due) + len(earlier)
