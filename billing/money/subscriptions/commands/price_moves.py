"""Moves subscribers of an old price to the current one, with notice, at their next period.

An operator requests it; the customer keeps the old price until then, and may cancel before.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.core.prepared import Prepared
from billing.matters.effects import Work
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import cycles
from billing.money.subscriptions.schemas import Subscription, Terms
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import changes, new_terms

HOW_TO_CANCEL = "POST /billing/subscription/cancel before that date"
WALKED: Final = 10_000
"""Subscriptions that one statement scans, including those already notified."""
_SUBSCRIBERS: Final = Prepared(
    text(
        """
    WITH walked AS MATERIALIZED (
        SELECT * FROM subscriptions WHERE plan_key = :plan AND id > :after
        ORDER BY id LIMIT :walked
    ), moving AS (
        SELECT s.id, s.account_id, s.currency, s.current_period_end AS effective_at,
               s.amount_minor AS before_minor,
               n.amount_minor * i.quantity AS after_minor
        FROM walked s
        JOIN subscription_items i ON i.subscription_id = s.id AND i.kind = 'plan'
        JOIN prices n ON n.kind = 'plan' AND n.key = s.plan_key AND n.is_current
            AND (n.currency, n.interval_unit, n.interval_count)
                = (s.currency, s.interval_unit, s.interval_count)
        WHERE s.price_id <> n.id
          AND (CAST(:price_id AS uuid) IS NULL OR s.price_id = :price_id OR EXISTS (
              SELECT FROM subscription_changes c
              WHERE c.subscription_id = s.id AND c.kind = 'price' AND c.status = 'scheduled'
                AND (c.terms ->> 'price_id')::uuid = :price_id))
          -- A contract says its own prices.
          AND s.contract_id IS NULL
          AND s.status IN ('trialing', 'active', 'past_due')
          AND NOT EXISTS (
              SELECT FROM subscription_changes c
              WHERE c.subscription_id = s.id AND c.kind = 'price' AND c.status = 'scheduled'
                AND (c.terms ->> 'price_id')::uuid = n.id)
        ORDER BY s.id LIMIT :most
    )
    SELECT w.reached, m.*
    FROM (SELECT (array_agg(id ORDER BY id DESC))[1] AS reached FROM walked) w
    LEFT JOIN moving m ON true ORDER BY m.id
    """
    )
)


class Move(Frozen):
    """A subscription whose price changes at an instant."""

    id: UUID
    account_id: UUID
    currency: str
    effective_at: AwareDatetime
    before_minor: int
    after_minor: int


async def to_move(
    connection: AsyncConnection,
    plan: str,
    most: int,
    *,
    price_id: UUID | None = None,
    after: UUID | None = None,
) -> list[Move]:
    """Find subscribers of the plan who neither have its current price nor were notified of it, or
    only those who have `price_id` or were notified of it: by id, behind `after`.

    Needs a connection that may see every account's.
    """
    found: list[Move] = []
    place: UUID | None = after or UUID(int=0)
    while place is not None and len(found) < most:
        rows = await _SUBSCRIBERS.all(
            connection, plan=plan, most=most, price_id=price_id, after=place, walked=WALKED
        )
        place = rows[0]["reached"]
        moving = [{name: row[name] for name in Move.model_fields} for row in rows]
        found += [Move.model_validate(row) for row in moving if row["id"] is not None]
    return found[:most]


def move(w: Work[SubscriptionFacts], *, reason: str) -> Subscription:
    """Schedule the current price for the next period, and notify the customer.

    Errors: SUBSCRIPTION_STATE; PRICE_NOT_OFFERED if no other price is on sale.
    """
    subscription = cycles.of(w)
    demand(subscription.status, "change_down")
    sold = (one.price for one in w.facts.offers if one.price is not None)
    price = next((one for one in sold if one.interval == subscription.interval), None)
    agreed = subscription.contract_id is not None
    if price is None or agreed or price.id == subscription.price_id:
        raise Conflict("PRICE_NOT_OFFERED")
    terms = new_terms.at_price(w, price)
    changes.schedule(w, w.facts.new_id(), "price", {"price_cents": terms.amount_minor}, terms)
    _give_notice(w, subscription, terms, subscription.current_period_end, reason)
    return wake(w)


def _give_notice(
    w: Work[SubscriptionFacts], subscription: Subscription, terms: Terms, at: datetime, reason: str
) -> None:
    announce(
        w,
        subscription,
        "price_changes",
        price_cents_before=subscription.amount_minor,
        price_cents=terms.amount_minor,
        minimum_cents_before=subscription.minimum_minor,
        minimum_cents=terms.minimum_minor,
        currency=subscription.currency,
        effective_at=at.isoformat(),
        how_to_cancel=HOW_TO_CANCEL,
        reason=reason,
    )
