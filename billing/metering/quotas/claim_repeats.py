"""Repeats of a claim: only the same use gets the first answer again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.products.schemas import LEVELS
from billing.core.errors import Invalid
from billing.metering.quotas.schemas import Asked, KnownUse, QuotaClaim
from billing.metering.usage import rules as usage_rules
from billing.metering.usage import store as usage_store

REUSED: Final = "this event_id was claimed or recorded with a different body"


async def demand_same(
    connection: AsyncConnection,
    account_id: UUID,
    wish: QuotaClaim,
    asked: Asked,
    known: Sequence[KnownUse],
) -> None:
    """Refuse a claim if its event is known, but for another use. The wish has what it counts now.

    Errors: IDEMPOTENCY_KEY_REUSED.
    """
    owner = (wish.meter, wish.user_id, wish.organization_id)
    alike = [one for one in known if (one.meter, one.user_id, one.organization_id) == owner]
    is_recorded = any(one.is_recorded for one in known)
    if not known or (not is_recorded and any(one.amount == wish.amount for one in alike)):
        return
    _, counts = await usage_store.meter_of(
        connection, asked.product_id, asked.service_type, asked.feature_type, asked.amount,
        asked.operation,
    )  # fmt: skip
    if counts == "count":
        same = bool(alike)
    elif counts not in LEVELS:
        same = any(one.amount == asked.amount for one in alike)
    elif is_recorded:
        # The record has raised the level, so the claim no longer tells of which level it was.
        same = any(one.is_recorded and one.amount == asked.amount for one in alike)
    else:
        same = await _is_covered(connection, account_id, wish, asked.amount, counts, alike)
    if not same:
        raise Invalid("IDEMPOTENCY_KEY_REUSED", REUSED)


async def _is_covered(
    connection: AsyncConnection,
    account_id: UUID,
    wish: QuotaClaim,
    level: Decimal,
    counts: str,
    claims: Sequence[KnownUse],
) -> bool:
    """True if a level adds no more than was claimed, now or in the cycle of the claim."""
    for one in claims:
        period = await usage_store.past_period(connection, account_id, one.at)
        starts = [period.start_at] if period else []
        counters = await usage_store.counters_at(connection, account_id, one.meter, starts)
        then = usage_rules.rise(level, counts, next(iter(counters.values()), None))
        if one.amount >= min(wish.amount, then):
            return True
    return False
