"""SQL shared by all collectors: locks, and the rows that belong to their invoices.

Locks are taken by statements before the one that reads, because a statement that waits for a lock
reads the other tables as of before its wait. The order is always the same: the matter's row, the
account, its payments by id (docs/rules/accounts.md). In the SQL, `mine` are the invoices and `a`
is their account.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter
from sqlalchemy import text

from billing.core.prepared import Prepared, Row
from billing.matters.effects import InboxEvent, Rows
from billing.matters.effects import Row as Record
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.payment_methods.schemas import Method
from billing.money.payments.schemas import DECLINED, Attempt, Payment

_INSTANT: Final = TypeAdapter(AwareDatetime)
_TYPES: Final[Mapping[str, type[Record]]] = {
    "invoices": Invoice,
    "lines": InvoiceLine,
    "payments": Payment,
    "attempts": Attempt,
    "methods": Method,
    "balance_entries": BalanceEntry,
}
LOCK_PAYMENTS: Final = Prepared(
    text(
        """
    SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id
    WHERE i.workflow_id = :workflow_id ORDER BY p.id FOR NO KEY UPDATE OF p
    """
    )
)


def lock(table: str, when: str = "true") -> Prepared:
    """Lock the matter's own row, whose id is `subject_id`."""
    return Prepared(
        text(f"SELECT id FROM {table} WHERE id = :subject_id AND {when} FOR NO KEY UPDATE")  # noqa: S608
    )


def lock_account(table: str, when: str = "true") -> Prepared:
    """Lock the account of the matter's row."""
    return Prepared(
        text(
            f"""
        SELECT account_id FROM credit_balances
        WHERE account_id = (
            SELECT account_id FROM {table} WHERE id = :subject_id AND {when})
        FOR NO KEY UPDATE
        """  # noqa: S608 - put together from constants
        )
    )


def hanging(table: str, order: str, *, row: str = "to_jsonb(x)", when: str = "true") -> str:
    """Return SQL for the array of a table's rows that belong to the invoices."""
    return (
        f"ARRAY(SELECT {row} FROM {table} x JOIN mine m ON m.id = x.invoice_id"  # noqa: S608
        f" WHERE {when} ORDER BY {order})"
    )


def lines(when: str = "true") -> str:
    """Return SQL for the lines of the invoices; numerics become text."""
    row = (
        "to_jsonb(x) || jsonb_build_object('quantity', x.quantity::text,"
        " 'unit_amount', x.unit_amount::text)"
    )
    return hanging("invoice_lines", "x.invoice_id, x.position", row=row, when=when)


def balance_entries(when: str = "true") -> str:
    """Return SQL for the money balance entries of the invoices."""
    return hanging("balance_entries", "x.at, x.id", when=f"{when} AND x.account_id = a.id")


def balance(currency: str) -> str:
    """Return SQL for the account's money balance in a currency, these invoices included."""
    return f"""
    coalesce((SELECT sum(x.amount_minor) FROM balance_entries x
              WHERE x.account_id = a.id AND x.currency = {currency}), 0)::bigint
"""  # noqa: S608 - put together from constants


def declines(when: str = "true") -> str:
    """Return SQL for each card's declines in the window, over all invoices of the account.

    A card that was saved twice counts as one: each copy has the declines of both.
    """
    return f"""
    ARRAY(SELECT jsonb_build_object('card', x.id, 'count', sum(count(t.id)) OVER (
                     PARTITION BY coalesce(x.fingerprint, x.id::text)))
          FROM payment_methods x LEFT JOIN payment_attempts t
            ON t.payment_method_id = x.id AND t.account_id = a.id
            AND t.started_at >= coalesce(a.clock_at, :real_at) - :window
            AND t.status IN {DECLINED}
          WHERE {when} AND x.account_id = a.id
          GROUP BY x.id)
"""  # noqa: S608 - put together from constants


COLLECTED: Final = f"""
    ARRAY(SELECT to_jsonb(m) FROM mine m ORDER BY m.created_at, m.id) AS invoices,
    {hanging("payments", "x.created_at, x.id")} AS payments,
    {hanging("payment_attempts", "x.real_started_at, x.id")} AS attempts,
    clock_timestamp() AS database_at
"""  # noqa: S608 - put together from constants
REVISION: Final = """
    (SELECT x.revision FROM matters x WHERE x.workflow_id = :workflow_id) AS revision
"""
METHODS: Final = """
    ARRAY(SELECT to_jsonb(x) FROM payment_methods x
          WHERE x.account_id = a.id ORDER BY x.created_at, x.id)
"""
# The event `e` concerns the payment `p`: its intent or page, or a refund of the intent.
ABOUT: Final = """
    (e.object_id IN (p.stripe_payment_intent_id, p.stripe_checkout_session_id)
     OR p.stripe_payment_intent_id = e.payload #>> '{data,object,payment_intent}')
"""
# The provider's events that wait for a matter, with the payment that each concerns. Left out is one
# that came while the payment passed to another matter: the sweeper gives it to that one. Refunds
# and disputes are the payment's reversal's, whoever collects it.
EVENTS_ABOUT_PAYMENTS: Final = f"""
    ARRAY(SELECT jsonb_build_object(
              'id', e.stripe_event_id, 'replays', e.replays, 'object_id', e.object_id,
              'received_at', e.received_at, 'about', paid.id)
          FROM stripe_webhook_events e
          LEFT JOIN LATERAL (
              SELECT p.id, i.workflow_id FROM payments p JOIN invoices i ON i.id = p.invoice_id
              WHERE {ABOUT} LIMIT 1) paid ON true
          WHERE e.workflow_id = :workflow_id AND e.status = 'received'
            AND (e.workflow_id LIKE 'reversal/%'
                 OR coalesce(paid.workflow_id, e.workflow_id) = e.workflow_id)
          ORDER BY e.received_at LIMIT 10)
"""  # noqa: S608 - put together from constants


def rows_of(row: Row, *own: Record, **more: type[Record]) -> Rows:
    """Return the matter's own row, the arrays read with it, and its waiting events.

    `more` names the types of the arrays that only this matter reads.
    """
    read = {name: type_ for name, type_ in {**_TYPES, **more}.items() if name in row}
    records: Iterator[Record] = (
        type_.model_validate(one) for name, type_ in read.items() for one in row[name]
    )
    return Rows([*own, *records], _events(row["waiting_events"]))


def booked_here(rows: Rows) -> int:
    """Return the sum of the money balance entries among the rows."""
    return sum(one.amount_minor for one in rows.of(BalanceEntry))


def declines_by_card(row: Row) -> dict[UUID, int]:
    """Number of declines of each card."""
    return {UUID(one["card"]): one["count"] for one in row["declines"]}


def _events(rows: Iterable[dict[str, Any]]) -> Iterator[InboxEvent]:
    for one in rows:
        yield InboxEvent(
            id=one["id"],
            replays=one["replays"],
            object_id=one["object_id"],
            received_at=_INSTANT.validate_python(one["received_at"]),
            about=UUID(one["about"]) if one["about"] else None,
        )
