"""A use paid by card at once: recorded, and put on an invoice of one line to be charged.

Each verb runs in the caller's transaction; the order of locks is account, record, invoice.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import SERVED
from billing.catalog.rating.schemas import BY_CARD
from billing.core import clock, ids
from billing.core.currencies import chargeable, collectable, is_too_large
from billing.core.money import exponent, round_minor
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.kinds import CHARGE
from billing.matters.schemas import Matter
from billing.metering.usage import sql_batch
from billing.metering.usage import store as records
from billing.metering.usage.schemas import BillingRecord, Recorded, Use
from billing.money.card_usage import reading, transitions
from billing.money.card_usage.obstacles import Obstacle, not_offered
from billing.money.invoices import balances, usage_lines
from billing.money.invoices.arrears import SINGLE_USE
from billing.money.invoices.schemas import Line
from billing.money.invoices.sums import sum_lines
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.rules import takes
from billing.money.payments.demands import demand_usable, forbidden
from billing.money.subscriptions import store as subscriptions
from billing.money.taxation.reading import taxation
from billing.platform.accounts import issuers
from billing.platform.decisions import service as decisions


@dataclass(frozen=True, slots=True)
class CardCharge:
    """A use's payment by card: the line of its price, and the card that would pay."""

    line: Line
    method_id: UUID


@dataclass(frozen=True, slots=True)
class PriceInMoney:
    """The price of a use in money, in whole units of `currency`."""

    total: Decimal
    unit: Decimal
    currency: str


async def record(connection: AsyncConnection, use: Use) -> tuple[Recorded, Matter | None]:
    """Record a use that a card pays; return the matter to start afterwards, which charges it.

    An included or free use needs no card. Errors: PAYMENT_CHARGE_NOT_OFFERED.
    """
    await connection.execute(text("SELECT set_config('app.charging', 'on', true)"))
    done = (await sql_batch.record(connection, [use], [1])).answers[0]
    if done.verdict != "recorded" or done.method != BY_CARD:
        return done, None
    found = await records.get_record(connection, use.account_id, done.id)
    price = PriceInMoney(found.total_amount, found.unit_price, found.currency)
    return done, await begin(connection, found, price)


async def offered(
    connection: AsyncConnection,
    account_id: UUID,
    total: Decimal,
    currency: str,
    used_at: datetime | None = None,
) -> CardCharge | None:
    """Return the charge for `total` as `assess` finds it; None if no card can pay it [F26]."""
    found = await assess(connection, account_id, total, currency, used_at)
    return found if isinstance(found, CardCharge) else None


async def assess(
    connection: AsyncConnection,
    account_id: UUID,
    total: Decimal,
    currency: str,
    used_at: datetime | None,
) -> CardCharge | Obstacle:
    """Return the charge for `total`, whole units of `currency`, or why no card can pay it.

    Its tax is that of the plan whose cycle the use was in; `used_at` None is now.
    A charge needs a usable card and at least a cent. An amount below the provider's minimum with
    its tax is charged together with carried amounts, once both reach the minimum; until then there
    must be a running subscription, whose next invoice carries it.
    """
    amount_minor = round_minor(total.scaleb(exponent(currency)))
    method = await method_store.default(connection, account_id)
    if method is None:
        return "no_card"
    if not chargeable(currency) or not takes(method, currency):
        return "currency"
    if amount_minor <= 0:
        return "too_small"
    at = await clock.now(connection, account_id)
    if await forbidden(connection, method, at) is not None:
        return "card_barred"
    price = Decimal(amount_minor)
    line = Line(kind=SINGLE_USE, description="", unit_amount=price, amount_minor=amount_minor)
    line = await usage_lines.of_its_plan(connection, account_id, line, used_at or at)
    asked = await _with_tax(connection, account_id, line, currency, at)
    if is_too_large(asked, currency):
        return "too_large"
    together = asked + max(0, -await balances.money(connection, account_id, currency))
    charged = any(_is_chargeable(one, currency) for one in (asked, together))
    if not charged and not await _is_carried(connection, account_id):
        return "too_small"
    return CardCharge(line, method.id)


async def begin(
    connection: AsyncConnection,
    record: BillingRecord,
    price: PriceInMoney,
    *,
    unattended: bool = False,
) -> Matter | None:
    """Write the invoice of a use and charge its card, or carry it to the next invoice.

    Returns None if nothing is charged now: it is paid from the balance, or `carried`, and the next
    invoice of the subscription collects it (docs/rules/money.md).
    Errors: PAYMENT_CHARGE_NOT_OFFERED.
    """
    await credits.fix_currency(connection, record.account_id, price.currency)
    charge = await assess(
        connection, record.account_id, price.total, price.currency, record.period_start
    )
    if not isinstance(charge, CardCharge):
        await _refuse_card(connection, record.account_id, price.currency)
        raise not_offered(charge)
    about = {
        "description": f"{record.product_id}, {record.occurred_at:%-d %b %Y %H:%M} UTC",
        "quantity": record.charged_units,
        "unit_amount": price.unit * Decimal(10) ** exponent(price.currency),
        "detail": {"billing_id": ids.encode(ids.BILLING_RECORD, record.id), "meter": record.meter},
    }
    begin = partial(
        transitions.begin,
        line=charge.line.model_copy(update=about),
        currency=price.currency,
        issuer_id=await issuers.seller(connection, record.account_id),
        method_id=charge.method_id,
        unattended=unattended,
    )
    await decisions.command(connection, reading.ENGINE, record.id, begin)
    return await matters.find(connection, CHARGE.workflow_id(record.id))


async def _with_tax(
    connection: AsyncConnection, account_id: UUID, line: Line, currency: str, at: datetime
) -> int:
    """Return the total of a use's invoice, with tax."""
    taxes = (await taxation(connection, account_id)).at(at)
    (summed,) = sum_lines((line,), taxation=taxes, currency=currency)
    return summed.total_minor


def _is_chargeable(amount_minor: int, currency: str) -> bool:
    """True if one charge of a card can be of this amount, or of its whole steps."""
    return collectable(amount_minor, currency) > 0 and not is_too_large(amount_minor, currency)


async def _is_carried(connection: AsyncConnection, account_id: UUID) -> bool:
    """True if a next invoice will collect what was carried."""
    running = await subscriptions.find_open(connection, account_id)
    return running is not None and running.status in SERVED


async def _refuse_card(connection: AsyncConnection, account_id: UUID, currency: str) -> None:
    """Raise CARD_DECLINED if the only obstacle is a card that may not be tried."""
    card = await method_store.default(connection, account_id)
    if card is not None and takes(card, currency):
        await demand_usable(connection, card, currency, await clock.now(connection, account_id))
