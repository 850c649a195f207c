"""The part of a commitment spent so far, by the rule of the line for the rest."""

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.prepared import Prepared
from billing.money.invoices import giving_back
from billing.money.invoices.schemas import PRORATION
from billing.money.invoices.sums import LINE_TOTAL
from billing.money.subscriptions.facts import Spent, sum_spent
from billing.money.subscriptions.schemas import Commitment, Subscription

CHARGES: Final = f"""
    SELECT jsonb_build_object(
               'invoice_id', i.id, 'at', x.at, 'net_minor', x.net_minor,
               'total_minor', x.total_minor, 'named_minor', x.named_minor,
               'spread_minor', CASE WHEN x.is_charge
                   THEN n.noted_minor - n.named_minor + other.noted_minor ELSE 0 END,
               'rest_minor', charges.total_minor - n.named_minor)
    FROM invoices i
    CROSS JOIN LATERAL (
        SELECT coalesce(sum({LINE_TOTAL}) FILTER (WHERE l.kind <> '{PRORATION}'), 0) AS total_minor,
               coalesce(bool_or(l.kind = '{PRORATION}'), false) AS credits
        FROM invoice_lines l WHERE l.invoice_id = i.id) charges
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS noted_minor, coalesce(sum((
                   SELECT sum((part ->> 'amount_minor')::bigint)
                   FROM jsonb_array_elements(lines) part)), 0) AS named_minor
        FROM credit_notes
        WHERE invoice_id = i.id AND NOT was_served
          AND fact_key NOT LIKE '%{giving_back.OF}%') n
    -- Notes for it on invoices whose money paid it, as giving_back.is_of().
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS noted_minor
        FROM credit_notes c
        WHERE charges.credits AND c.account_id = i.account_id AND c.created_at >= i.created_at
          AND NOT c.was_served
          AND c.fact_key LIKE '%{giving_back.OF}' || public_id('{ids.INVOICE}', i.id)) other
    CROSS JOIN LATERAL (
        SELECT coalesce(l.period_start, (l.detail ->> 'since')::timestamptz, i.created_at) AS at,
               l.kind <> '{PRORATION}' AS is_charge,
               l.amount_minor - l.discount_minor AS net_minor, {LINE_TOTAL} AS total_minor,
               coalesce((
                   SELECT sum((part ->> 'amount_minor')::bigint)
                   FROM credit_notes c CROSS JOIN LATERAL jsonb_array_elements(c.lines) part
                   WHERE c.invoice_id = i.id AND NOT c.was_served
                       AND (part ->> 'position')::int = l.position), 0)
                   AS named_minor
        FROM invoice_lines l WHERE l.invoice_id = i.id) x
    WHERE i.subscription_id = s.id AND i.status IN ('open', 'paid', 'uncollectible')
"""  # noqa: S608 - put together from constants
"""The charges of a subscription `s`, as `Spent`, for the time from `x.at` on."""
_SINCE: Final = Prepared(
    text(
        f"SELECT ARRAY({CHARGES} AND x.at >= :since) AS spent"  # noqa: S608 - constants
        " FROM subscriptions s WHERE s.id = :subscription_id"
    )
)


async def spent_so_far(
    connection: AsyncConnection, subscription: Subscription, agreed: Commitment
) -> int:
    """Return the part of a commitment that invoices have charged, in minor units."""
    row: Any = await _SINCE.one(connection, subscription_id=subscription.id, since=agreed.since)
    charged = map(Spent.model_validate, row["spent"])
    return sum_spent(charged, agreed.since, agreed.ends_at)
