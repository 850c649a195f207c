"""Changes of plan, of interval and of the number of seats [C6, L4]. Pure.

An upgrade is charged first and counts at once: the new price for the rest of the period, less the
unused part of the old one. A downgrade comes with the next period, unless it is wanted now.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from billing.catalog.plans.schemas import Plan
from billing.core.errors import Conflict
from billing.core.money import ZERO
from billing.core.periods import spoken_span
from billing.matters.effects import Work
from billing.money.invoices.schemas import InvoiceLine, Line
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands import add_ons, chosen_terms
from billing.money.subscriptions.commands.add_ons import Sale
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.endings import pauses
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    free_time,
    granting,
    invoicing,
    items,
    kept_discounts,
    netting,
    plan_credits,
    portions,
    proration,
    renewals,
    shares,
    spans,
)
from billing.money.subscriptions.schemas import (
    Paying,
    PlanWish,
    Subscription,
    SubscriptionChange,
    Terms,
    When,
)
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import (
    agreements,
    change_rows,
    changes,
    end_dates,
    new_terms,
    scheduling,
)


class Timing(NamedTuple):
    """The time that a change of plan charges and credits."""

    after: Subscription
    """The subscription with the period and cycle that the new price is charged for."""
    resets: bool
    """True if a new period and cycle begin with the change."""
    since: datetime
    """The instant up to which the previous plan is charged."""
    kept_until: datetime
    """The instant up to which its credits and units stay: they go at once if it cost nothing."""
    counts_use: bool
    """True if earlier use counts as used time: in a new cycle, or if less of anything is included,
    it would be free.
    """


def change(
    w: Work[SubscriptionFacts], wish: PlanWish, paying: Paying, as_of: datetime | None = None
) -> Subscription:
    """Change the plan, or only the add-ons, with the errors of both.

    A coupon reserved for the change waits for the same payment.
    """
    of_plan = (wish.plan, wish.interval, wish.quantity) != (None, None, None)
    if of_plan or wish.add_ons is None:
        change_plan(w, wish, paying, as_of)
    else:
        add_ons.choose(w, wish.add_ons, paying, as_of, when=wish.when)
    if change_rows.pending(w.rows) is None:
        begun = w.rows.find(SubscriptionChange, paying.change_id)
        comes_at = begun.effective_at if begun is not None else None
        changes.confirm_coupon(w, comes_at or w.facts.at)
    return subscription_of(w)


def change_plan(
    w: Work[SubscriptionFacts], wish: PlanWish, paying: Paying, as_of: datetime | None
) -> Subscription:
    """Change the plan, interval, number of seats or add-ons, now or from the next period on.

    `as_of` is the instant of a preview. Errors: PLAN_NOT_FOUND, CURRENCY_MISMATCH,
    INTERVAL_NOT_OFFERED, QUANTITY_NOT_OFFERED, PRICE_TOO_LARGE, SUBSCRIPTION_STATE,
    PAYMENT_OVERDUE, CHANGE_PENDING, TRIAL_NOT_OFFERED, CREDITS_SPENT, PAYMENT_PENDING; those of
    `add_ons.choose`.
    """
    subscription, terms = subscription_of(w), chosen_terms.asked_for(w, wish)
    at_once = chosen_terms.is_up(subscription, terms) or chosen_terms.goes_on_in_trial(w, terms)
    when: When = wish.when or ("now" if at_once else "period_end")
    reply = demand(subscription.status, "change_up" if when == "now" else "change_down")
    change_rows.demand_none(w.rows)
    if chosen_terms.is_same(w, terms):
        scheduling.cancel(w, "the subscription stays as it is", "plan")
        if wish.add_ons is not None:
            add_ons.choose(w, wish.add_ons, paying, as_of, when=wish.when)
    elif when == "period_end" and reply != "later":
        if terms.add_ons is not None:
            scheduling.cancel(w, scheduling.OTHER_ADD_ONS, "add_ons")
        end_dates.demand_last_day(subscription, terms.interval)
        scheduling.schedule(w, paying.change_id, "plan", chosen_terms.shown(w, terms), terms)
    elif subscription.status in ("trialing", "paused"):
        _swap(w, terms)
    else:
        _charge(w, terms, paying, as_of or w.facts.at)
    return wake(w)


def _swap(w: Work[SubscriptionFacts], terms: Terms) -> None:
    """Change the terms within a trial, which keeps its end, or a pause; nothing is charged.

    Errors: TRIAL_NOT_OFFERED for a plan that is sold without a trial.
    """
    plan, subscription = chosen_terms.plan_of(w, terms), subscription_of(w)
    in_trial = subscription.status == "trialing"
    if in_trial and not plan.trial_days:
        raise Conflict(
            "TRIAL_NOT_OFFERED", f"plan {plan.key} has no trial; schedule the change for period_end"
        )
    scheduling.cancel(w, scheduling.OTHER_PLAN, "plan")
    fields = dict[str, Any]()
    if in_trial:
        end_dates.demand_last_day(subscription, terms.interval)
        fields = spans.after_this(subscription, terms.interval)
    new_terms.take(w, terms, drops_add_ons=True, **fields)
    if terms.add_ons is not None:
        scheduling.cancel(w, scheduling.OTHER_ADD_ONS, "add_ons")
        items.choose(w, terms.add_ons, fewer_now=True)
    scheduling.drop_price_after(w, subscription.price_id)
    pauses.forfeit_cycle(w)
    announce(w, subscription_of(w), "plan_changed", **chosen_terms.shown(w, terms))


def _charge(w: Work[SubscriptionFacts], wanted: Terms, paying: Paying, at: datetime) -> None:
    """Charge the change first; one that leaves nothing to charge is applied now.

    Errors: CREDITS_SPENT if credits to claw back are spent already; SUBSCRIPTION_STATE if the
    subscription ends before its period does; PAYMENT_PENDING.
    """
    subscription, plan = subscription_of(w), chosen_terms.plan_of(w, wanted)
    shown = chosen_terms.shown(w, wanted)
    timing = _timing(w, wanted, plan, at)
    after, resets, since = timing.after, timing.resets, timing.since
    wanted, sale = _with_add_ons(w, wanted, timing, at)
    billed = proration.current(w.rows, ("plan",), since)
    # Within a period add-ons go by their units, which are unspent.
    unused = proration.to_credit(w.rows, [*billed, *sale.credited], since, since if resets else at)
    by_calendar = shares.rest_of_period(after, at)
    part = by_calendar if resets else proration.rest_of_price(w.rows, at, by_calendar)
    charge = _charge_line(after, plan, _rightly(w, wanted, billed), at, part)
    if wanted.price_id == subscription.price_id:
        charge = kept_discounts.keeping(charge, billed, since)
    charges = [charge, *sale.lines]
    begun = after if resets else None
    lines, given_back = netting.net(w, unused, charges, plan, begun)
    closes = bool(unused) and (timing.counts_use or portions.lifts_limit(w, plan))
    terms = wanted.model_copy(
        update={
            **_credits(w, plan, wanted, timing, at),
            "resets": resets,
            "zone": after.zone if resets else None,
            "notes": given_back,
            "gave_back_at": at if closes else None,
            "cycle_start": subscription.cycle_start,
            "row_start": granting.row_start(w),
            "credited_since": since if timing.counts_use else None,
        }
    )
    _have_paid(w, shown, terms, [*lines, *charges], paying, begun)


def _timing(w: Work[SubscriptionFacts], wanted: Terms, plan: Plan, at: datetime) -> Timing:
    """Return the timing of a change at this instant. Error: SUBSCRIPTION_STATE."""
    subscription, own = subscription_of(w), w.facts.plan_of(w.rows)
    # Free plans count by calendar months, and a cycle of another length has a new anchor.
    resets = (
        wanted.interval != subscription.interval
        or plan.allowance != own.allowance
        or bool(wanted.amount_minor) != bool(subscription.amount_minor)
    )
    if resets:
        share = w.facts.used_share
        if share:
            pauses.demand_next_second(w, at)
        zone = renewals.zone_anew(w, at, wanted.amount_minor)
        after = spans.anew(subscription, at, wanted.interval, plan.allowance, zone)
        end_dates.demand_a_day(after)
    else:
        end_dates.demand_whole_rest(subscription)
        if portions.includes_as_much(w, plan, wanted.quantity):
            return Timing(subscription, resets=False, since=at, kept_until=at, counts_use=False)
        after, share = subscription, portions.used_share(w, plan, wanted.quantity)
    since = shares.used_until(subscription, share, at)
    kept_until = at if free_time.is_free(w, at) else since
    return Timing(after, resets=resets, since=since, kept_until=kept_until, counts_use=True)


def _have_paid(
    w: Work[SubscriptionFacts],
    shown: dict[str, Any],
    terms: Terms,
    lines: Sequence[Line],
    paying: Paying,
    begun: Subscription | None,
) -> None:
    """Have the change paid; a new period (`begun`) is paid as the contract of its start says.

    Until it is paid, the subscription keeps its own way of payment.
    """
    own = subscription_of(w)
    if begun is not None:
        agreements.pay(w, begun.current_period_start)
    plan = chosen_terms.plan_of(w, terms)
    invoice = invoicing.draft_change(w, paying.change_id, lines, plan, begun)
    invoice = changes.begin(w, "plan", shown, invoice, paying, terms=terms)
    payment_effects.settle_change(w, invoice, paying)
    if begun is not None and change_rows.pending(w.rows) is not None:
        cycles.change(w, collection=own.collection, days_until_due=own.days_until_due)


def _credits(
    w: Work[SubscriptionFacts], plan: Plan, wanted: Terms, timing: Timing, at: datetime
) -> dict[str, Any]:
    """Return the terms of credits: the plan's, less those of the rest. Error: CREDITS_SPENT."""
    rest = plan_credits.for_rest(w, timing.kept_until)
    missed = rest - plan_credits.granted_for_rest(w, timing.kept_until)
    gone = plan_credits.deducted(w, wanted, timing.kept_until)
    given = plan_credits.of_plan(timing.after, plan, wanted.quantity, at)
    if not wanted.amount_minor:
        given = plan_credits.at_most_of_month(w, timing.after, plan, wanted, given, gone)
    plan_credits.demand(w, gone - given)
    return {
        "credits": given - gone,
        "credits_replaced": gone if timing.resets else ZERO,
        "credits_missed": missed,
        "credits_refunded": plan_credits.refunded(w),
        "credits_before": cycles.cycle_credits(w, subscription_of(w)),
    }


def _with_add_ons(
    w: Work[SubscriptionFacts], wanted: Terms, timing: Timing, at: datetime
) -> tuple[Terms, Sale]:
    """Return the terms with all add-ons of a new period, or with the moves within this one."""
    plan = chosen_terms.plan_of(w, wanted)
    if timing.resets:
        kept = wanted.add_ons
        if kept is None:
            kept = add_ons.staying(w, plan, wanted.interval)
        billed = proration.current(w.rows, (items.ADD_ON,), at)
        sale = Sale(add_ons.sell_anew(plan, kept, timing.after, at), billed, (), {})
        return wanted.model_copy(update={"add_ons": kept}), sale
    sale = Sale([], [], (), {})
    if wanted.add_ons is not None:
        sale = add_ons.sell(w, plan, wanted.add_ons, at, fewer_now=wanted.fewer_now)
    own = portions.of_plan(w, plan, wanted.quantity, at, timing.kept_until)
    beyond = portions.stay_beyond(w, plan, wanted.quantity, at)
    fields = {"portions": (*own, *sale.portions), "units_gone": sale.gone, "stay_beyond": beyond}
    return wanted.model_copy(update=fields), sale


def _rightly(w: Work[SubscriptionFacts], wanted: Terms, billed: Sequence[InvoiceLine]) -> Terms:
    """Return the terms that seats at the same price are charged at: at the right price, if an
    operator has undone that of this period, and the move to the right one is still to come.
    """
    move = change_rows.scheduled(w.rows, "price")
    if move is None or wanted.price_id != subscription_of(w).price_id:
        return wanted
    right = move.new_terms
    is_undone = right.unit_minor < wanted.unit_minor and any(
        one.detail.get("price") == str(right.price_id)
        or proration.rightly_charged(w.rows, one).total_minor < one.total_minor
        for one in billed
    )
    update = {"price_id": right.price_id, "unit_minor": right.unit_minor}
    return wanted.model_copy(update=update) if is_undone else wanted


def _charge_line(
    after: Subscription, plan: Plan, terms: Terms, at: datetime, part: Fraction
) -> Line:
    """Return the line that charges the new price for the rest of its period."""
    until = after.current_period_end
    span = spoken_span(at, until, after.zone)
    return Line(
        kind="plan",
        description=f"{plan.name}, {span}",
        quantity=Decimal(terms.quantity),
        unit_amount=Decimal(terms.unit_minor),
        amount_minor=proration.share(terms.amount_minor, part),
        period_start=at,
        period_end=until,
        detail={
            "price": str(terms.price_id),
            "of_minor": terms.amount_minor,
            "share": str(part),
        },
    )
