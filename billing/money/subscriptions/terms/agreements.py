"""The account's contract, as applied to its subscription at its start and from period to period.
Pure.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from billing.catalog.plans.schemas import Plan, Price
from billing.core import periods
from billing.core.errors import Conflict
from billing.core.periods import MONTH, Interval
from billing.matters.effects import Work
from billing.money.contracts.schemas import (
    CommitmentTerms,
    Contract,
    ContractPrice,
    ContractTerms,
)
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import added_days, cycles, items, spans
from billing.money.subscriptions.schemas import (
    Commitment,
    NewSubscription,
    Offered,
    Subscription,
)
from billing.money.subscriptions.terms import new_terms


def follow(w: Work[SubscriptionFacts]) -> None:
    """Begin the next period with the contract that is in force then, if it is another one.

    A price sold under an ended contract stays. While `unpaid` no invoice could close its
    commitment: nothing changes until the subscription is served again.
    """
    subscription = subscription_of(w)
    if subscription.status == "unpaid":
        return
    start = subscription.current_period_end
    contract = _new_at(w, start)
    if contract is not None:
        _sell(w, contract, start)
        number, _ = spans.next_period(subscription)
        _commit(w, contract, start, number)


def sell(w: Work[SubscriptionFacts], at: datetime) -> None:
    """Charge a period after a pause by the contract in force then, if it is another one."""
    contract = _new_at(w, at)
    if contract is not None:
        _sell(w, contract, at)


def pay(w: Work[SubscriptionFacts], at: datetime) -> None:
    """Apply the way of payment of the contract in force at an instant, if it is another one."""
    contract = _new_at(w, at)
    if contract is not None:
        _pay_by(w, contract)


def begin(w: Work[SubscriptionFacts]) -> None:
    """Begin a contract with a new period that was paid for, after a pause or by a change."""
    subscription = subscription_of(w)
    contract = _new_at(w, subscription.current_period_start)
    if contract is not None:
        _commit(w, contract, subscription.current_period_start, subscription.period_number)


def begin_late(w: Work[SubscriptionFacts]) -> None:
    """Begin a contract with a first period whose payment came late. A commitment that was sold with
    the order begins then, too, for as many periods as were sold.
    """
    subscription, agreed = subscription_of(w), subscription_of(w).committed
    if agreed is not None:
        since, number = subscription.current_period_start, subscription.period_number
        until = _until(subscription, number + agreed.periods)
        moved = agreed.model_copy(update={"since": since, "ends_at": until})
        cycles.change(w, commitment=moved.model_dump(mode="json"))
    begin(w)


def leave(w: Work[SubscriptionFacts]) -> None:
    """Forget the contract of a trial that no paid period follows: the one that is in force when a
    period is sold comes with it.
    """
    cycles.change(w, contract_id=None, commitment=None)


def needs_card(w: Work[SubscriptionFacts]) -> bool:
    """True if a card pays the next period, under the contract in force then."""
    subscription, terms = subscription_of(w), _coming_terms(w)
    agreed = terms.price_of(subscription.plan_key, subscription.interval, subscription.currency)
    due_minor = items.next_period_price(w.rows, agreed.amount_minor if agreed is not None else None)
    is_due = due_minor > 0 or (agreed or subscription).minimum_minor is not None
    return is_due and (terms.collection or subscription.collection) == "charge"


def is_agreed(w: Work[SubscriptionFacts]) -> bool:
    """True if the current price is one of a contract, though it may have ended, or if the next
    period has one.
    """
    own = subscription_of(w)
    known = (one for contract in w.facts.contracts for one in contract.terms.prices)
    comes = _coming_terms(w).price_of(own.plan_key, own.interval, own.currency)
    return comes is not None or any(one.price_id == own.price_id for one in known)


def offers(w: Work[SubscriptionFacts], plan: Plan) -> dict[Interval | None, Offered]:
    """Return the agreed prices of a plan in force now, by interval; they override those on sale."""
    at, currency = w.facts.at, subscription_of(w).currency
    contract = _in_force(w, at)
    known = contract.terms.prices if contract is not None else ()
    return {
        one.interval: Offered(plan=plan, price=price(one, at))
        for one in known
        if (one.plan, one.currency) == (plan.key, currency)
    }


def demand_currency(known: Sequence[Contract], currency: str) -> None:
    """Refuse an order whose currency would be the account's, and not that of a contract, in force
    or to come, of which something would then never count. Errors: CURRENCY_MISMATCH.
    """
    for contract in known:
        lost = contract.terms.lost_in(currency)
        if lost is not None:
            message = f"the {lost} of the account's contract would not count in {currency}"
            raise Conflict("CURRENCY_MISMATCH", message)


def wish(contract: Contract | None, wanted: NewSubscription) -> NewSubscription:
    """Return an order with the contract's way of payment."""
    terms = contract.terms if contract is not None else ContractTerms()
    if terms.collection is None:
        return wanted
    paid = {"collection": terms.collection, "days_until_due": terms.net_days}
    return wanted.model_copy(update=paid)


def born_with(
    contract: Contract | None, sold: Price, first: Mapping[str, Any], begins: datetime
) -> dict[str, Any]:
    """Return the contract's fields of a subscription with this `first` period, paid from `begins`
    on.
    """
    if contract is None:
        return {}
    number = first["period_number"] + (first["current_period_start"] < begins)
    until = periods.boundary(
        first["anchor_wall"], first["zone"], sold.interval or MONTH, number + _periods(contract)
    )
    return _agreed(contract, sold.currency, begins, until)


def extended(before: Subscription, after: Subscription, days: int) -> dict[str, Any]:
    """Return the fields that keep a commitment's number of periods, `after` one got more days."""
    agreed = before.committed
    if agreed is None:
        return {}
    begins_later = agreed.since >= before.current_period_end  # it runs in a trial
    moved = agreed.model_copy(
        update={
            "since": after.current_period_end if begins_later else agreed.since,
            "ends_at": added_days.agreed_end(before, after, agreed.ends_at, days),
        }
    )
    return {"commitment": moved.model_dump(mode="json")}


def _coming_terms(w: Work[SubscriptionFacts]) -> ContractTerms:
    """Return the terms of the contract that comes with the next period, which after a pause begins
    when it is resumed; without one none.
    """
    own = subscription_of(w)
    resumed = w.facts.at if own.status == "paused" else own.current_period_end
    contract = _new_at(w, max(own.current_period_end, resumed))
    return contract.terms if contract is not None else ContractTerms()


def _new_at(w: Work[SubscriptionFacts], at: datetime) -> Contract | None:
    """Return the contract of an instant, if the subscription has another one or none."""
    found = _in_force(w, at)
    return found if found is not None and found.id != subscription_of(w).contract_id else None


def _in_force(w: Work[SubscriptionFacts], at: datetime) -> Contract | None:
    """Return the contract of an instant."""
    return next((one for one in w.facts.contracts if one.holds_at(at)), None)


def _sell(w: Work[SubscriptionFacts], contract: Contract, at: datetime) -> None:
    """Apply the contract's price, if it has one for the plan, and its way of payment."""
    subscription, terms = subscription_of(w), contract.terms
    agreed = terms.price_of(subscription.plan_key, subscription.interval, subscription.currency)
    if agreed is not None:
        new_terms.take(w, new_terms.at_price(w, price(agreed, at)), drops_add_ons=False)
    _pay_by(w, contract)


def _pay_by(w: Work[SubscriptionFacts], contract: Contract) -> None:
    terms = contract.terms
    if terms.collection is not None:
        cycles.change(w, collection=terms.collection, days_until_due=terms.net_days)


def _commit(w: Work[SubscriptionFacts], contract: Contract, start: datetime, number: int) -> None:
    """Apply the contract, and its commitment from the period with this number on.

    A running commitment is kept to its end; the contract comes with the first period after it.
    """
    subscription, running = subscription_of(w), subscription_of(w).committed
    brings_one = _commitment(contract, subscription.currency) is not None
    if brings_one and running is not None and running.ends_at > start:
        return
    until = _until(subscription, number + _periods(contract))
    cycles.change(w, **_agreed(contract, subscription.currency, start, until))


def _until(s: Subscription, number: int) -> datetime:
    """Return the beginning of the period with this number."""
    return periods.boundary(s.anchor_wall, s.zone, s.interval, number)


def _agreed(
    contract: Contract, currency: str, start: datetime, committed_until: datetime
) -> dict[str, Any]:
    """Return the fields of the contract and its commitment, from a period's `start` on."""
    known, fields = _commitment(contract, currency), dict[str, Any](contract_id=contract.id)
    if known is not None:
        fields["commitment"] = Commitment(
            amount_minor=known.amount_minor, periods=known.periods,
            on_early_end=known.on_early_end, since=start, ends_at=committed_until,
        ).model_dump(mode="json")  # fmt: skip
    return fields


def _commitment(contract: Contract, currency: str) -> CommitmentTerms | None:
    """Return the contract's commitment for a subscription in this currency."""
    known = contract.terms.commitment
    return known if known is not None and known.currency == currency else None


def price(agreed: ContractPrice, at: datetime) -> Price:
    """Return an agreed price as one of the plan's."""
    return Price(
        id=agreed.price_id, kind="plan", key=agreed.plan, currency=agreed.currency,
        interval=agreed.interval, amount_minor=agreed.amount_minor,
        minimum_minor=agreed.minimum_minor, version=0, stripe_price_id=None, is_current=False,
        created_at=at,
    )  # fmt: skip


def _periods(contract: Contract) -> int:
    return contract.terms.commitment.periods if contract.terms.commitment else 1
