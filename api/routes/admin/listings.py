"""Subscriptions, invoices and purchases of all accounts, for operators.

Sorted by real time, newest first, by their ids, whatever the clock of a test account shows.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from api.answers import statuses
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId, InvoiceId, PurchaseId, SubscriptionId
from api.answers.schemas import Answer, Credits, OneWord
from api.calls import account_filter
from api.dependencies import AdminCall
from api.routes.base import new_router
from api.routes.invoice_answers import InvoiceAnswer, show_row
from api.routes.invoices import StatusFilter, status_of
from billing.catalog.plans import rules
from billing.catalog.plans.schemas import Currency
from billing.core.money import MINOR_LIMIT
from billing.money.invoices import store as invoice_store
from billing.money.invoices.schemas import InvoiceCollection
from billing.money.invoices.tables import invoices
from billing.money.purchases import store as purchase_store
from billing.money.purchases.schemas import PurchaseStatus
from billing.money.purchases.tables import purchases
from billing.money.subscriptions import store as subscription_store
from billing.money.subscriptions.schemas import Collection
from billing.money.subscriptions.states import State
from billing.money.subscriptions.tables import subscriptions

router = new_router("listings")


class SoldAnswer(Answer):
    """A subscription, with the versions of plan and price that it was sold with.

    `price_cents` is the price of one seat per interval, `amount_cents` that of the plan per period.
    """

    subscription_id: SubscriptionId = Field(validation_alias="id")
    account_id: AccountId
    status: str = Field(description=statuses.SUBSCRIPTION)
    plan: str = Field(validation_alias="plan_key")
    plan_version: int = Field(description="The version of the plan that was sold")
    price_cents: int
    price_version: int = Field(description="The version of the price that was sold")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the plan per period, with its seats, before discounts and tax, in"
        " minor units",
    )
    currency: str
    interval: str = Field(description="The interval of its price, such as `month` or `3 months`")
    collection: Collection
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    cancel_at: datetime | None
    ended_at: datetime | None
    created_at: datetime


class BoughtAnswer(Answer):
    """A purchase of a pack, with its account."""

    purchase_id: PurchaseId = Field(validation_alias="id")
    account_id: AccountId
    status: str = Field(description=statuses.PURCHASE)
    pack: str
    credits: Credits = Field(description="The credits that it brings")
    amount_cents: int = Field(
        validation_alias="amount_minor",
        description="The price of the pack before discounts and tax, in minor units",
    )
    currency: str
    payment_method: str = Field(
        validation_alias="flow",
        description="`card`, `saved_card`, `checkout`, `paypal` or `manual`",
    )
    invoice_id: InvoiceId
    failure_code: str | None
    created_at: datetime
    completed_at: datetime | None


Price = Annotated[
    int | None,
    Query(ge=0, lt=MINOR_LIMIT, description="Minor units of one seat per interval, such as 490"),
]


@router.get("/admin/subscriptions", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_all_subscriptions(
    call: AdminCall,
    paging: Paging,
    plan: OneWord = None,
    price: Price = None,
    currency: Annotated[
        Currency | None, Query(description="Only subscriptions in this currency, ISO 4217")
    ] = None,
    status: State | None = None,
    account_id: OneWord = None,
) -> Page[SoldAnswer]:
    """Subscriptions of all accounts, newest first; `price` finds who bought at a wrong price."""
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = subscription_store.listing(
            account, plan=plan, price_minor=price, currency=currency, status=status
        )
        return await paginate(connection, query, (subscriptions.c.id,), paging, _sold)


@router.get("/admin/invoices", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_all_invoices(
    call: AdminCall,
    paging: Paging,
    status: StatusFilter | None = None,
    collection: Annotated[
        InvoiceCollection | None,
        Query(
            description="Only invoices that are paid this way: `automatic` by a saved card,"
            " `send_invoice` by transfer, `held` not until an operator decides"
        ),
    ] = None,
    account_id: OneWord = None,
    number: OneWord = None,
) -> Page[InvoiceAnswer]:
    """Invoices of all accounts, newest first; `pending` means open. While open, a `held` invoice
    waits for an operator.
    """
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = invoice_store.listing(
            account, status=status_of(status), collection=collection, number=number
        )
        return await paginate(connection, query, (invoices.c.id,), paging, show_row)


@router.get("/admin/purchases", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_all_purchases(
    call: AdminCall,
    paging: Paging,
    status: PurchaseStatus | None = None,
    pack: OneWord = None,
    account_id: OneWord = None,
) -> Page[BoughtAnswer]:
    """Purchases of all accounts, newest first, archived ones too."""
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = purchase_store.listing(account, status=status, pack=pack, archived=True)
        return await paginate(connection, query, (purchases.c.id,), paging, BoughtAnswer.of)


def _sold(row: Any) -> SoldAnswer:
    sold = subscription_store.show(row)
    more = {name: row[name] for name in ("plan_version", "price_version", "price_cents")}
    return SoldAnswer.of(sold, interval=rules.show_interval(sold.interval), **more)
