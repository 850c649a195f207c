"""Reads the rows of a use that a card pays and the facts of its decision in one round trip.

The matter's row is the record. Every writer of records has the account's lock, so that comes first
(docs/architecture.md#order-of-locks); the payments come last, as for any collector. A use whose
month is archived was paid, because otherwise the month is kept: then its invoices give its total,
and the account's lock replaces the record's.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.prepared import Prepared, last_of
from billing.matters.deciding import Rules
from billing.matters.effects import Rows
from billing.matters.kinds import CHARGE
from billing.metering.usage import months
from billing.metering.usage import service as usage
from billing.money.card_usage import transitions
from billing.money.card_usage.rules import agenda
from billing.money.card_usage.schemas import ChargedUse
from billing.money.card_usage.transitions import SET_STATUS, ChargeFacts
from billing.money.invoices.schemas import CreditNote
from billing.money.payments import reading
from billing.money.payments.card_rules import ATTEMPT_WINDOW
from billing.money.payments.verbs import COLLECTING
from billing.money.refunds.reading import REVERSALS, TYPES
from billing.money.taxation.reading import TAXATION, shown
from billing.platform.decisions.service import Engine, Read, now_facts

_IN_ITS_MONTH = "month = ANY (usage_record_months(:subject_id))"
_LOCK_RECORD = reading.lock("billing_records", _IN_ITS_MONTH)
_LOCK_ACCOUNT = reading.lock_account("billing_records", _IN_ITS_MONTH)
_LOCK_WHERE_AWAY = Prepared(
    text(
        f"""
    SELECT account_id FROM credit_balances
    WHERE NOT EXISTS (SELECT FROM billing_records WHERE id = :subject_id AND {_IN_ITS_MONTH})
        AND account_id IN (SELECT account_id FROM invoices WHERE workflow_id = :workflow_id)
    FOR NO KEY UPDATE
    """  # noqa: S608 - put together from constants
    )
)
# Every invoice of the record is read, paid and void ones too: an event may concern any of them.
_READ = Prepared(
    text(
        f"""
    WITH mine AS (SELECT * FROM invoices WHERE workflow_id = :workflow_id),
    kept AS (
        SELECT id, account_id, billing_method, billing_status, total_amount, currency
        FROM billing_records WHERE id = :subject_id AND {_IN_ITS_MONTH}),
    r AS (
        SELECT * FROM kept
        UNION ALL
        (SELECT CAST(:subject_id AS uuid), account_id, 'payment_charge', 'completed',
            total_minor / 10::numeric ^ money_exponent(currency), currency
         FROM mine WHERE NOT EXISTS (SELECT FROM kept) ORDER BY created_at DESC, id DESC LIMIT 1))
    SELECT r.id, r.account_id, r.billing_method, r.billing_status, r.total_amount, r.currency,
           a.clock_at, a.is_test,
           {reading.COLLECTED},
           {reading.REVISION},
           {reading.lines()} AS lines,
           {reading.METHODS} AS methods,
           {reading.balance_entries()} AS balance_entries,
           {reading.hanging("credit_notes", "x.id")} AS credit_notes,
           {REVERSALS},
           {reading.declines()} AS declines,
           {reading.balance("b.currency")} AS balance_minor,
           {TAXATION} AS taxation,
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events
    FROM r JOIN accounts a ON a.id = r.account_id
    JOIN credit_balances b ON b.account_id = r.account_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, ChargeFacts]:
    """Read the charge of one use; only a decision locks more than the matter's row."""
    record = {"subject_id": wanted.subject_id}
    matter = {"workflow_id": CHARGE.workflow_id(wanted.subject_id)}
    locks: list[tuple[Prepared, Mapping[str, Any]]] = []
    if wanted.locked or wanted.deciding:
        locks += [(_LOCK_WHERE_AWAY, record | matter)]
    if wanted.deciding:
        locks += [(_LOCK_ACCOUNT, record)]
    if wanted.locked:
        locks += [(_LOCK_RECORD, record)]
    if wanted.deciding:
        locks += [(reading.LOCK_PAYMENTS, matter)]
    real_at = real_now()
    window = {"real_at": real_at, "window": ATTEMPT_WINDOW}
    found = await last_of(connection, *locks, (_READ, record | matter | window))
    if not found:
        raise await months.missing(connection, wanted.subject_id)
    (row,) = found
    facts = ChargeFacts(
        **now_facts(row["clock_at"], real_at),
        new_id=ids.new,
        answer=wanted.answer,
        database_at=row["database_at"],
        revision=row["revision"],
        declines=reading.declines_by_card(row),
        is_test=row["is_test"],
        taxation=shown(row["taxation"]),
    )
    rows = reading.rows_of(row, ChargedUse.model_validate(row), credit_notes=CreditNote, **TYPES)
    facts.balance_minor = row["balance_minor"] - reading.booked_here(rows)
    return rows, facts


ENGINE = Engine(
    rules=Rules(
        view=transitions.view,
        agenda=agenda,
        transition=transitions.transition,
        begun=transitions.begun,
    ),
    read=read,
    verbs={**COLLECTING, SET_STATUS: usage.set_status},
)
