"""Add-ons: extra units of a meter in every cycle, bought on top of a plan [B8]. Pure.

An increase is charged first, for the rest of the period, and counts once paid, with its part of the
cycle's units. A decrease counts from the next period, or now: then the rest is credited. In a trial
and in a pause an increase costs and gives nothing yet: the next period bills it and begins with it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.catalog.plans.schemas import AddOn, Plan
from billing.core.errors import Conflict, NotFound
from billing.core.money import ZERO
from billing.core.periods import Interval, spoken_span
from billing.matters.effects import Work
from billing.money.invoices.schemas import InvoiceLine, Line
from billing.money.subscriptions import payment_effects
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.endings import pauses
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    invoicing,
    items,
    kept_discounts,
    netting,
    proration,
    shares,
)
from billing.money.subscriptions.schemas import (
    Item,
    Paying,
    Portion,
    Subscription,
    SubscriptionChange,
    When,
)
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import change_rows, changes, end_dates, new_terms, scheduling


class Move(NamedTuple):
    """An add-on whose quantity changes now."""

    key: str
    name: str
    meter: str
    units: Decimal
    """The units that one gives in a whole cycle."""
    unit_minor: int
    have: int
    want: int


class Given(NamedTuple):
    """The units of a meter that an add-on gives in a cycle."""

    units: Decimal
    decimals: int
    """The decimals to which they are rounded."""

    @property
    def whole(self) -> Decimal:
        """The units, rounded."""
        step = Decimal(1).scaleb(-self.decimals)
        return max(ZERO, self.units.quantize(step, ROUND_HALF_UP))


class Sale(NamedTuple):
    """The charges of moves for the rest of a period, the lines they credit, and their units."""

    lines: list[Line]
    credited: list[InvoiceLine]
    portions: tuple[Portion, ...]
    gone: dict[str, Decimal]
    """By meter, the units that they remove from the cycle, rounded."""


def choose(
    w: Work[SubscriptionFacts],
    wanted: Mapping[str, int],
    paying: Paying,
    as_of: datetime | None = None,
    *,
    when: When | None = None,
) -> Subscription:
    """Set exactly these add-ons, by key: more now, less with the period, or all of it `when`.

    `as_of` is the instant of a preview.

    Errors: SUBSCRIPTION_STATE, PAYMENT_OVERDUE, CHANGE_PENDING; ADD_ON_NOT_FOUND,
    ADD_ON_NOT_OFFERED, PRICE_TOO_LARGE, UNITS_SPENT, PAYMENT_PENDING; those of `changes.begin`.
    """
    subscription, owned = subscription_of(w), items.owned(w)
    reply = demand(subscription.status, "change_down")
    plan = w.facts.plan_of(w.rows)
    demand_known(plan, wanted, owned)
    fewer_now = when == "now"
    sold = {one.key for one in plan.add_ons}
    # Any other ends with the period, though it is named.
    lasting = {key: quantity for key, quantity in wanted.items() if key in sold}
    removes = fewer_now and _is_fewer(owned, wanted)
    if _is_unchanged(owned, lasting) and not removes:
        scheduling.cancel(w, "the add-ons stay as they are", "add_ons")
        return wake(w)
    more = [one.add_on for one in items.more(w, plan, wanted)]
    moves = bool(more) or removes
    later = when == "period_end" and reply == "yes" and subscription.status != "trialing"
    if moves and not later:
        reply = demand(subscription.status, "change_up")
    demand_offered(w, plan, subscription.interval, more, wanted)
    change_rows.demand_none(w.rows)
    if more and later:
        items.keep(w)
        scheduling.schedule(w, paying.change_id, "add_ons", lasting)
    elif moves and reply == "yes" and subscription.status != "trialing":
        _charge(w, wanted, paying, as_of or w.facts.at, fewer_now=fewer_now)
    else:
        scheduling.cancel(w, scheduling.OTHER_ADD_ONS, "add_ons")
        items.choose(w, wanted, fewer_now=fewer_now)
        cycles.follow(w)
        pauses.forfeit_cycle(w)
        announce(w, subscription, "add_ons_chosen", add_ons=lasting)
    return wake(w)


def _is_unchanged(owned: Mapping[str, Item], wanted: Mapping[str, int]) -> bool:
    """True if these are the lasting add-ons already."""
    return wanted == {key: item.lasting for key, item in owned.items() if item.lasting}


def _is_fewer(owned: Mapping[str, Item], wanted: Mapping[str, int]) -> bool:
    return any(wanted.get(key, 0) < item.quantity for key, item in owned.items())


def demand_known(plan: Plan, wanted: Mapping[str, int], owned: Mapping[str, Item]) -> None:
    """Refuse add-ons that the plan does not have, beyond those of before that end with the period.

    Error: ADD_ON_NOT_FOUND.
    """
    have = {key: item.quantity for key, item in owned.items()}
    sold = {one.key for one in plan.add_ons}
    if unknown := sorted(key for key in wanted.keys() - sold if wanted[key] > have.get(key, 0)):
        raise NotFound("ADD_ON_NOT_FOUND", f"plan {plan.key} has no add-on {unknown[0]!r}")


def _charge(
    w: Work[SubscriptionFacts],
    wanted: Mapping[str, int],
    paying: Paying,
    at: datetime,
    *,
    fewer_now: bool,
) -> None:
    """Charge the change first; one that leaves nothing to charge is applied now.

    Errors: SUBSCRIPTION_STATE if the subscription ends before its period does; PAYMENT_PENDING.
    """
    end_dates.demand_whole_rest(subscription_of(w))
    plan = w.facts.plan_of(w.rows)
    sale = sell(w, plan, wanted, at, fewer_now=fewer_now)
    unused = proration.to_credit(w.rows, sale.credited, at)
    lines, given_back = netting.net(w, unused, sale.lines, plan)
    terms = new_terms.of_now(w).model_copy(
        update={
            "notes": given_back,
            "fewer_now": fewer_now,
            "cycle_start": subscription_of(w).cycle_start,
            "portions": sale.portions,
            "units_gone": sale.gone,
        }
    )
    invoice = invoicing.draft_change(w, paying.change_id, [*lines, *sale.lines], plan)
    invoice = changes.begin(w, "add_ons", dict(wanted), invoice, paying, terms)
    payment_effects.settle_change(w, invoice, paying)


def sell(
    w: Work[SubscriptionFacts],
    plan: Plan,
    wanted: Mapping[str, int],
    at: datetime,
    *,
    fewer_now: bool,
) -> Sale:
    """Return the moves to these add-ons, for the rest of the period. Error: UNITS_SPENT."""
    part = shares.rest_of_period(subscription_of(w), at)
    cycle = shares.of_cycle(subscription_of(w), plan.allowance)
    come, go = _coming(w, plan, wanted), _going(w, plan, wanted, fewer_now=fewer_now)
    gone = _demand_unspent(w, plan, [*come, *go], part)
    price = proration.rest_of_price(w.rows, at, part)
    charged = proration.current(w.rows, (items.ADD_ON,), at)
    back = {one.key: [old for old in charged if old.detail.get("add_on") == one.key] for one in go}
    lines = [_line(subscription_of(w), one, price, at) for one in come]
    stay = [
        kept_discounts.keeping(_line(subscription_of(w), one, price, at), back[one.key], at)
        for one in go
        if one.want
    ]
    return Sale(
        lines=[*stay, *lines],
        credited=[old for old in charged if old.detail.get("add_on") in back],
        portions=tuple(_portion(one, part, cycle) for one in (*go, *come)),
        gone=gone,
    )


def sell_anew(
    plan: Plan, wanted: Mapping[str, int], after: Subscription, at: datetime
) -> list[Line]:
    """Return the charges of add-ons for a period that begins with a change."""
    currency, part = after.currency, shares.rest_of_period(after, at)
    return [
        _line(after, _to(one, currency, 0, wanted[one.key]), part, at)
        for one in plan.add_ons
        if wanted.get(one.key, 0)
    ]


def staying(w: Work[SubscriptionFacts], plan: Plan, interval: Interval) -> dict[str, int]:
    """Return the add-ons that another plan sells on the same terms, so that they stay."""
    same = items.owned_on_terms(w, plan.add_ons)
    lasting = {key: item.lasting for key, item in same.items() if item.lasting}
    return items.sold(w, plan, interval, lasting)


def _coming(w: Work[SubscriptionFacts], plan: Plan, wanted: Mapping[str, int]) -> list[Move]:
    currency = subscription_of(w).currency
    return [_to(one, currency, have, want) for one, have, want in items.more(w, plan, wanted)]


def _to(add_on: AddOn, currency: str, have: int, want: int) -> Move:
    price_minor = add_on.prices[currency]
    return Move(add_on.key, add_on.name, add_on.meter, add_on.units, price_minor, have, want)


def _going(
    w: Work[SubscriptionFacts], plan: Plan, wanted: Mapping[str, int], *, fewer_now: bool
) -> list[Move]:
    """Return the add-ons to reduce, and those replaced by the same on other terms."""
    anew = {one.add_on.key for one in items.more(w, plan, wanted) if not one.have}
    found = []
    for key, item in items.owned(w).items():
        want = 0 if key in anew else wanted.get(key, 0)
        if item.meter and item.units and want < item.quantity and (fewer_now or key in anew):
            found.append(
                Move(
                    key, item.description, item.meter, item.units, item.amount_minor,
                    item.quantity, want,
                )
            )  # fmt: skip
    return found


def _given(w: Work[SubscriptionFacts], plan: Plan, key: str, meter: str) -> Given:
    """Return the units of a meter that an add-on gives in the current cycle, as
    usage_add_on_units.sql counts them.
    """
    subscription, item = subscription_of(w), items.owned(w).get(key)
    cycle = shares.of_cycle(subscription, plan.allowance)
    parts = [(ZERO, 0)]
    if item and item.units and item.meter == meter:
        whole = proration.units_share(item.units * item.quantity, cycle)
        parts.append((whole, proration.decimals_of(item.units)))
    applied = (
        one.new_terms
        for one in w.rows.of(SubscriptionChange)
        # A change that came with a period has no terms: its quantities say what it gives.
        if one.was_invoiced and one.kind in ("plan", "add_ons")
    )
    for terms in applied:
        if terms.cycle_start == subscription.cycle_start:
            for one in terms.portions:
                if (one.add_on, one.meter) == (key, meter):
                    own = proration.decimals_of(one.units)
                    parts.append((one.units, own if one.decimals is None else one.decimals))
    return Given(sum((units for units, _ in parts), ZERO), max(n for _, n in parts))


def _units(move: Move, part: Fraction) -> Decimal:
    """Return the units that a move adds in that part of a cycle; negative: removes."""
    return proration.units_share(move.units * (move.want - move.have), part)


def _portion(move: Move, part: Fraction, cycle: Fraction) -> Portion:
    """Return the correction to what the quantities give in the cycle, which may be short."""
    return Portion(
        add_on=move.key,
        meter=move.meter,
        units=_units(move, part) - _units(move, cycle),
        decimals=proration.decimals_of(move.units),
        restated=move.want < move.have,
        gone=max(ZERO, -_units(move, part)),
        gone_of=str(Fraction(max(0, move.have - move.want), max(1, move.have))),
    )


def _whole_units(given: Given, moves: Sequence[Move], part: Fraction) -> Decimal:
    """Like `_units` for all moves of one add-on and meter, by the rounded sums of the cycle."""
    after = Given(
        given.units + sum(_units(one, part) for one in moves),
        max(given.decimals, *(proration.decimals_of(one.units) for one in moves)),
    )
    return after.whole - given.whole


def _demand_unspent(
    w: Work[SubscriptionFacts], plan: Plan, moves: Sequence[Move], part: Fraction
) -> dict[str, Decimal]:
    """Return the units to be removed, by meter. Error: UNITS_SPENT if some are used already."""
    alike = defaultdict[tuple[str, str], list[Move]](list)
    for one in moves:
        alike[one.key, one.meter].append(one)
    moved = defaultdict[str, Decimal](Decimal)
    for (key, meter), some in alike.items():
        moved[meter] += _whole_units(_given(w, plan, key, meter), some, part)
    gone = {meter: -units for meter, units in moved.items() if units < 0}
    for known in w.facts.allowances:
        if known.spent_of(gone.get(known.meter, ZERO)):
            raise Conflict(
                "UNITS_SPENT",
                f"units of {known.meter} are already spent; schedule the change for period_end",
            )
    return gone


def demand_offered(
    w: Work[SubscriptionFacts],
    plan: Plan,
    interval: Interval,
    add_ons: Sequence[AddOn],
    wanted: Mapping[str, int],
) -> None:
    """Refuse add-ons that are not sold with these terms, or not so many of them. Errors:
    ADD_ON_NOT_OFFERED, PRICE_TOO_LARGE.
    """
    currency = subscription_of(w).currency
    for add_on in add_ons:
        if currency not in add_on.prices:
            raise Conflict("ADD_ON_NOT_OFFERED", f"{add_on.key} has no price in {currency}")
        if plan.allowance != interval:
            raise Conflict(
                "ADD_ON_NOT_OFFERED",
                f"{add_on.key} is only sold where a period is one allowance cycle",
            )
        items.demand_bounded_price(add_on.prices[currency], wanted[add_on.key])


def _line(subscription: Subscription, move: Move, part: Fraction, at: datetime) -> Line:
    """Return the charge to the period's end: of the increase, or else of all that stays."""
    quantity = move.want - move.have if move.want > move.have else move.want
    whole_minor, until = move.unit_minor * quantity, subscription.current_period_end
    return Line(
        kind=items.ADD_ON,
        description=f"{move.name}, {spoken_span(at, until, subscription.zone)}",
        quantity=Decimal(quantity),
        unit_amount=Decimal(move.unit_minor),
        amount_minor=proration.share(whole_minor, part),
        period_start=at,
        period_end=until,
        detail={
            "add_on": move.key,
            "meter": move.meter,
            "of_minor": whole_minor,
            "share": str(part),
        },
    )
