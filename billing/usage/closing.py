"""Usage onto invoices: the lines of cycles that are over, and their records settled by them.

Callers hold the account's lock once the cycle is closed; what is recorded afterwards is late.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.prepared import Prepared, Row
from billing.invoices.schemas import Invoice, Line
from billing.usage import rules

USAGE: Final = "usage"
"""The kind of an invoice's usage lines."""
_OWED: Final = Prepared(
    text(
        """
    SELECT p.start_at, p.end_at, p.zone, p.currency, p.limits -> c.meter AS terms,
           c.meter, m.name, m.unit, c.quantity, c.overage, c.overage_total, c.events,
           coalesce(b.units, 0) AS billed_units, coalesce(b.total, 0) AS billed_total,
           coalesce(b.minor, 0) AS billed_minor, b.early AS billed_early
    FROM usage_periods p
    CROSS JOIN LATERAL (
        SELECT * FROM usage_cycles
        WHERE account_id = p.account_id AND owner = '' AND period_start = p.start_at
          AND overage > 0
        OFFSET 0) c
    JOIN meters m ON m.key = c.meter
    LEFT JOIN LATERAL (
        SELECT sum(l.quantity) AS units, sum(l.amount_minor) AS minor,
               sum((l.detail ->> 'accrued')::numeric) AS total,
               bool_and(coalesce((l.detail ->> 'early')::boolean, false)) AS early
        FROM invoice_lines l
        WHERE l.account_id = p.account_id AND l.kind = 'usage' AND l.period_start = p.start_at
          AND l.detail ->> 'meter' = c.meter) b ON true
    WHERE p.account_id = :account_id AND p.subscription_id = :subscription_id
      AND (CAST(:before AS timestamptz) IS NULL OR p.start_at < :before)
      AND c.overage > coalesce(b.units, 0)
    ORDER BY p.start_at, c.meter
    """
    )
)
_CLOSE: Final = Prepared(
    text(
        "SELECT usage_close(:account_id, :meter, :start_at, :end_at, :zone, :currency,"
        " :true_up, :invoice, :at)"
    )
)
_COMPLETE_PART: Final = Prepared(text("SELECT usage_complete_part(:account_id, :at)"))
_TAKE_LATE: Final = Prepared(
    text(
        "UPDATE usage_periods SET late_at = NULL"
        " WHERE account_id = :account_id AND late_at IS NOT NULL RETURNING subscription_id"
    )
)


async def lines(
    connection: AsyncConnection,
    account_id: UUID,
    subscription_id: UUID,
    *,
    before: datetime | None = None,
    early: bool = False,
) -> tuple[Line, ...]:
    """Use beyond the plan in the subscription's cycles that began `before`, unless billed already.

    One line per cycle and meter, rated from its counter; late use of an older cycle is a line of
    its own [G15, G16]. `early` lines bill a cycle so far; what follows them there is not late.
    """
    owed = await _OWED.all(
        connection, account_id=account_id, subscription_id=subscription_id, before=before
    )
    return tuple(_line(row, before, early=early) for row in owed)


async def settle(
    connection: AsyncConnection, invoice: Invoice, billed: Sequence[Line], at: datetime
) -> None:
    """The records behind usage lines are completed; a true-up carries the difference.

    Where they are many, the account's matter completes the rest, a part at a time.
    """
    for line in billed:
        await _CLOSE.run(
            connection,
            account_id=invoice.account_id,
            meter=line.detail["meter"],
            start_at=line.period_start,
            end_at=line.period_end,
            zone=line.detail["zone"],
            currency=invoice.currency,
            true_up=Decimal(line.detail["true_up"]),
            invoice=ids.encode(ids.INVOICE, invoice.id),
            at=at,
        )


async def complete_part(connection: AsyncConnection, account_id: UUID, at: datetime) -> int:
    """Complete the next part of the records that an invoice bills; how many.

    Takes the account's lock.
    """
    return int(await _COMPLETE_PART.scalar(connection, account_id=account_id, at=at) or 0)


async def take_late(connection: AsyncConnection, account_id: UUID) -> list[UUID]:
    """The ended subscriptions whose late use waits for an invoice, from now on no more."""
    rows = await _TAKE_LATE.all(connection, account_id=account_id)
    return sorted({row["subscription_id"] for row in rows})


def _line(row: Row, before: datetime | None, *, early: bool) -> Line:
    terms: dict[str, Any] = row["terms"] or {}
    accrued = rules.Accrued(
        units=row["overage"],
        total=row["overage_total"],
        records=row["events"],
        price=Decimal(terms["price"]) if terms.get("then") == "overage" else None,
        currency=row["currency"],
        billed_units=row["billed_units"],
        billed_total=row["billed_total"],
        billed_minor=int(row["billed_minor"]),
    )
    line = rules.bill(accrued)
    start, end = row["start_at"], row["end_at"]
    span = f"{start:%-d %b %Y} to {end:%-d %b %Y}"
    closed = accrued.billed_units > 0 and not row["billed_early"]
    late = closed or (before is not None and end < before)
    included = Decimal(terms.get("included", "0"))
    return Line(
        kind=USAGE,
        description=f"{row['name']} beyond {_plain(included)} included"
        f"{', late' if late else ', so far' if early else ''}, {span}",
        quantity=line.units,
        unit_amount=line.unit_minor,
        amount_minor=line.amount_minor,
        period_start=start,
        period_end=end,
        detail={
            "meter": row["meter"],
            "unit": row["unit"],
            "used": _plain(row["quantity"]),
            "included": _plain(included),
            "accrued": _plain(line.covers),
            "true_up": _plain(line.true_up),
            "late": late,
            "early": early,
            "zone": row["zone"],
        },
    )


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
