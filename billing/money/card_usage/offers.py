"""Quote a use: its cost now, and the ways to pay it that recording would accept [F8, F26]."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.products import store as products
from billing.catalog.rating import rules as rating
from billing.catalog.rating.schemas import BY_CARD, BY_PLAN, CREDIT, BillingMethod, Rating
from billing.core.errors import NotFound
from billing.ledger.credits import store as balances
from billing.metering.usage import quoting
from billing.metering.usage.quoting import Quotes
from billing.money.card_usage import service as card_usage
from billing.platform.accounts import store as accounts


@dataclass(frozen=True, slots=True)
class UseQuote:
    """The quoted cost of a use, and the ways to pay it."""

    rating: Rating
    currency: str
    suggested: BillingMethod | None
    """None if nothing could pay it now."""
    available: tuple[BillingMethod, ...]


async def offer(
    connection: AsyncConnection, account_id: UUID, product: str, amount: Decimal, at: datetime
) -> UseQuote:
    """Price a use of a product at an instant; writes nothing.

    It is what the suggested way would pay: the plan's price beyond what the plan includes, unless
    the plan blocks or another way is preferred; else credits, or by card the account's currency,
    which is the only way if the product has no price in credits.
    Errors: PRODUCT_PRICING_NOT_FOUND [F11].
    """
    currency = await balances.currency(connection, account_id) or DEFAULT_CURRENCY
    found = await quoting.quotes(connection, account_id, product, amount, (CREDIT, currency), at)
    prices, plan = found.prices, found.plan
    sold = plan if CREDIT in prices and plan is not None and not plan.is_included else None
    if sold is not None and not sold.total:
        return UseQuote(sold, CREDIT, BY_PLAN, (BY_PLAN,))
    money = prices.get(currency)
    chargeable = money is not None and await _chargeable(
        connection, account_id, money.total, currency
    )
    if CREDIT in prices:
        suggested, available = await _ways(
            connection, account_id, product, found, at, chargeable=chargeable, by_plan=bool(sold)
        )
        if suggested == BY_PLAN and sold is not None:
            return UseQuote(sold, found.currency or CREDIT, suggested, available)
        if suggested == BY_CARD and money is not None:
            return UseQuote(money, currency, suggested, available)
        return UseQuote(prices[CREDIT], CREDIT, suggested, available)
    if money is None:
        raise NotFound("PRODUCT_PRICING_NOT_FOUND")
    if not chargeable:
        return UseQuote(money, currency, None, ())
    return UseQuote(money, currency, BY_CARD, (BY_CARD,))


async def _chargeable(
    connection: AsyncConnection, account_id: UUID, total: Decimal, currency: str
) -> bool:
    """True if the use could be recorded as paid by card; a free use needs no card."""
    if not total:
        return True
    return await card_usage.offered(connection, account_id, total, currency) is not None


async def _ways(
    connection: AsyncConnection,
    account_id: UUID,
    product: str,
    found: Quotes,
    at: datetime,
    *,
    chargeable: bool,
    by_plan: bool,
) -> tuple[BillingMethod, tuple[BillingMethod, ...]]:
    sold = await products.find_product(connection, product)
    meter = sold.meter if sold else ""
    bought, free = await balances.spendable(connection, account_id, meter, at)
    account = await accounts.get(connection, account_id)
    return rating.methods(
        found.prices[CREDIT],
        paid_credits=bought,
        free_credits=free,
        chargeable=chargeable,
        preferred=account.preferred_billing_method,
        entitled=found.is_entitled,
        by_plan=by_plan,
    )
