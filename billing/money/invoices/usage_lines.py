"""Usage for invoices: reads what must be billed, and completes the records behind its lines."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.rating.rules import EXACT
from billing.core.prepared import Prepared, Row
from billing.core.transaction_settings import allow_whole_cycle
from billing.matters.effects import Rows
from billing.metering.usage.schemas import price_terms
from billing.money.invoices.arrears import Arrear, billed
from billing.money.invoices.schemas import Line

UNBILLED: Final = Prepared(
    text(
        """
    SELECT p.start_at, p.end_at, p.zone, p.currency,
           -- A cycle whose plan has no such limit any more included what was not priced.
           coalesce((p.limits -> c.meter ->> 'included')::numeric, c.quantity - c.overage)
               AS included,
           usage_common_price(p.account_id, p.start_at, c.meter) AS terms,
           c.meter, m.name, m.unit, sold.key AS sold, sold.tax_category,
           c.quantity, c.overage, c.overage_total, c.events,
           coalesce(b.units, 0) AS billed_units, coalesce(b.total, 0) AS billed_total,
           coalesce(b.minor, 0) AS billed_minor, coalesce(b.early, true) AS billed_early
    FROM subscriptions s JOIN usage_periods p
         ON p.account_id = s.account_id AND p.subscription_id = s.id
    CROSS JOIN LATERAL (
        SELECT * FROM usage_cycles
        WHERE account_id = p.account_id AND owner = '' AND period_start = p.start_at
          AND overage > 0
        OFFSET 0) c
    JOIN meters m ON m.key = c.meter
    -- A cycle that the previous release opened does not name its plan.
    JOIN plans sold ON sold.id = coalesce(p.plan_id, s.plan_id)
    LEFT JOIN LATERAL (
        SELECT sum(l.quantity) AS units, sum(l.amount_minor) AS minor,
               sum((l.detail ->> 'accrued')::numeric) AS total,
               bool_and(coalesce((l.detail ->> 'early')::boolean, false)) AS early
        FROM invoice_lines l
        WHERE l.account_id = p.account_id AND l.kind = 'usage' AND l.period_start = p.start_at
          AND l.detail ->> 'meter' = c.meter) b ON true
    WHERE s.id = :subscription_id
      -- What early lines bill of a volume price may be less than it came to.
      AND (c.overage > coalesce(b.units, 0)
           OR b.early AND usage_common_price(p.account_id, p.start_at, c.meter) ->> 'model'
               = 'volume')
    ORDER BY p.start_at, c.meter
    """
    )
)
_PLAN: Final = Prepared(
    text(
        """
    SELECT sold.key AS sold, sold.tax_category
    FROM usage_periods p LEFT JOIN subscriptions s ON s.id = p.subscription_id
    JOIN plans sold ON sold.id = coalesce(p.plan_id, s.plan_id)
    WHERE p.account_id = :account_id AND p.start_at <= :at AND p.end_at > :at
    ORDER BY p.start_at DESC LIMIT 1
    """
    )
)
_BILLED: Final = Prepared(
    text(
        """
    SELECT detail ->> 'meter' AS meter, sum((detail ->> 'accrued')::numeric) AS total
    FROM invoice_lines
    WHERE account_id = :account_id AND kind = 'usage' AND period_start = :start_at
    GROUP BY detail ->> 'meter'
    """
    )
)
_BILL_LINE: Final = Prepared(
    text(
        "SELECT usage_bill_line(:account_id, CAST(ROW(:meter, :start_at, :end_at, :zone,"
        " :currency, :true_up, :invoice) AS usage_line), :at)"
    )
)
_COMPLETE_PART: Final = Prepared(text("SELECT usage_complete_part(:account_id, :at)"))
_TAKE_LATE: Final = Prepared(
    text(
        "UPDATE usage_periods SET late_at = NULL"
        " WHERE account_id = :account_id AND late_at IS NOT NULL RETURNING subscription_id"
    )
)


async def of_its_plan(
    connection: AsyncConnection, account_id: UUID, line: Line, at: datetime
) -> Line:
    """Return a line of use as one of the plan of the cycle of this instant, if it has one."""
    row = await _PLAN.first(connection, account_id=account_id, at=at)
    return line.of_plan(row["sold"], row["tax_category"]) if row is not None else line


async def billed_of_cycle(
    connection: AsyncConnection, account_id: UUID, start_at: datetime
) -> dict[str, Decimal]:
    """Return what invoices have billed of the use in a cycle, by meter, in whole units."""
    found = await _BILLED.all(connection, account_id=account_id, start_at=start_at)
    return {row["meter"]: row["total"] for row in found}


def owed(found: Sequence[Row], rows: Rows) -> tuple[Arrear, ...]:
    """Return the rows of UNBILLED as arrears, without what lines among `rows` billed."""
    return tuple(_without(_arrear(one), rows) for one in found)


def _arrear(row: Row) -> Arrear:
    price = row["terms"]
    return Arrear.model_validate(row | {"terms": None if price is None else price_terms(price)})


def _without(arrear: Arrear, rows: Rows) -> Arrear:
    lines = billed(rows, arrear)
    with localcontext(EXACT):
        fields = {
            "billed_units": arrear.billed_units - sum(line.quantity for line in lines),
            "billed_total": arrear.billed_total
            - sum(Decimal(line.detail["accrued"]) for line in lines),
            "billed_minor": arrear.billed_minor - sum(line.amount_minor for line in lines),
        }
    return arrear.model_copy(update=fields) if lines else arrear


async def complete_records(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    invoice: str,
    currency: str,
    lines: Sequence[Line],
    at: datetime,
) -> None:
    """Complete the records behind usage lines; a true-up carries the difference.

    If they are many, the account's matter completes the rest, a part at a time. Callers hold the
    account's lock once the cycle is closed; what is recorded afterwards is late.
    """
    await allow_whole_cycle(connection)
    for line in lines:
        await _BILL_LINE.run(
            connection,
            account_id=account_id,
            meter=line.detail["meter"],
            start_at=line.period_start,
            end_at=line.period_end,
            zone=line.detail["zone"],
            currency=currency,
            true_up=Decimal(line.detail["true_up"]),
            invoice=invoice,
            at=at,
        )


async def complete_part(connection: AsyncConnection, account_id: UUID, at: datetime) -> int:
    """Complete the next part of the records that an invoice bills; return how many.

    Takes the account's lock.
    """
    return int(await _COMPLETE_PART.scalar(connection, account_id=account_id, at=at) or 0)


async def take_late(connection: AsyncConnection, account_id: UUID) -> list[UUID]:
    """Return the ended subscriptions whose late use waits for an invoice, and clear their marks."""
    rows = await _TAKE_LATE.all(connection, account_id=account_id)
    return sorted({row["subscription_id"] for row in rows})
