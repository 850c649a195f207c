"""A quota or a plan's limit as one of the limits on a use. Pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from billing.core.money import ZERO
from billing.metering.quotas import rules
from billing.metering.quotas.schemas import SOFT_PERCENT, Bound, Quota
from billing.metering.usage.schemas import Counter, Period


def of_quota(quota: Quota, zone: str, period_end: datetime, at: datetime) -> Bound:
    """Return a quota as a limit on a use at an instant."""
    end = rules.window_end(
        quota.window_kind, quota.window_start, quota.span_seconds, zone, period_end, at
    )
    return Bound(
        source="quota",
        limit=quota.limit_amount,
        used=quota.used,
        is_hard=quota.is_hard,
        resets_at=end,
        quota_id=quota.id,
        soft_percent=min(quota.alert_percents, default=SOFT_PERCENT),
    )


def of_plan(
    period: Period, meter: str, counter: Counter | None, claimed: Mapping[str, Decimal]
) -> Bound:
    """Return the plan's limit on a meter as a limit on a use."""
    limit = period.limits[meter]
    return Bound(
        source="plan",
        limit=limit.whole,
        used=limit.carried + limit.used(counter) + claimed.get(meter, ZERO),
        is_hard=limit.is_hard,
        is_withheld=limit.is_withheld,
        resets_at=period.end_at,
    )
