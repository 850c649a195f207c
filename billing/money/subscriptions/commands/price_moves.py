"""Moves subscribers of an old price to the current one, with notice, at their next period.

An operator requests it; the customer keeps the old price until then, and may cancel before. If the
old price was published by mistake, subscribers who are paused or unpaid move too, and so do those
who chose the plan at that price for a later period.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.schemas import Price
from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.core.frozen import Frozen
from billing.core.periods import Interval
from billing.core.prepared import Prepared
from billing.matters.effects import Work
from billing.money.subscriptions.announcements import HOW_TO_CANCEL, announce
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange, Terms
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import (
    agreements,
    change_rows,
    new_terms,
    scheduling,
)

WALKED: Final = 10_000
"""Subscriptions that one statement scans, including those already notified."""
_SUBSCRIBERS: Final = Prepared(
    text(
        """
    WITH walked AS MATERIALIZED (
        -- A pause is resumed at the prices of that time.
        SELECT s.*, CASE s.status
            WHEN 'paused' THEN greatest(
                s.current_period_end, coalesce(a.clock_at, CAST(:real_at AS timestamptz)))
            ELSE s.current_period_end END AS goes_on_at
        FROM subscriptions s JOIN accounts a ON a.id = s.account_id
        WHERE s.plan_key = :plan AND s.id > :after
        ORDER BY s.id LIMIT :walked
    ), moving AS (
        SELECT s.id, s.account_id, s.currency, s.current_period_end AS effective_at,
               s.amount_minor AS before_minor,
               n.amount_minor * i.quantity AS after_minor
        FROM walked s
        JOIN subscription_items i ON i.subscription_id = s.id AND i.kind = 'plan'
        LEFT JOIN subscription_changes c
            ON c.subscription_id = s.id AND c.kind = 'price' AND c.status = 'scheduled'
        JOIN prices o ON o.id = coalesce((c.terms ->> 'price_id')::uuid, s.price_id)
        JOIN prices n ON n.kind = 'plan' AND n.key = s.plan_key
            AND (n.currency, n.interval_unit, n.interval_count)
                = (s.currency, s.interval_unit, s.interval_count)
            -- The right price counts though another one, or none, is on sale.
            AND CASE WHEN CAST(:right AS uuid) IS NULL THEN n.is_current ELSE n.id = :right END
        -- Another version of an equal price is no news.
        WHERE (o.amount_minor, o.minimum_minor) IS DISTINCT FROM (n.amount_minor, n.minimum_minor)
          AND (CAST(:wrong AS uuid) IS NULL
               OR :wrong IN (s.price_id, (c.terms ->> 'price_id')::uuid))
          -- A price that was agreed with the account stays, or comes.
          AND NOT EXISTS (
              SELECT FROM contracts a
              WHERE a.account_id = s.account_id
                AND (a.terms -> 'prices'
                         @> jsonb_build_array(jsonb_build_object('price_id', s.price_id))
                     OR s.goes_on_at >= a.effective_from
                        AND s.goes_on_at < coalesce(a.effective_to, 'infinity')
                        AND a.terms -> 'prices' @> jsonb_build_array(jsonb_build_object(
                            'plan', s.plan_key, 'currency', s.currency,
                            'interval', jsonb_build_object(
                                'unit', s.interval_unit, 'count', s.interval_count)))))
          AND (s.status IN ('trialing', 'active', 'past_due')
               OR s.status IN ('paused', 'unpaid') AND CAST(:wrong AS uuid) IS NOT NULL)
        ORDER BY s.id LIMIT :most
    )
    SELECT w.reached, m.*
    FROM (SELECT (array_agg(id ORDER BY id DESC))[1] AS reached FROM walked) w
    LEFT JOIN moving m ON true ORDER BY m.id
    """
    )
)
# The price of another plan, or interval, that the customer chose for a later period.
_CHOOSERS: Final = Prepared(
    text(
        """
    WITH chosen AS MATERIALIZED (
        SELECT c.subscription_id, (c.terms ->> 'unit_minor')::bigint AS unit_minor,
               coalesce((c.terms ->> 'minimum_minor')::bigint, 0) AS minimum_minor,
               (c.terms ->> 'quantity')::bigint AS quantity
        FROM subscription_changes c
        WHERE c.kind = 'plan' AND c.status = 'scheduled' AND c.subscription_id > :after
          AND (c.terms ->> 'price_id')::uuid = :wrong
    )
    SELECT s.id, s.account_id, s.currency, s.current_period_end AS effective_at,
           c.unit_minor * c.quantity AS before_minor, n.amount_minor * c.quantity AS after_minor
    FROM chosen c
    JOIN subscriptions s ON s.id = c.subscription_id AND s.price_id <> :wrong
    JOIN prices n ON n.id = :right
    WHERE (n.amount_minor, coalesce(n.minimum_minor, 0)) < (c.unit_minor, c.minimum_minor)
    ORDER BY s.id LIMIT :most
    """
    )
)


class PriceMove(Frozen):
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
    wrong: UUID | None = None,
    right: UUID | None = None,
    after: UUID | None,
) -> list[PriceMove]:
    """Find up to `most` subscribers to move, by id, after the id `after`.

    Without prices: those whose price is not the plan's current amount and who were not notified
    of it. With prices: only those who have the wrong one or were notified of it and do not come to
    the right one, even if they are paused or unpaid. Needs a connection that may see every
    account's.
    """
    found: list[PriceMove] = []
    place: UUID | None = after or UUID(int=0)
    while place is not None and len(found) < most:
        rows = await _SUBSCRIBERS.all(
            connection, plan=plan, most=most, wrong=wrong, right=right, after=place,
            walked=WALKED, real_at=real_now(),
        )  # fmt: skip
        place = rows[0]["reached"]
        moving = [{name: row[name] for name in PriceMove.model_fields} for row in rows]
        found += [PriceMove.model_validate(row) for row in moving if row["id"] is not None]
    return found[:most]


async def to_undo(
    connection: AsyncConnection, wrong: Price, right: Price, most: int, after: UUID | None
) -> list[PriceMove]:
    """Find up to `most` subscribers who have the wrong price, were notified of it, or chose it for
    a later period although the right one is lower; by id, after the id `after`.

    Needs a connection that may see every account's.
    """
    named = {"wrong": wrong.id, "right": right.id}
    found = await to_move(connection, wrong.key, most, **named, after=after)
    chose = await _CHOOSERS.all(connection, **named, after=after or UUID(int=0), most=most)
    found += map(PriceMove.model_validate, chose)
    return sorted(found, key=lambda one: one.id)[:most]


def undo(w: Work[SubscriptionFacts], *, wrong: UUID, right: Price, reason: str) -> Subscription:
    """Move a subscriber to the right price, or give it to a change that chose the wrong one.

    Errors: those of `move`; PRICE_NOT_OFFERED also if it has left the wrong price meanwhile.
    """
    if subscription_of(w).status != "unpaid":  # the wrong price may be why it is
        demand(subscription_of(w).status, "change_down")
    change_rows.demand_no_resumption(w.rows)
    if wrong in (subscription_of(w).price_id, _price_of(change_rows.scheduled(w.rows, "price"))):
        return _schedule(w, right, reason)
    change = change_rows.scheduled(w.rows, "plan")
    if change is None or _price_of(change) != wrong:
        raise Conflict("PRICE_NOT_OFFERED")
    chosen = change.new_terms
    terms = chosen.model_copy(update=new_terms.of_price(right))
    if _cost(terms) >= _cost(chosen):
        raise Conflict("PRICE_NOT_OFFERED")
    w.change(change, terms=terms.model_dump(mode="json"))
    _give_notice(w, chosen, terms, subscription_of(w).current_period_end, reason)
    return wake(w)


def move(w: Work[SubscriptionFacts], *, reason: str) -> Subscription:
    """Schedule the current price for the next period, and notify the customer.

    Errors: SUBSCRIPTION_STATE, CHANGE_PENDING; PRICE_NOT_OFFERED if no other amount is on sale.
    """
    demand(subscription_of(w).status, "change_down")
    change_rows.demand_no_resumption(w.rows)
    price = _sold(w, subscription_of(w).interval)
    if price is None:
        raise Conflict("PRICE_NOT_OFFERED")
    return _schedule(w, price, reason)


def _schedule(w: Work[SubscriptionFacts], price: Price, reason: str) -> Subscription:
    subscription = subscription_of(w)
    if agreements.is_agreed(w):
        raise Conflict("PRICE_NOT_OFFERED")
    terms, scheduled = new_terms.at_price(w, price), change_rows.scheduled(w.rows, "price")
    comes = new_terms.of_now(w) if scheduled is None else scheduled.new_terms
    if _cost(terms) == _cost(comes):
        raise Conflict("PRICE_NOT_OFFERED")
    if _cost(terms) == _cost(new_terms.of_now(w)):
        scheduling.cancel(w, "the price stays as it is", "price")
        return wake(w)
    scheduling.schedule(w, w.facts.new_id(), "price", scheduling.shown_price(terms), terms)
    _give_notice(w, new_terms.of_now(w), terms, subscription.current_period_end, reason)
    return wake(w)


def _price_of(change: SubscriptionChange | None) -> UUID | None:
    return change.new_terms.price_id if change is not None else None


def _cost(terms: Terms) -> tuple[int, int]:
    """Return the price of a seat, then the minimum of a period, as they are compared."""
    return terms.unit_minor, terms.minimum_minor or 0


def _sold(w: Work[SubscriptionFacts], interval: Interval) -> Price | None:
    """Return the current price of the plan that is moved to."""
    sold = (one.price for one in w.facts.offers if one.price is not None)
    return next((one for one in sold if one.interval == interval), None)


def _give_notice(
    w: Work[SubscriptionFacts], before: Terms, after: Terms, at: datetime, reason: str
) -> None:
    announce(
        w,
        subscription_of(w),
        "price_changes",
        of_plan=w.facts.plans[after.plan_id].key,
        price_cents_before=before.amount_minor,
        price_cents=after.amount_minor,
        minimum_cents_before=before.minimum_minor,
        minimum_cents=after.minimum_minor,
        currency=subscription_of(w).currency,
        effective_at=at.isoformat(),
        how_to_cancel=HOW_TO_CANCEL,
        reason=reason,
    )
