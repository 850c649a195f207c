"""The rows of a collection and the other facts of its decision, read in one round trip."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, last_of
from billing.matters.effects import Rows
from billing.matters.kinds import COLLECTION
from billing.money.collecting.collection import RULES, CollectionFacts
from billing.money.dunning.rules import for_collection
from billing.money.dunning.schemas import DunningCase
from billing.money.dunning.store import ALL_PAUSED
from billing.money.invoices.schemas import CreditNote
from billing.money.payments import reading
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.verbs import COLLECTING
from billing.money.refunds.reading import REVERSALS, TYPES
from billing.platform.decisions.service import Engine, Read, now_facts

_LOCK_INVOICE = reading.lock("invoices")
_LOCK_ACCOUNT = reading.lock_account("invoices")
_LOCK_PAYMENTS = Prepared(
    text("SELECT id FROM payments WHERE invoice_id = :subject_id ORDER BY id FOR NO KEY UPDATE")
)
_READ = Prepared(
    text(
        f"""
    WITH mine AS (
        SELECT * FROM invoices WHERE id = :subject_id OR id = ANY (CAST(:known AS uuid[])))
    SELECT a.clock_at, a.zone, a.is_test, {ALL_PAUSED},
           (SELECT s.payment_method_id FROM subscriptions s WHERE s.id = i.subscription_id)
               AS own_card,
           (SELECT p.dunning FROM subscriptions s JOIN plans p ON p.id = s.plan_id
            WHERE s.id = i.subscription_id) AS dunning,
           {reading.COLLECTED},
           {reading.REVISION},
           {reading.hanging("credit_notes", "x.id")} AS credit_notes,
           {reading.hanging("dunning_cases", "x.id")} AS cases,
           {REVERSALS},
           {reading.lines()} AS lines,
           {reading.METHODS} AS methods,
           {reading.balance_entries()} AS balance_entries,
           {reading.balance("i.currency")} AS balance_minor,
           {reading.declines()} AS declines,
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events
    FROM mine i JOIN accounts a ON a.id = i.account_id
    WHERE i.id = :subject_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, CollectionFacts]:
    """Read the collection of one invoice and the `known` ones beside it; a look locks only the
    matter's row.
    """
    named = {"subject_id": wanted.subject_id}
    locks = [(_LOCK_INVOICE, named)] if wanted.locked else []
    if wanted.deciding:
        locks += [(_LOCK_ACCOUNT, named), (_LOCK_PAYMENTS, named)]
    real_at = real_now()
    values = {
        **named,
        "workflow_id": COLLECTION.workflow_id(wanted.subject_id),
        "known": list(wanted.known),
        "real_at": real_at,
        "window": ATTEMPT_WINDOW,
    }
    found = await last_of(connection, *locks, (_READ, values))
    if not found:
        raise NotFound("INVOICE_NOT_FOUND")
    (row,) = found
    rows = reading.rows_of(row, cases=DunningCase, credit_notes=CreditNote, **TYPES)
    facts = CollectionFacts(
        **now_facts(row["clock_at"], real_at),
        new_id=ids.new,
        answer=wanted.answer,
        database_at=row["database_at"],
        revision=row["revision"],
        declines=reading.declines_by_card(row),
        terms=for_collection(DunningPolicy.model_validate(row["dunning"] or {})),
        all_paused=row["all_paused"],
        own_card=row["own_card"],
        zone=row["zone"],
        is_test=row["is_test"],
        balance_minor=row["balance_minor"] - reading.booked_here(rows),
        invoice_id=wanted.subject_id,
    )
    return rows, facts


ENGINE = Engine(rules=RULES, read=read, verbs=COLLECTING)
