"""Orders of subscriptions: which plan, price and card they name, and whether they are sold."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as catalog
from billing.catalog.plans.rules import DEFAULT_CURRENCY, show_interval
from billing.catalog.plans.schemas import Plan, Price
from billing.core import clock
from billing.core.errors import Conflict, NotFound
from billing.core.frozen import Frozen
from billing.core.periods import Interval
from billing.ledger.credits import service as credits
from billing.money.contracts import store as contract_store
from billing.money.contracts.schemas import Contract
from billing.money.payment_methods import service as methods
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_rules
from billing.money.payments.demands import demand_chargeable, demand_price
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.schemas import NewSubscription
from billing.money.subscriptions.terms import agreements
from billing.money.trials import store as trial_store


class ValidOrder(Frozen):
    """A validated order: the plan version, its price, and the card to charge."""

    wanted: NewSubscription
    plan: Plan
    price: Price
    method: Method | None
    contract: Contract | None


async def validate(
    connection: AsyncConnection, account_id: UUID, wanted: NewSubscription
) -> ValidOrder:
    """Lock the account and validate an order; write nothing.

    Errors: PLAN_NOT_FOUND, QUANTITY_NOT_OFFERED, INTERVAL_NOT_OFFERED, CURRENCY_MISMATCH,
    PRICE_CHANGED, CURRENCY_NOT_CHARGED, PAYMENT_METHOD_NOT_FOUND; CARD_DECLINED for a named card
    that is barred.
    """
    await trial_store.lock(connection, account_id)
    balance = await credits.lock(connection, account_id)
    at = await clock.now(connection, account_id)
    known = await contract_store.ahead(connection, account_id, at)
    contract = next((one for one in known if one.holds_at(at)), None)
    currency = wanted.currency or balance.currency
    currency = currency or await _first_currency(connection, known, wanted)
    agreements.demand_currency(known, currency)
    # After the lock and in one statement, so that plan and price are of one version.
    offered = await catalog.offered_plan(connection, wanted.plan, currency, wanted.interval)
    if offered is None:
        raise NotFound("PLAN_NOT_FOUND", f"no plan {wanted.plan!r}")
    plan, price = offered
    items.demand_seats(plan, wanted.quantity)
    agreed = contract and contract.terms.price_of(plan.key, wanted.interval, currency)
    price = agreements.price(agreed, at) if agreed else price
    wanted = agreements.wish(contract, wanted)
    if price is None:
        await _demand_sold_by(connection, plan, wanted.interval)
    if price is None or balance.currency not in (None, currency):
        raise Conflict("CURRENCY_MISMATCH", f"plan {plan.key} has no such price in {currency}")
    demand_price(wanted.expected_minor, price.amount_minor * wanted.quantity, currency)
    if price.amount_minor and wanted.collection == "charge":
        demand_chargeable(currency)
    if wanted.method_id is not None:
        named = await methods.get(connection, wanted.method_id)
        if wanted.collection == "charge":
            card_rules.demand_able(named, currency)
        method: Method | None = named
    else:
        method = None if wanted.pay_by_card else await methods.default(connection, account_id)
    return ValidOrder(wanted=wanted, plan=plan, price=price, method=method, contract=contract)


async def _first_currency(
    connection: AsyncConnection, known: Sequence[Contract], wanted: NewSubscription
) -> str:
    """Return the currency of an account that has none yet and does not name one."""
    if not known:
        return DEFAULT_CURRENCY
    found = await catalog.offered_plan(connection, wanted.plan, DEFAULT_CURRENCY, wanted.interval)
    agreed = found and known[0].terms.currency_of(found[0].key, wanted.interval)
    return agreed or DEFAULT_CURRENCY


async def _demand_sold_by(connection: AsyncConnection, plan: Plan, wanted: Interval) -> None:
    """Raise INTERVAL_NOT_OFFERED if the plan is not sold per this interval."""
    known = await catalog.intervals(connection, plan.key)
    if wanted not in known:
        sold = ", ".join(show_interval(one) for one in known)
        raise Conflict(
            "INTERVAL_NOT_OFFERED",
            f"plan {plan.key} is not sold at this interval; available: {sold}",
        )
