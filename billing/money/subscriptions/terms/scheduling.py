"""Changes scheduled for the end of the period: another plan, price or add-ons, and a pause. Pure.

At most one of each kind is scheduled at a time; a newer one replaces it.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing.core.errors import Conflict
from billing.matters.effects import Work
from billing.money.discounts import transitions as discounts
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.endings import pauses, unserved_time
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import cycles, items, rollover, true_ups
from billing.money.subscriptions.schemas import ChangeKind, PauseReason, SubscriptionChange, Terms
from billing.money.subscriptions.terms import agreements, change_rows, new_terms

OTHER_PLAN: Final = "another plan was chosen"
OTHER_ADD_ONS: Final = "other add-ons were chosen"


def schedule(
    w: Work[SubscriptionFacts],
    change_id: UUID,
    kind: ChangeKind,
    wanted: dict[str, Any],
    terms: Terms | None = None,
) -> None:
    """Schedule a change for the end of the period; it replaces one of its kind.

    Errors: SUBSCRIPTION_STATE if the subscription ends then.
    """
    subscription = subscription_of(w)
    if subscription.ends_with_period and kind != "price":
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "the subscription ends with its period; reactivate it first",
            state=subscription.status,
        )
    cancel(w, "another one was chosen", kind)
    comes_at = subscription.current_period_end
    change_rows.write(w, change_id, kind, wanted, terms, status="scheduled", effective_at=comes_at)
    _follow_seats(w)
    cycles.follow(w)  # its terms hold until then
    rollover.follow(w)  # a pause ends the rollover of credits
    currency = subscription.currency
    announce(w, subscription, "change_scheduled", kind=kind, wanted=wanted, currency=currency)


def apply(w: Work[SubscriptionFacts]) -> None:
    """Apply the changes scheduled for the period that begins."""
    change, before = _take(w, "plan"), subscription_of(w).price_id
    if change is not None:
        new_terms.take_for_next_period(w, change.new_terms)
        announce(w, subscription_of(w), "plan_changed", **change.wanted)
    drop_price_after(w, before)
    price = _take(w, "price")
    if price is not None:
        terms = price.new_terms
        new_terms.take_for_next_period(w, terms)
        shown = shown_price(terms) | {"currency": subscription_of(w).currency}
        announce(w, subscription_of(w), "price_changed", **shown)
    chosen = _take(w, "add_ons")
    if chosen is not None:
        plan, interval = w.facts.plan_of(w.rows), subscription_of(w).interval
        items.choose(w, items.sold(w, plan, interval, chosen.wanted), fewer_now=True)
        announce(w, subscription_of(w), "add_ons_chosen", add_ons=chosen.wanted)


def coming(w: Work[SubscriptionFacts], at: datetime) -> Work[SubscriptionFacts]:
    """Return the rows that a period from an instant on begins with, as a copy: a resumption is
    charged for them first.
    """
    after = Work(w.rows.copy(), w.facts)
    take_waiting(after, at)
    return after


def take_waiting(w: Work[SubscriptionFacts], at: datetime) -> None:
    """Take what waits for a period that begins then: the scheduled changes, and the contract in
    force.
    """
    apply(w)
    agreements.sell(w, at)


def drop_price_after(w: Work[SubscriptionFacts], before: UUID) -> None:
    """Cancel a scheduled move from the old price if another price was chosen; else it is that of
    the seats of now.
    """
    if subscription_of(w).price_id != before:
        cancel(w, OTHER_PLAN, "price")
    _follow_seats(w)


def shown_price(terms: Terms) -> dict[str, Any]:
    """Return a price that comes, as callers see it."""
    return {"price_cents": terms.amount_minor}


def _follow_seats(w: Work[SubscriptionFacts]) -> None:
    """Have a scheduled move to another price count the seats that there are then."""
    move, chosen = change_rows.scheduled(w.rows, "price"), change_rows.scheduled(w.rows, "plan")
    if move is None:
        return
    seats = items.plan_item(w).quantity
    if chosen is not None:
        wanted = chosen.new_terms
        # Another price that was chosen cancels the move.
        seats = wanted.quantity if wanted.price_id == subscription_of(w).price_id else seats
    terms = move.new_terms.model_copy(update={"quantity": seats})
    if shown_price(terms) != move.wanted:
        w.change(move, terms=terms.model_dump(mode="json"), wanted=shown_price(terms))


def pause(w: Work[SubscriptionFacts]) -> None:
    """Begin the requested pause: credit owed time not served, bill use until now."""
    unserved_time.take_back_unserved(w, "paused")
    closing = true_ups.closing(w, "a pause")
    begin_pause(w, "requested")
    pauses.bill_use(w, closing)


def begin_pause(w: Work[SubscriptionFacts], reason: PauseReason) -> None:
    """Pause from now on; a scheduled pause counts as applied."""
    _take(w, "pause")
    pauses.pause(w, reason)


def _take(w: Work[SubscriptionFacts], kind: ChangeKind) -> SubscriptionChange | None:
    change = change_rows.scheduled(w.rows, kind)
    return w.change(change, status="applied", decided_at=w.facts.at) if change else None


def follow_period(w: Work[SubscriptionFacts]) -> None:
    """Move scheduled changes to the period's new end, with the coupons that came with them."""
    end = subscription_of(w).current_period_end
    for change in w.rows.of(SubscriptionChange):
        if change.status == "scheduled" and change.effective_at is not None:
            discounts.move_start(w, change.effective_at, end)
            w.change(change, effective_at=end)


def cancel(w: Work[SubscriptionFacts], reason: str, *kinds: ChangeKind) -> None:
    """Cancel scheduled changes of these kinds, or of any."""
    for change in w.rows.of(SubscriptionChange):
        if change.status == "scheduled" and change.kind in (kinds or (change.kind,)):
            w.change(change, status="canceled", reason=reason, decided_at=w.facts.at)
            announce(w, subscription_of(w), "change_dropped", kind=change.kind, reason=reason)
            cycles.follow(w)
            rollover.follow(w)
    _follow_seats(w)
