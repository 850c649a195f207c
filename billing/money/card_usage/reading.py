"""The rows of a use that a card pays and what its decision meets beside them, in one round trip.

The locks before are those of any collector (dunning/reading.py); the matter's row is the record.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row, last_of
from billing.matters.effects import Row as Record
from billing.matters.effects import Rows
from billing.matters.kinds import CHARGE
from billing.metering.usage import service as usage
from billing.money.card_usage import transitions
from billing.money.card_usage.rules import agenda
from billing.money.card_usage.schemas import ChargedUse
from billing.money.card_usage.transitions import SET_STATUS, ChargeFacts
from billing.money.dunning.reading import DECLINES, WAITING_EVENTS, declines, waiting_events
from billing.money.dunning.rules import ATTEMPT_WINDOW
from billing.money.invoices import store as invoices
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.payments.schemas import Attempt, Method, Payment
from billing.platform.decisions.service import Engine, Read, now_facts
from billing.platform.decisions.writer import ISSUE

_LOCK_RECORD = Prepared(
    text("SELECT id FROM billing_records WHERE id = :record_id FOR NO KEY UPDATE")
)
_LOCK_ACCOUNT = Prepared(
    text(
        """
    SELECT account_id FROM credit_balances
    WHERE account_id = (SELECT account_id FROM billing_records WHERE id = :record_id)
    FOR NO KEY UPDATE
    """
    )
)
_LOCK_PAYMENTS = Prepared(
    text(
        """
    SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id
    WHERE i.workflow_id = :workflow_id ORDER BY p.id FOR NO KEY UPDATE OF p
    """
    )
)
# Every invoice of the record is read, paid and void ones too: an event may speak of any of them.
_READ = Prepared(
    text(
        f"""
    SELECT r.id, r.account_id, r.billing_method, r.billing_status, r.total_amount, r.currency,
           a.clock_at, a.is_test,
           ARRAY(SELECT to_jsonb(i) FROM invoices i WHERE i.workflow_id = :workflow_id
                 ORDER BY i.created_at, i.id) AS invoices,
           ARRAY(SELECT to_jsonb(l) || jsonb_build_object('quantity', l.quantity::text,
                                                          'unit_amount', l.unit_amount::text)
                 FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
                 WHERE i.workflow_id = :workflow_id ORDER BY l.invoice_id, l.position) AS lines,
           ARRAY(SELECT to_jsonb(p) FROM payments p JOIN invoices i ON i.id = p.invoice_id
                 WHERE i.workflow_id = :workflow_id ORDER BY p.created_at, p.id) AS payments,
           ARRAY(SELECT to_jsonb(t) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
                 WHERE i.workflow_id = :workflow_id ORDER BY t.real_started_at, t.id) AS attempts,
           ARRAY(SELECT to_jsonb(m) FROM payment_methods m
                 WHERE m.account_id = r.account_id ORDER BY m.created_at, m.id) AS methods,
           ARRAY(SELECT to_jsonb(b) FROM balance_entries b JOIN invoices i ON i.id = b.invoice_id
                 WHERE i.workflow_id = :workflow_id ORDER BY b.at, b.id) AS balance_entries,
           {DECLINES} AS declines,
           {WAITING_EVENTS} AS waiting_events
    FROM billing_records r JOIN accounts a ON a.id = r.account_id
    WHERE r.id = :record_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, ChargeFacts]:
    """The charge of one use; a look locks the matter's row alone."""
    record = {"record_id": wanted.subject_id}
    matter = {"workflow_id": CHARGE.workflow_id(wanted.subject_id)}
    locks: list[tuple[Prepared, Mapping[str, Any]]] = []
    if wanted.locked:
        locks += [(_LOCK_RECORD, record)]
    if wanted.deciding:
        locks += [(_LOCK_ACCOUNT, record), (_LOCK_PAYMENTS, matter)]
    instants = now_facts(None)
    window = {"real_at": instants["real_at"], "window": ATTEMPT_WINDOW}
    found = await last_of(connection, *locks, (_READ, record | matter | window))
    if not found:
        raise NotFound("BILLING_RECORD_NOT_FOUND", "no such billing record")
    (row,) = found
    facts = ChargeFacts(
        at=row["clock_at"] or instants["real_at"],
        real_at=instants["real_at"],
        new_id=ids.new,
        answer=wanted.answer,
        declines=declines(row["declines"]),
        is_test=row["is_test"],
        clock_at=row["clock_at"],
    )
    return Rows(_rows(row), waiting_events(row["waiting_events"])), facts


def _rows(row: Row) -> Iterable[Record]:
    yield ChargedUse.model_validate(row)
    yield from map(Invoice.model_validate, row["invoices"])
    yield from map(InvoiceLine.model_validate, row["lines"])
    yield from map(Payment.model_validate, row["payments"])
    yield from map(Attempt.model_validate, row["attempts"])
    yield from map(Method.model_validate, row["methods"])
    yield from map(BalanceEntry.model_validate, row["balance_entries"])


ENGINE = Engine(
    read=read,
    view=transitions.view,
    agenda=agenda,
    transition=transitions.transition,
    begun=transitions.begun,
    verbs={ISSUE: invoices.issue_number, SET_STATUS: usage.set_status},
)
