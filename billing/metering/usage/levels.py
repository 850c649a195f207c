"""The quantity that sums of usage show: of a level its highest reading, else all that was used."""

from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products.schemas import LEVELS
from billing.catalog.products.tables import meters

_KEYS = select(meters.c.key).where(meters.c.kind.in_(LEVELS))


async def keys(connection: AsyncConnection) -> set[str]:
    """Return the meters that are levels."""
    return set(await connection.scalars(_KEYS))


def quantity(
    meter: ColumnElement[str], counted: ColumnElement[Any], reading: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Return the quantity of a group of one meter: `counted` of a level is what it rose by within
    its cycle, and the rises of two cycles are more than it ever was.
    """
    return case((meter.in_(_KEYS), func.max(reading)), else_=func.sum(counted)).label("quantity")
