"""The rows of a purchase and what its decision meets beside them, in one round trip.

Locks are statements of their own before the one that reads, always in the same order: the
purchase's row, the account, its payments by id (docs/rules.md#accounts).
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.errors import NotFound
from billing.core.failpoints import failpoint
from billing.core.prepared import Prepared, Row, last_of
from billing.ledger.credits import service as credits
from billing.matters.effects import Row as Record
from billing.matters.effects import Rows
from billing.matters.kinds import PURCHASE
from billing.money.dunning.reading import WAITING_EVENTS, waiting_events
from billing.money.invoices import store as invoices
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases import transitions
from billing.money.purchases.rules import agenda
from billing.money.purchases.schemas import Purchase
from billing.money.purchases.transitions import PurchaseFacts
from billing.money.purchases.views import view
from billing.money.top_ups import service as top_ups
from billing.platform.decisions.service import Engine, Read, now_facts

_LOCK = Prepared(text("SELECT id FROM purchases WHERE id = :purchase_id FOR NO KEY UPDATE"))
_LOCK_BOTH = Prepared(
    text(
        """
    SELECT p.id FROM purchases p JOIN credit_balances b ON b.account_id = p.account_id
    WHERE p.id = :purchase_id FOR NO KEY UPDATE OF p, b
    """
    )
)
_LOCK_PAYMENTS = Prepared(
    text(
        """
    SELECT id FROM payments
    WHERE invoice_id IN (SELECT id FROM invoices WHERE workflow_id = :workflow_id)
    ORDER BY id FOR NO KEY UPDATE
    """
    )
)
_READ = Prepared(
    text(
        f"""
    WITH billed AS (SELECT * FROM invoices WHERE workflow_id = :workflow_id)
    SELECT to_jsonb(p) || jsonb_build_object('credits', p.credits::text) AS purchase,
           a.clock_at, a.is_test,
           ARRAY(SELECT to_jsonb(i) FROM billed i ORDER BY i.created_at, i.id) AS invoices,
           ARRAY(SELECT to_jsonb(l) || jsonb_build_object('quantity', l.quantity::text,
                                                          'unit_amount', l.unit_amount::text)
                 FROM invoice_lines l WHERE l.invoice_id IN (SELECT id FROM billed)
                 ORDER BY l.invoice_id, l.position) AS lines,
           ARRAY(SELECT to_jsonb(f) FROM payments f WHERE f.invoice_id IN (SELECT id FROM billed)
                 ORDER BY f.created_at, f.id) AS payments,
           ARRAY(SELECT to_jsonb(t) FROM payment_attempts t
                 WHERE t.invoice_id IN (SELECT id FROM billed)
                 ORDER BY t.real_started_at, t.id) AS attempts,
           ARRAY(SELECT to_jsonb(b) FROM balance_entries b
                 WHERE b.account_id = p.account_id AND b.invoice_id IN (SELECT id FROM billed)
                 ORDER BY b.at, b.id) AS balance_entries,
           {WAITING_EVENTS} AS waiting_events
    FROM purchases p JOIN accounts a ON a.id = p.account_id
    WHERE p.id = :purchase_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, PurchaseFacts]:
    """One purchase; a look locks its row alone. Errors: PURCHASE_NOT_FOUND."""
    purchase_id = wanted.subject_id
    named, of_matter = {"purchase_id": purchase_id}, PURCHASE.workflow_id(purchase_id)
    locks: list[tuple[Prepared, dict[str, Any]]] = [(_LOCK, named)] if wanted.locked else []
    if wanted.deciding:
        locks = [(_LOCK_BOTH, named), (_LOCK_PAYMENTS, {"workflow_id": of_matter})]
    found = await last_of(connection, *locks, (_READ, named | {"workflow_id": of_matter}))
    if not found:
        raise NotFound("PURCHASE_NOT_FOUND", "no such purchase")
    (row,) = found
    facts = PurchaseFacts(
        **now_facts(row["clock_at"]),
        new_id=ids.new,
        answer=wanted.answer,
        is_test=row["is_test"],
        purchase_id=purchase_id,
        clock_at=row["clock_at"],
    )
    return Rows(_rows(row), waiting_events(row["waiting_events"])), facts


def _rows(row: Row) -> Iterable[Record]:
    yield Purchase.model_validate(row["purchase"])
    yield from map(Invoice.model_validate, row["invoices"])
    yield from map(InvoiceLine.model_validate, row["lines"])
    yield from map(Payment.model_validate, row["payments"])
    yield from map(Attempt.model_validate, row["attempts"])
    yield from map(BalanceEntry.model_validate, row["balance_entries"])


async def _grant(connection: AsyncConnection, **values: Any) -> None:
    await failpoint("purchase.in_fulfil")
    await credits.grant(connection, **values)


ENGINE = Engine(
    read=read,
    view=view,
    agenda=agenda,
    transition=transitions.transition,
    begun=transitions.begun,
    asking=frozenset({"open", "check", "retire", "expire"}),
    verbs={
        "issue": invoices.issue_number,
        transitions.GRANT: _grant,
        transitions.TOP_UP_COMPLETED: top_ups.completed,
        transitions.TOP_UP_FAILED: top_ups.failed,
    },
)
