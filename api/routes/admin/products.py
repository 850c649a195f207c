"""Meters, products and agreed prices, for operators: read, and put one at a time [B10, B13, B15].

A changed price is valid from now on; earlier uses keep the price of their time.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.pagination import Page, Paging, as_page, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId, encoded
from api.answers.schemas import Answer, Body, KeyPath, OneWord, Text
from api.calls import account_filter, account_named
from api.dependencies import AdminCall
from api.routes.admin.catalog import AllowLarge, ChangesAnswer, demand_small
from api.routes.base import new_router
from billing.catalog.plans import service
from billing.catalog.products import store
from billing.catalog.products.schemas import OVERRIDE, Meter, Product, ProductPrice
from billing.catalog.products.spec import PRODUCT_KEY, MeterSpec, ProductSpec, SoldIn
from billing.catalog.products.tables import price_overrides, products
from billing.catalog.rating.schemas import CREDIT, PriceTerms, StatedTerms
from billing.ledger.credits import service as credits
from billing.platform.audit import service as audit

router = new_router("catalog administration")

ProductKey = Annotated[str, Path(pattern=PRODUCT_KEY)]


class PricedProduct(Product):
    """A product with every version of its prices, newest first."""

    prices: list[ProductPrice] = Field(description="Every version of its prices, newest first")


class AgreeBody(Body):
    """A price agreed with one account, from now on; without `terms` the agreement ends."""

    account_id: Text = Field(description="The account, by our id or your own")
    product: Text
    currency: SoldIn = Field(
        CREDIT, description="ISO 4217 of the price; `CREDIT` for a price in credits"
    )
    terms: StatedTerms | None = Field(
        None, description="The price: of one unit, or terms with a model; null ends the agreement"
    )


class AgreedAnswer(Answer):
    """A price of one account: agreed with it, or given by the product service."""

    override_id: Annotated[str, encoded(OVERRIDE)] = Field(validation_alias="id")
    account_id: AccountId
    product: str
    currency: str
    terms: PriceTerms = Field(description="The price")
    source: Literal["agreed", "service"] = Field(
        description="`agreed` with the account, or given by the product `service`"
    )
    effective_from: datetime
    effective_to: datetime | None


@router.get("/admin/meters", responses=responses())
async def list_meters(call: AdminCall) -> Page[Meter]:
    """All meters, and the names that callers may use for them."""
    async with call.database.operator() as connection:
        return as_page(await store.all_meters(connection))


@router.put("/admin/meters/{key}", responses=responses())
async def put_meter(key: KeyPath, body: MeterSpec, call: AdminCall) -> ChangesAnswer:
    """Add or change a meter."""
    async with call.database.operator() as connection:
        return ChangesAnswer.of_changes(await service.put_meter(connection, key, body))


@router.get("/admin/products", responses=responses("INVALID_CURSOR"))
async def list_products(call: AdminCall, paging: Paging) -> Page[PricedProduct]:
    """Products with the history of their prices, newest first."""
    async with call.database.operator() as connection:
        keys = (products.c.created_at, products.c.key)
        page = await paginate(connection, store.listing(), keys, paging, store.show_product)
        prices = await store.versions(connection, [one.key for one in page.data])
    data = [PricedProduct(**one.model_dump(), prices=prices[one.key]) for one in page.data]
    return Page(data=data, pagination=page.pagination)


@router.put(
    "/admin/products/{key:path}", responses=responses("METER_NOT_FOUND", "CHANGE_TOO_LARGE")
)
async def put_product(
    key: ProductKey, body: ProductSpec, call: AdminCall, large: AllowLarge = False
) -> ChangesAnswer:
    """Add or change a product; each changed price starts a new version now."""
    async with call.database.operator() as connection:
        changes = await service.put_product(connection, key, body)
        return ChangesAnswer.of_changes(demand_small(changes, allowed=large))


@router.get("/admin/price-overrides", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_price_overrides(
    call: AdminCall, paging: Paging, account_id: OneWord = None
) -> Page[AgreedAnswer]:
    """Prices of one account or of all, newest first, including ended ones.

    `source` is whether it was agreed here or given by the product service.
    """
    async with call.database.operator() as connection:
        query = store.overrides(await account_filter(connection, account_id))
        keys = (price_overrides.c.effective_from, price_overrides.c.id)
        return await paginate(connection, query, keys, paging, _show)


@router.put(
    "/admin/price-overrides",
    responses={
        204: {"description": "The agreement is ended"},
        **responses("MERCHANT_NOT_FOUND", "PRODUCT_NOT_FOUND"),
    },
    response_model=AgreedAnswer,
)
async def put_price_override(body: AgreeBody, call: AdminCall) -> AgreedAnswer | Response:
    """Agree a price with an account, or end the agreement (204) [B10].

    Repeating the request changes nothing.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, body.account_id)
        at = await credits.now_locked(connection, account.id)
        found, changed = await store.put_override(
            connection, account.id, body.product, body.currency, body.terms, at
        )
        if changed:
            await _note(connection, account.id, body, at)
    return AgreedAnswer.of(found) if found else Response(status_code=204)


async def _note(
    connection: AsyncConnection, account_id: UUID, body: AgreeBody, at: datetime
) -> None:
    await audit.record(
        connection,
        account_id=account_id,
        action="price.agreed" if body.terms else "price.agreement_ended",
        subject=f"product {body.product}",
        at=at,
        **body.model_dump(mode="json", include={"currency", "terms"}),
    )


def _show(row: RowMapping) -> AgreedAnswer:
    return AgreedAnswer.of(store.show_override(row))
