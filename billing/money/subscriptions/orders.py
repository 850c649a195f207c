"""Orders of subscriptions: which plan, price and card they name, and whether they are sold."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as catalog
from billing.catalog.plans.rules import DEFAULT_CURRENCY, show_interval
from billing.catalog.plans.schemas import OfferedPlan, Plan, Price
from billing.core.errors import Conflict, NotFound
from billing.core.frozen import Frozen
from billing.core.periods import Interval
from billing.money.contracts import store as contract_store
from billing.money.contracts.schemas import Contract
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.schemas import Method
from billing.money.payments import card_rules
from billing.money.payments.demands import demand_chargeable, demand_price
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.schemas import NewSubscription
from billing.money.subscriptions.terms import agreements


class CheckedOrder(Frozen):
    """A validated order: the plan version, its price, and the card to charge."""

    wanted: NewSubscription
    plan: Plan
    price: Price
    method: Method | None
    contract: Contract | None


async def validate(
    connection: AsyncConnection,
    account_id: UUID,
    wanted: NewSubscription,
    *,
    pays_in: str | None,
    at: datetime,
) -> CheckedOrder:
    """Validate an order under the account's lock; write nothing. `pays_in` is the account's
    currency.

    Errors: PLAN_NOT_FOUND, QUANTITY_NOT_OFFERED, INTERVAL_NOT_OFFERED, CURRENCY_MISMATCH,
    PRICE_TOO_LARGE, PRICE_CHANGED, CURRENCY_NOT_CHARGED, PAYMENT_METHOD_NOT_FOUND; CARD_DECLINED
    for a named card that is barred.
    """
    known = await contract_store.ahead(connection, account_id, at)
    contract = next((one for one in known if one.holds_at(at)), None)
    currency = wanted.currency or pays_in
    currency = currency or await _first_currency(connection, known, wanted)
    agreements.demand_currency(known, currency)
    # After the lock and in one statement, so that plan and price are of one version.
    offered = await catalog.offered_plan(connection, wanted.plan, currency, wanted.interval)
    if offered is None:
        raise NotFound("PLAN_NOT_FOUND", f"no plan {wanted.plan!r}")
    plan = offered.plan
    items.demand_seats(plan, wanted.quantity)
    price = await _price(connection, contract, offered, wanted.interval, currency, at)
    if pays_in not in (None, currency):
        raise Conflict("CURRENCY_MISMATCH", f"the account pays in {pays_in}")
    items.demand_bounded_price(price.amount_minor, wanted.quantity)
    wanted = agreements.wish(contract, wanted)
    demand_price(wanted.expected_minor, price.amount_minor * wanted.quantity, currency)
    if price.amount_minor and wanted.collection == "charge":
        demand_chargeable(currency)
    method = await _card(connection, account_id, wanted, currency)
    return CheckedOrder(wanted=wanted, plan=plan, price=price, method=method, contract=contract)


async def _price(
    connection: AsyncConnection,
    contract: Contract | None,
    offered: OfferedPlan,
    interval: Interval,
    currency: str,
    at: datetime,
) -> Price:
    """Return the agreed price, else the one on sale. Errors: INTERVAL_NOT_OFFERED,
    CURRENCY_MISMATCH.
    """
    plan, price = offered
    agreed = contract.terms.price_of(plan.key, interval, currency) if contract is not None else None
    if agreed is not None:
        return agreements.price(agreed, at)
    if price is not None:
        return price
    known = await catalog.intervals(connection, plan.key)
    if interval in known:
        raise Conflict("CURRENCY_MISMATCH", f"plan {plan.key} has no such price in {currency}")
    sold = ", ".join(show_interval(one) for one in known)
    raise Conflict(
        "INTERVAL_NOT_OFFERED", f"plan {plan.key} is not sold at this interval; available: {sold}"
    )


async def _card(
    connection: AsyncConnection, account_id: UUID, wanted: NewSubscription, currency: str
) -> Method | None:
    """Return the card to charge: the named one, else the default unless the client confirms one.

    Errors: PAYMENT_METHOD_NOT_FOUND, CARD_DECLINED, CURRENCY_NOT_CHARGED.
    """
    if wanted.method_id is None:
        return None if wanted.pay_by_card else await method_store.default(connection, account_id)
    named = await method_store.get(connection, wanted.method_id)
    if wanted.collection == "charge":
        card_rules.demand_fits(named, currency)
    return named


async def _first_currency(
    connection: AsyncConnection, known: Sequence[Contract], wanted: NewSubscription
) -> str:
    """Return the currency of an account that has none yet and does not name one."""
    if not known:
        return DEFAULT_CURRENCY
    found = await catalog.offered_plan(connection, wanted.plan, DEFAULT_CURRENCY, wanted.interval)
    agreed = found and known[0].terms.currency_of(found[0].key, wanted.interval)
    return agreed or DEFAULT_CURRENCY
