"""The rows of a collection and what its decision meets beside them, in one round trip.

Locks are statements of their own before the one that reads: a statement that waits for a lock
reads every other table as it was before it waited. The order is always the same: the matter's
row, the account, its payments by id (docs/rules.md#accounts).
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row, last_of
from billing.matters.effects import InboxEvent, Rows
from billing.matters.effects import Row as Record
from billing.matters.kinds import COLLECTION
from billing.money.dunning.collection import RULES, TERMS, CollectionFacts
from billing.money.dunning.rules import ATTEMPT_WINDOW
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices import store as invoices
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments.schemas import Attempt, Method, Payment
from billing.platform.decisions.service import Engine, Read, now_facts
from billing.platform.decisions.writer import ISSUE

_INSTANT = TypeAdapter(AwareDatetime)
_LOCK_INVOICE = Prepared(text("SELECT id FROM invoices WHERE id = :invoice_id FOR NO KEY UPDATE"))
_LOCK_ACCOUNT = Prepared(
    text(
        """
    SELECT account_id FROM credit_balances
    WHERE account_id = (SELECT account_id FROM invoices WHERE id = :invoice_id)
    FOR NO KEY UPDATE
    """
    )
)
_LOCK_PAYMENTS = Prepared(
    text("SELECT id FROM payments WHERE invoice_id = :invoice_id ORDER BY id FOR NO KEY UPDATE")
)
# The provider's events that wait for a matter, with the payment that each speaks of.
WAITING_EVENTS = """
    ARRAY(SELECT jsonb_build_object(
              'id', e.stripe_event_id, 'replays', e.replays, 'object_id', e.object_id,
              'received_at', e.received_at,
              'about', (SELECT p.id FROM payments p
                        WHERE e.object_id IN (p.stripe_payment_intent_id,
                                              p.stripe_checkout_session_id) LIMIT 1))
          FROM stripe_webhook_events e
          WHERE e.workflow_id = :workflow_id AND e.status = 'received'
          ORDER BY e.received_at LIMIT 10)
"""
# The declines of each card of the account `a` in the window, over all its invoices.
DECLINES = """
    ARRAY(SELECT jsonb_build_object('card', t.payment_method_id, 'count', count(*))
          FROM payment_attempts t
          WHERE t.account_id = a.id AND t.payment_method_id IS NOT NULL
            AND t.started_at >= coalesce(a.clock_at, :real_at) - :window
            AND t.status IN ('declined', 'action')
          GROUP BY t.payment_method_id)
"""
_READ = Prepared(
    text(
        f"""
    SELECT to_jsonb(i) AS invoice, a.clock_at, a.zone, a.is_test,
           ARRAY(SELECT to_jsonb(n) FROM credit_notes n WHERE n.invoice_id = i.id) AS credit_notes,
           ARRAY(SELECT to_jsonb(p) FROM payments p WHERE p.invoice_id = i.id
                 ORDER BY p.created_at, p.id) AS payments,
           ARRAY(SELECT to_jsonb(t) FROM payment_attempts t WHERE t.invoice_id = i.id
                 ORDER BY t.real_started_at, t.id) AS attempts,
           ARRAY(SELECT to_jsonb(d) FROM dunning_cases d WHERE d.invoice_id = i.id) AS cases,
           ARRAY(SELECT to_jsonb(m) FROM payment_methods m
                 WHERE m.account_id = i.account_id ORDER BY m.created_at, m.id) AS methods,
           ARRAY(SELECT to_jsonb(b) FROM balance_entries b WHERE b.invoice_id = i.id
                 ORDER BY b.at, b.id) AS balance_entries,
           {DECLINES} AS declines,
           {WAITING_EVENTS} AS waiting_events
    FROM invoices i JOIN accounts a ON a.id = i.account_id
    WHERE i.id = :invoice_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, CollectionFacts]:
    """The collection of one invoice; a look locks the matter's row alone."""
    invoice_id = wanted.subject_id
    named = {"invoice_id": invoice_id}
    locks = [(_LOCK_INVOICE, named)] if wanted.locked else []
    if wanted.deciding:
        locks += [(_LOCK_ACCOUNT, named), (_LOCK_PAYMENTS, named)]
    instants = now_facts(None)
    values = {
        **named,
        "workflow_id": COLLECTION.workflow_id(invoice_id),
        "real_at": instants["real_at"],
        "window": ATTEMPT_WINDOW,
    }
    found = await last_of(connection, *locks, (_READ, values))
    if not found:
        raise NotFound("INVOICE_NOT_FOUND", "no such invoice")
    (row,) = found
    facts = CollectionFacts(
        at=row["clock_at"] or instants["real_at"],
        real_at=instants["real_at"],
        new_id=ids.new,
        answer=wanted.answer,
        declines=declines(row["declines"]),
        terms=TERMS,
        zone=row["zone"],
        is_test=row["is_test"],
        invoice_id=invoice_id,
        clock_at=row["clock_at"],
    )
    return Rows(_rows(row), waiting_events(row["waiting_events"])), facts


def waiting_events(rows: Iterable[dict[str, Any]]) -> list[InboxEvent]:
    """Waiting events as they come out of WAITING_EVENTS."""
    return [
        InboxEvent(
            id=one["id"],
            replays=one["replays"],
            object_id=one["object_id"],
            received_at=_INSTANT.validate_python(one["received_at"]),
            about=UUID(one["about"]) if one["about"] else None,
        )
        for one in rows
    ]


def declines(rows: Iterable[dict[str, Any]]) -> dict[UUID, int]:
    """Declines by card as they come out of DECLINES."""
    return {UUID(one["card"]): one["count"] for one in rows}


def _rows(row: Row) -> Iterable[Record]:
    yield Invoice.model_validate(row["invoice"])
    yield from map(Payment.model_validate, row["payments"])
    yield from map(Attempt.model_validate, row["attempts"])
    yield from map(DunningCase.model_validate, row["cases"])
    yield from map(Method.model_validate, row["methods"])
    yield from map(BalanceEntry.model_validate, row["balance_entries"])
    yield from map(CreditNote.model_validate, row["credit_notes"])


ENGINE = Engine.of(RULES, read, **{ISSUE: invoices.issue_number})
