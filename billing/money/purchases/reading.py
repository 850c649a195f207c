"""Reads the rows of a purchase and the facts of its decision in one round trip."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.core.failpoints import failpoint
from billing.core.prepared import Prepared, last_of
from billing.ledger.credits import rollover, verbs
from billing.matters.deciding import Rules
from billing.matters.effects import Rows
from billing.matters.kinds import PURCHASE
from billing.money.discounts import store as discount_store
from billing.money.discounts.schemas import Discount
from billing.money.invoices import account_currency
from billing.money.invoices.operations import LEAVE_CURRENCY
from billing.money.invoices.schemas import CreditNote
from billing.money.payments import reading
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.verbs import COLLECTING
from billing.money.purchases import outcomes, transitions
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.rules import agenda
from billing.money.purchases.schemas import Purchase
from billing.money.purchases.views import view
from billing.money.refunds.reading import REVERSALS, TYPES
from billing.money.taxation.reading import TAXATION, shown
from billing.money.top_ups import service as top_ups
from billing.platform.decisions.service import Engine, Read, now_facts

_LOCK = reading.lock("purchases")
_LOCK_BOTH = Prepared(
    text(
        """
    SELECT p.id FROM purchases p JOIN credit_balances b ON b.account_id = p.account_id
    WHERE p.id = :subject_id FOR NO KEY UPDATE OF p, b
    """
    )
)
_READ = Prepared(
    text(
        f"""
    WITH mine AS (SELECT * FROM invoices WHERE workflow_id = :workflow_id)
    SELECT to_jsonb(p) || jsonb_build_object('credits', p.credits::text) AS purchase,
           a.clock_at, a.is_test,
           {reading.COLLECTED},
           {reading.lines()} AS lines,
           {reading.METHODS} AS methods,
           {reading.balance_entries()} AS balance_entries,
           {reading.hanging("credit_notes", "x.id")} AS credit_notes,
           {REVERSALS},
           {reading.declines()} AS declines,
           {reading.balance("p.currency")} AS balance_minor,
           ARRAY(SELECT {discount_store.ROW} FROM discounts x
                 WHERE x.purchase_id = p.id) AS discounts,
           {TAXATION} AS taxation,
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events
    FROM purchases p JOIN accounts a ON a.id = p.account_id
    WHERE p.id = :subject_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, PurchaseFacts]:
    """Read one purchase; only a decision locks more than its row. Errors: PURCHASE_NOT_FOUND."""
    purchase_id = wanted.subject_id
    named, of_matter = {"subject_id": purchase_id}, PURCHASE.workflow_id(purchase_id)
    window = {"real_at": real_now(), "window": ATTEMPT_WINDOW}
    locks: list[tuple[Prepared, dict[str, Any]]] = [(_LOCK, named)] if wanted.locked else []
    if wanted.deciding:
        locks = [(_LOCK_BOTH, named), (reading.LOCK_PAYMENTS, {"workflow_id": of_matter})]
    found = await last_of(connection, *locks, (_READ, named | window | {"workflow_id": of_matter}))
    if not found:
        raise NotFound("PURCHASE_NOT_FOUND")
    (row,) = found
    facts = PurchaseFacts(
        **now_facts(row["clock_at"], real_now()),
        new_id=ids.new,
        answer=wanted.answer,
        database_at=row["database_at"],
        declines=reading.declines_by_card(row),
        is_test=row["is_test"],
        taxation=shown(row["taxation"]),
        purchase_id=purchase_id,
    )
    purchase = Purchase.model_validate(row["purchase"])
    rows = reading.rows_of(row, purchase, discounts=Discount, credit_notes=CreditNote, **TYPES)
    facts.balance_minor = row["balance_minor"] - reading.booked_here(rows)
    return rows, facts


async def _grant(connection: AsyncConnection, **values: Any) -> None:
    await failpoint("purchase.in_fulfil")
    await rollover.grant(connection, **values)


ENGINE = Engine(
    rules=Rules(
        view=view, agenda=agenda, transition=transitions.transition, begun=transitions.begun
    ),
    read=read,
    asking=frozenset({"open", "check", "retire", "expire", "cancel"}),
    verbs={
        **COLLECTING,
        verbs.GRANT: _grant,
        LEAVE_CURRENCY: account_currency.leave,
        outcomes.TOP_UP_COMPLETED: top_ups.completed,
        outcomes.TOP_UP_FAILED: top_ups.failed,
    },
)
