"""Months of billing_records: each is a partition, made before its first use can come."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

AHEAD: Final = 6
"""So many months are made beyond this one: nobody has to be quick when the job does not run."""
_MAKE: Final = text("SELECT usage_make_months(:ahead)")


async def make(connection: AsyncConnection, ahead: int = AHEAD) -> int:
    """Make the months that are missing; answers how many."""
    return int((await connection.execute(_MAKE, {"ahead": ahead})).scalar_one())
