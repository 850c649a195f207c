"""Start a purchase: its rows, its draft invoice, its payment and its matter in one transaction.
Ask for its cancel.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store as catalog
from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.plans.schemas import OfferedPack, Pack, Price
from billing.core import context, ids
from billing.core.clock import now_by, real_now
from billing.core.currencies import demand_enough, demand_payable
from billing.core.errors import Conflict, Invalid
from billing.core.paypal_currencies import demand_taken
from billing.core.prepared import answers
from billing.core.settings import Settings
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.agenda import head
from billing.matters.effects import Bear, Rows, Work
from billing.matters.kinds import PURCHASE
from billing.matters.schemas import Matter
from billing.money.discounts import service as discount_service
from billing.money.discounts.schemas import Discount
from billing.money.discounts.service import Redeeming
from billing.money.invoices import balances
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods import store as method_store
from billing.money.payment_methods.schemas import Method
from billing.money.payments.demands import demand_chargeable, demand_price, demand_usable
from billing.money.payments.rules import PAGE_LIFETIMES
from billing.money.purchases import canceling, outcomes
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.rules import Flow, agenda
from billing.money.purchases.schemas import NewPurchase, Purchase
from billing.money.purchases.views import view
from billing.money.taxation.reading import TAXATION_OF, shown
from billing.platform.accounts.schemas import Account
from billing.platform.decisions import service as decisions
from billing.platform.decisions import writer
from billing.platform.decisions.service import now_facts


class PurchaseTerms(NamedTuple):
    """The facts that decide a purchase; `offered` is None if no such pack is on sale."""

    offered: OfferedPack | None
    facts: PurchaseFacts
    seller_id: UUID | None


async def start(
    connection: AsyncConnection,
    account_id: UUID,
    wanted: NewPurchase,
    *,
    purchase_id: UUID,
    settings: Settings,
    at: datetime | None = None,
) -> Matter:
    """Write a pending purchase with all it needs; its workflow is started after the commit.

    Without `at` it is the account's now, read under its lock.
    Errors: INVALID_PACK [E6]; INVALID_COUPON; CURRENCY_MISMATCH; PRICE_CHANGED;
    CURRENCY_NOT_CHARGED;
    PAYMENT_METHOD_NOT_FOUND; PAYMENT_METHOD_REQUIRED; CARD_DECLINED; AMOUNT_TOO_LARGE for any flow
    except the manual one; AMOUNT_TOO_SMALL if a card must pay; IDEMPOTENCY_KEY_REQUIRED if the
    money balance pays it all and the order has no key.
    """
    balance, account = await credits.lock_with_account(connection, account_id)
    at = at or now_by(account.clock_at)
    currency = wanted.currency or balance.currency or DEFAULT_CURRENCY
    terms = await _terms(connection, account, wanted, currency, purchase_id, at)
    pack, price = _demand_offered(wanted, terms.offered, currency)
    if wanted.flow == "saved_card" or wanted.method_id is not None:
        # Under the lock, so that a method removed meanwhile is not found.
        wanted = await _with_method(connection, account, wanted, currency, at)
    if balance.currency not in (None, currency):
        raise Conflict("CURRENCY_MISMATCH", f"the account pays in {balance.currency}")
    row = _row(account, wanted, purchase_id, pack, price, settings, at)
    discount = await _redeem(connection, account, row, wanted.coupon, at)
    return await _write(
        connection, terms, row, discount, at,
        use_balance=wanted.use_balance, is_keyed=wanted.is_keyed, pays_in=balance.currency,
    )  # fmt: skip


async def cancel(connection: AsyncConnection, purchase_id: UUID) -> Matter | None:
    """Ask that a pending purchase be canceled; return its matter, which asks the provider next.

    Errors: PURCHASE_NOT_FOUND, PURCHASE_STATE, PAYMENT_PENDING.
    """
    await decisions.command(connection, ENGINE, purchase_id, canceling.ask)
    return await matters.find(connection, PURCHASE.workflow_id(purchase_id))


async def _terms(
    connection: AsyncConnection,
    account: Account,
    wanted: NewPurchase,
    currency: str,
    purchase_id: UUID,
    at: datetime,
) -> PurchaseTerms:
    """Read under the account's lock, in one round trip."""
    own = {"account_id": account.id}
    sold, (money,), (tax,) = await answers(
        connection,
        catalog.pack_query(wanted.pack, currency),
        (balances.MONEY, own | {"in_currency": currency}),
        (TAXATION_OF, own),
    )
    facts = PurchaseFacts(
        **now_facts(account.clock_at, real_now()) | {"at": at},
        new_id=ids.new,
        is_test=account.is_test,
        balance_minor=int(money["minor"]),
        taxation=shown(tax["taxation"]),
        purchase_id=purchase_id,
    )
    return PurchaseTerms(wanted.offered or catalog.shown_pack(sold), facts, tax["seller_id"])


def _demand_offered(
    wanted: NewPurchase, offered: OfferedPack | None, currency: str
) -> tuple[Pack, Price]:
    if offered is None:
        raise Invalid("INVALID_PACK", f"no credit pack {wanted.pack!r}")
    pack, price = offered
    if price is None:
        raise Conflict("CURRENCY_MISMATCH", f"pack {pack.key} has no price in {currency}")
    demand_price(wanted.expected_minor, price.amount_minor, currency)
    if wanted.flow == "paypal":
        demand_taken(price.amount_minor, currency)
    elif wanted.flow != "manual":
        demand_chargeable(currency)
    return pack, price


async def _with_method(
    connection: AsyncConnection,
    account: Account,
    wanted: NewPurchase,
    currency: str,
    at: datetime,
) -> NewPurchase:
    """Set the named or the default card; refuse one that may not be tried."""
    if wanted.method_id is not None:
        card: Method | None = await method_store.get(connection, wanted.method_id)
    else:
        card = await method_store.default(connection, account.id)
    if card is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED")
    if wanted.flow == "saved_card":
        await demand_usable(connection, card, currency, at)
    return wanted.model_copy(update={"method_id": card.id})


async def _redeem(
    connection: AsyncConnection,
    account: Account,
    row: Mapping[str, Any],
    code: str | None,
    at: datetime,
) -> Discount | None:
    if code is None:
        return None
    asked = Redeeming(
        code=code, product=row["pack"], currency=row["currency"], purchase_id=row["id"]
    )
    return await discount_service.redeem(connection, account, asked, ids.new(), at)


async def _write(
    connection: AsyncConnection,
    terms: PurchaseTerms,
    row: dict[str, Any],
    discount: Discount | None,
    at: datetime,
    *,
    use_balance: bool,
    is_keyed: bool,
    pays_in: str | None,
) -> Matter:
    """Write the purchase's rows, and its matter with the first step; `pays_in` is the account's
    currency, None: this purchase fixes it, if it costs anything.
    """
    account_id = row["account_id"]
    work = Work(Rows(), terms.facts)
    if discount is not None:
        work.add(discount)
    bought = outcomes.start(work, row, terms.seller_id, use_balance=use_balance)
    _demand_asked(bought, work.rows.get(Invoice, bought.invoice_id), is_keyed=is_keyed)
    # After the last check, because a refused top-up still commits its transaction.
    if pays_in is None and work.rows.get(Invoice, bought.invoice_id).total_minor > 0:
        await credits.fix_currency(connection, account_id, row["currency"])
    born = Bear(PURCHASE, account_id, row["id"], head(agenda(view(work.rows, terms.facts))))
    await writer.write(connection, [*work.effects, born], at, ENGINE.verbs)
    return matters.of_birth(born)


def _demand_asked(bought: Purchase, invoice: Invoice, *, is_keyed: bool) -> None:
    """Refuse a remainder that the flow cannot charge: no later invoice would carry it. Refuse
    without a key what the money balance pays at once: a repeat would pay it again.

    Errors: CURRENCY_NOT_CHARGED; AMOUNT_TOO_LARGE; AMOUNT_TOO_SMALL; IDEMPOTENCY_KEY_REQUIRED.
    """
    if bought.status != "pending":
        if invoice.balance_applied_minor > 0 and not is_keyed:
            raise Invalid(
                "IDEMPOTENCY_KEY_REQUIRED",
                "send an Idempotency-Key: the money balance pays this at once",
            )
    elif bought.flow == "paypal":
        demand_taken(invoice.remaining_minor, invoice.currency)
    elif bought.flow != "manual":
        demand_payable(invoice.remaining_minor, invoice.currency)
        demand_enough(invoice.remaining_minor, invoice.currency)


def _row(
    account: Account,
    wanted: NewPurchase,
    purchase_id: UUID,
    pack: Pack,
    price: Price,
    settings: Settings,
    at: datetime,
) -> dict[str, Any]:
    return {
        "id": purchase_id,
        "account_id": account.id,
        "pack": pack.key,
        "pack_name": pack.name,
        "credits": pack.credits,
        "amount_minor": price.amount_minor,
        "tax_category": pack.tax_category,
        "currency": price.currency,
        "platform": wanted.flow if wanted.flow in ("manual", "paypal") else wanted.platform,
        "flow": wanted.flow,
        "payment_method_id": wanted.method_id,
        "status": "pending",
        "return_url": wanted.return_url,
        "top_up_id": wanted.top_up_id,
        "correlation_id": context.correlation_id.get(),
        "created_by": context.actor.get(),
        "created_at": at,
        "expires_at": at + _lifetime(wanted.flow, settings),
    }


def _lifetime(flow: Flow, settings: Settings) -> timedelta:
    """Return the time in which a purchase is paid: its page is not open for longer."""
    if flow == "manual":
        return timedelta(days=settings.manual_expiry_days)
    asked = timedelta(hours=settings.purchase_expiry_hours)
    return min(asked, PAGE_LIFETIMES.get(flow, asked))
