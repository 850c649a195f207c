"""Queries of the comparison with the provider: its runs, and the rows of its objects."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, prepared, row_writes
from billing.core.errors import NotFound
from billing.core.prepared import Prepared, Row
from billing.money.reconciliations import rules
from billing.money.reconciliations.schemas import (
    AtStripe,
    Discrepancy,
    Here,
    ObjectKind,
    Owner,
    Reconciliation,
    Side,
)
from billing.money.reconciliations.tables import reconciliations

PAGE: Final = 1_000
"""Rows that are read at once."""
_ROWS: Final[Mapping[ObjectKind, str]] = {
    # A PayPal payment has its capture in the place of the intent.
    "payment": """
        SELECT p.id, p.stripe_payment_intent_id AS object_id, p.id AS payment_id, p.account_id,
            CASE WHEN p.paid_at IS NULL THEN 'unpaid' ELSE 'paid' END AS state, p.currency,
            CASE WHEN p.paid_at IS NULL THEN p.amount_minor ELSE p.received_minor END
                AS amount_minor,
            false AS has_returned, p.created_at
        FROM payments p WHERE p.flow NOT IN ('paypal', 'manual')""",
    "refund": """
        SELECT r.id, r.stripe_refund_id AS object_id, r.payment_id, r.account_id,
            CASE WHEN r.status IN ('succeeded', 'failed') THEN r.status ELSE 'under_way' END
                AS state,
            r.currency, r.amount_minor, false AS has_returned, r.created_at
        FROM refunds r JOIN payments p ON p.id = r.payment_id WHERE p.flow <> 'paypal'""",
    # One in another currency is closed here, whoever has the money. One that was closed is lost
    # where its money is gone.
    "dispute": """
        SELECT d.id, d.stripe_dispute_id AS object_id, d.payment_id, d.account_id, seen.state,
            d.currency,
            -- Of a lost one what its bank has not returned.
            d.amount_minor + CASE seen.state WHEN 'lost' THEN 0 ELSE d.returned_minor END
                AS amount_minor,
            d.returned_at IS NOT NULL AS has_returned, d.created_at
        FROM disputes d JOIN payments p ON p.id = d.payment_id
        CROSS JOIN LATERAL (SELECT
            CASE WHEN d.status IN ('won', 'lost') THEN d.status
                WHEN d.status NOT IN ('warning_closed', 'prevented') THEN 'open'
                WHEN d.state = 'lost' THEN 'lost'
                ELSE 'closed' END AS state) seen
        WHERE p.flow <> 'paypal'""",
}
_SIDES: Final = """
    SELECT x.id AS row_id, x.object_id, x.payment_id, x.account_id, x.state, x.currency,
        x.amount_minor, x.has_returned, x.created_at, a.is_test,
        EXISTS (SELECT FROM matters m WHERE m.status = 'open' AND m.closed_at IS NULL
            AND m.next_due BETWEEN statement_timestamp() - CAST(:settles AS interval)
                AND statement_timestamp() + CAST(:settles AS interval)
            AND m.workflow_id IN ('reversal/' || public_id('pay', p.id), i.workflow_id)) AS is_awake
    FROM ({rows}) x
    JOIN accounts a ON a.id = x.account_id
    JOIN payments p ON p.id = x.payment_id
    JOIN invoices i ON i.id = p.invoice_id
    WHERE {condition}"""
_NAMED: Final = "x.object_id = ANY (CAST(:names AS text[]))"
# Ids are in the order of real time, and the primary key has them.
_SINCE: Final = """x.object_id IS NOT NULL AND NOT a.is_test
    AND x.id > :after AND x.id < :last AND x.object_id <> ALL (CAST(:names AS text[]))
    ORDER BY x.id LIMIT :most"""
_BY_NAME: Final = {
    kind: Prepared(text(_SIDES.format(rows=rows, condition=_NAMED))) for kind, rows in _ROWS.items()
}
_BY_TIME: Final = {
    kind: Prepared(text(_SIDES.format(rows=rows, condition=_SINCE))) for kind, rows in _ROWS.items()
}
_ACCOUNTS: Final = Prepared(
    text(
        "SELECT id, is_test, stripe_customer_id, gone_customer_id FROM accounts"
        " WHERE id = ANY (CAST(:ids AS uuid[]))"
        " OR stripe_customer_id = ANY (CAST(:customers AS text[]))"
        " OR gone_customer_id = ANY (CAST(:customers AS text[]))"
    )
)
_PAYMENTS: Final = Prepared(
    text(
        "SELECT id, stripe_payment_intent_id AS intent_id FROM payments"
        " WHERE stripe_payment_intent_id = ANY (CAST(:intents AS text[]))"
        # The payer has just made the intent of a hosted page.
        " OR id = ANY (CAST(:ids AS uuid[])) AND stripe_payment_intent_id IS NULL"
        "  AND stripe_checkout_session_id IS NOT NULL"
    )
)
_RECORDED: Final = Prepared(
    text(
        "SELECT account_id, transaction_reference FROM payments"
        " WHERE transaction_reference = ANY (CAST(:intents AS text[])) AND paid_at IS NOT NULL"
    )
)


async def rows_named(
    connection: AsyncConnection, kind: ObjectKind, names: Sequence[str]
) -> dict[str, Here]:
    """Return the rows of these objects of the provider, by its ids."""
    found = await _BY_NAME[kind].all(connection, names=list(names), settles=rules.SETTLES)
    return {row["object_id"]: _here(row) for row in found}


async def rows_between(
    connection: AsyncConnection,
    kind: ObjectKind,
    after: UUID,
    last: UUID,
    *,
    besides: Sequence[str],
) -> list[Here]:
    """Return the next rows, PAGE at most, with ids between these two, without test accounts and
    without these objects of the provider.
    """
    found = await _BY_TIME[kind].all(
        connection, names=list(besides), settles=rules.SETTLES, after=after, last=last, most=PAGE
    )
    return [_here(row) for row in found]


async def owners(connection: AsyncConnection, unknown: Sequence[AtStripe]) -> dict[str, Owner]:
    """Return the accounts here that objects without a row name, or whose customer paid, by the
    objects' ids.
    """
    accounts = await _accounts(connection, unknown)
    intents = [one.intent_id for one in unknown if one.intent_id]
    paid = {one.object_id: ids.parse(ids.PAYMENT, one.payment or "") for one in unknown}
    found = await _PAYMENTS.all(
        connection, intents=intents, ids=[one for one in paid.values() if one]
    )
    payments = {row["intent_id"] or row["id"]: row["id"] for row in found}
    found = await _RECORDED.all(connection, intents=intents)
    recorded = {(row["account_id"], row["transaction_reference"]) for row in found}
    return {
        one.object_id: Owner(
            account_id=account["id"],
            is_test=account["is_test"],
            payment_id=payments.get(one.intent_id) or payments.get(paid[one.object_id]),
            is_recorded=(account["id"], one.intent_id) in recorded,
        )
        for one in unknown
        if (account := accounts.get(one.account) or accounts.get(one.customer)) is not None
    }


async def _accounts(
    connection: AsyncConnection, unknown: Sequence[AtStripe]
) -> dict[str | None, Row]:
    """Return the accounts of these objects, by their ids and their customers."""
    named = [ids.parse(ids.ACCOUNT, one.account or "") for one in unknown]
    customers = [one.customer for one in unknown if one.customer]
    found = await _ACCOUNTS.all(connection, ids=[one for one in named if one], customers=customers)
    names = ("stripe_customer_id", "gone_customer_id")
    by_customer: dict[str | None, Row] = {row[name]: row for name in names for row in found}
    by_customer.pop(None, None)
    return by_customer | {ids.encode(ids.ACCOUNT, row["id"]): row for row in found}


async def begin(connection: AsyncConnection, run: Reconciliation) -> bool:
    """Write a new run; return False if it is there already."""
    fields = run.model_dump(
        include={"id", "started_at", "since_at", "until_at", "is_whole", "heal"}
    )
    return await row_writes.add_unless_there(connection, reconciliations, fields) is not None


async def get(
    connection: AsyncConnection, run_id: UUID | None, *, lock: bool = False
) -> Reconciliation:
    """Return a run, optionally locked. Errors: RECONCILIATION_NOT_FOUND."""
    query = select(reconciliations).where(reconciliations.c.id == run_id)
    row = await prepared.find(connection, query.with_for_update() if lock else query)
    if row is None:
        raise NotFound("RECONCILIATION_NOT_FOUND")
    return Reconciliation.model_validate(row)


async def keep(connection: AsyncConnection, run: Reconciliation) -> Reconciliation:
    """Overwrite the position of a run and what it found."""
    changed = {"place", "checked", "discrepancies", "is_alarming", "error"}
    fields = run.model_dump(mode="json", include=changed) | {"finished_at": run.finished_at}
    row = await row_writes.change(connection, reconciliations, run.id, **fields)
    return Reconciliation.model_validate(row)


async def latest(connection: AsyncConnection) -> Sequence[Discrepancy]:
    """Return what the latest run found whose window nobody chose and which did not fail."""
    query = (
        select(reconciliations.c.discrepancies)
        .where(reconciliations.c.is_whole, reconciliations.c.finished_at.is_not(None))
        .where(reconciliations.c.error.is_(None))
        .order_by(reconciliations.c.started_at.desc())
        .limit(1)
    )
    found = await connection.scalar(query) or ()
    return [Discrepancy.model_validate(one) for one in found]


async def unfinished(connection: AsyncConnection) -> list[UUID]:
    """Return the runs that have not finished."""
    query = select(reconciliations.c.id).where(reconciliations.c.finished_at.is_(None))
    return list(await connection.scalars(query))


def listing() -> Select[Any]:
    """Select all runs; of what each found, the count alone."""
    found = reconciliations.c.discrepancies
    rest = [one for one in reconciliations.c if one is not found]
    return select(*rest, func.jsonb_array_length(found).label("discrepancy_count"))


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Delete the runs that finished before then; return how many."""
    gone = delete(reconciliations).where(reconciliations.c.finished_at < before)
    return (await connection.execute(gone)).rowcount


def _here(row: Row) -> Here:
    return Here.model_validate({**row, "side": Side.model_validate(row)})
