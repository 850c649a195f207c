"""Coupons, for operators: create, list and close them [B9, L2]."""

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field
from sqlalchemy import RowMapping

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.schemas import Answer, Credits, Instant
from api.dependencies import AdminCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from billing.catalog.coupons import service, store
from billing.catalog.coupons.schemas import Code, CouponName, CouponSpec
from billing.catalog.coupons.tables import coupons

router = new_router("coupons")


class NewCoupon(CouponSpec):
    """A coupon to create; its texts may not contain card numbers."""

    code: Annotated[Code, NoCardNumber] = Field(description="What customers enter, in any letters")
    name: Annotated[CouponName, NoCardNumber] = Field(
        description="The name of the coupon, for people"
    )
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class CouponAnswer(Answer):
    """A coupon; `redeemed` includes redemptions reserved for undecided payments."""

    code: str = Field(description="The code, in capital letters")
    name: str = Field(description="The name of the coupon, for people")
    percent: Credits | None
    amounts: dict[str, int]
    duration: str
    periods: int | None = Field(
        description="The number of periods that it reduces; null: `duration` says it"
    )
    kinds: list[str]
    sold: list[str]
    first_purchase: bool
    verified_as: str | None = Field(
        description="Only for accounts that are verified as this; null: for all"
    )
    max_redemptions: int | None
    max_per_account: int
    redeemed: int = Field(
        description="How often it was redeemed, with what is reserved for payments to come"
    )
    valid_from: datetime | None
    valid_until: datetime | None
    is_active: bool = Field(description="False: it is closed")
    created_at: datetime


@router.post(
    "/admin/coupons",
    response_model=CouponAnswer,
    status_code=201,
    responses=responses("COUPON_EXISTS", *KEYED),
)
async def create_coupon(body: NewCoupon, call: AdminCall, once: OptionalKey) -> Response:
    """Create a coupon; its terms cannot be changed."""
    async with once.claim(call) as claim:
        async with call.database.operator() as connection:
            made = CouponAnswer.of(await service.add(connection, body))
            await claim.keep(connection, 201, made)
        return claim.answer(201, made)


@router.get("/admin/coupons", responses=responses("INVALID_CURSOR"))
async def list_coupons(
    call: AdminCall, paging: Paging, active_only: bool = False
) -> Page[CouponAnswer]:
    """All coupons, newest first."""
    keys = (coupons.c.created_at, coupons.c.id)
    async with call.database.operator() as connection:
        query = store.listing(active_only=active_only)
        return await paginate(connection, query, keys, paging, _show)


@router.delete("/admin/coupons/{code}", responses=responses("COUPON_NOT_FOUND"))
async def close_coupon(code: str, call: AdminCall) -> CouponAnswer:
    """Close a coupon to new redemptions; existing ones continue."""
    async with call.database.operator() as connection:
        return CouponAnswer.of(await service.close(connection, code))


def _show(row: RowMapping) -> CouponAnswer:
    return CouponAnswer.of(store.show(row))
