"""The lines that a price charged, and the coupons that took a fixed amount off them."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.schemas import Price
from billing.catalog.plans.store import show_price
from billing.catalog.plans.tables import prices
from billing.core import prepared
from billing.core.errors import NotFound
from billing.core.periods import Interval
from billing.money.discounts.tables import discounts
from billing.money.invoices.schemas import CHARGED
from billing.money.invoices.tables import invoice_lines, invoices
from billing.money.refunds.schemas import Refund
from billing.money.refunds.tables import refunds

_MINUTE: Final = 60_000 << 80
"""A minute in a UUIDv7, whose first 48 bits are milliseconds: clocks of two processes differ."""


async def version(
    connection: AsyncConnection, plan: str, interval: Interval, currency: str, number: int
) -> Price:
    """Return one version of a plan's price, on sale or not. Errors: PRICE_NOT_FOUND."""
    of = prices.c
    found = await connection.execute(
        select(prices).where(
            of.kind == "plan", of.key == plan, of.currency == currency,
            of.interval_unit == interval.unit, of.interval_count == interval.count,
            of.version == number,
        )
    )  # fmt: skip
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound("PRICE_NOT_FOUND", f"plan {plan} has no version {number} of this price")
    return show_price(row)


def charged(price: Price) -> Select[Any]:
    """Select the lines of numbered invoices at this price; the caller sorts and limits.

    The index of prices finds them. They are younger than the price, and so are their ids.
    """
    since = UUID(int=max(0, price.id.int - _MINUTE))
    line = invoice_lines.c
    return (
        select(invoice_lines)
        .join(invoices, invoices.c.id == line.invoice_id)
        .where(
            line.id > since,
            line.kind == literal_column("'plan'"),  # in the words of the index
            line.detail["price"].astext == str(price.id),
            invoices.c.status.in_(CHARGED),
        )
    )


async def refund_of(connection: AsyncConnection, refund_id: UUID) -> Refund | None:
    """Return the refund with this id, if it was requested."""
    row = await prepared.find(connection, select(refunds).where(refunds.c.id == refund_id))
    return Refund.model_validate(dict(row)) if row is not None else None


async def fixed_codes(connection: AsyncConnection, account_id: UUID) -> frozenset[str]:
    """Return the codes of the account's coupons over an amount, not a percentage."""
    rows = await connection.scalars(
        select(discounts.c.code).where(
            discounts.c.account_id == account_id, discounts.c.amount_minor.is_not(None)
        )
    )
    return frozenset(rows)
