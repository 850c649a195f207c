"""Limits agreed with one account in place of its plan's, for operators [B10, B16].

A changed limit counts from its instant on; what was used before stays as it was rated.
"""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator
from sqlalchemy import RowMapping

from api.dependencies import AdminCall, account_named
from api.driving import nudged
from api.pagination import Page, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Credits, Currency, Instant, KeyPath
from billing.catalog.schemas import Limit, Then
from billing.core import ids
from billing.limits import service, store
from billing.limits.schemas import LIMIT_ID, LimitOverride
from billing.limits.tables import limit_overrides

router = new_router("catalog administration")

Quantity = Annotated[Credits, Field(ge=0)]


class LimitBody(Body):
    """What the account has of a meter per allowance cycle, and what happens beyond it.

    `prices` are of one unit beyond, in whole currency units such as {"USD": "0.002"}. It holds
    from now on, or from `effective_from`, until further notice, or up to `effective_to`.
    """

    included: Quantity
    then: Then = "block"
    prices: dict[Currency, Quantity] = Field({}, validate_default=True)
    effective_from: Instant | None = None
    effective_to: Instant | None = None

    @field_validator("prices")
    @classmethod
    def _overage_has_prices(
        cls, prices: dict[str, Credits], info: ValidationInfo
    ) -> dict[str, Credits]:
        then = info.data.get("then")
        if then is not None and (then == "overage") != bool(prices):
            raise ValueError("belong to `then: overage`, and only to it")
        return prices


class LimitOverrideAnswer(Answer):
    """A limit of one account; it goes before its plan's while it holds."""

    override_id: str
    account_id: str
    meter: str
    included: Credits
    then: Then
    prices: dict[str, Credits]
    effective_from: datetime
    effective_to: datetime | None

    @classmethod
    def of(cls, found: LimitOverride) -> Self:
        """The agreement as operators see it."""
        return cls(
            override_id=ids.encode(LIMIT_ID, found.id),
            account_id=ids.encode(ids.ACCOUNT, found.account_id),
            **found.limit.model_dump(),
            effective_from=found.effective_from,
            effective_to=found.effective_to,
        )


@router.get(
    "/admin/accounts/{account_id}/limits",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def list_limit_overrides(
    account_id: str, call: AdminCall, paging: Paging
) -> Page[LimitOverrideAnswer]:
    """Limits that were agreed with an account, newest first, ended ones included."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        keys = (limit_overrides.c.effective_from, limit_overrides.c.id)
        return await paginate(connection, store.listing(account.id), keys, paging, _show)


@router.put(
    "/admin/accounts/{account_id}/limits/{meter}",
    responses=responses("MERCHANT_NOT_FOUND", "METER_NOT_FOUND"),
)
async def put_limit_override(
    account_id: str, meter: KeyPath, body: LimitBody, call: AdminCall
) -> LimitOverrideAnswer:
    """Agree a limit with an account, in place of its plan's and of any agreed for that time [B10].

    It counts while the account has a subscription, whose add-ons come on top. The same again
    changes nothing.
    """
    limit = Limit(meter=meter, included=body.included, then=body.then, prices=body.prices)
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        found, matter = await service.put(
            connection, account.id, limit, body.effective_from, body.effective_to
        )
    if matter is not None:
        await nudged(call, matter)
    return LimitOverrideAnswer.of(found)


@router.delete(
    "/admin/accounts/{account_id}/limits/{meter}",
    responses=responses("MERCHANT_NOT_FOUND", "LIMIT_NOT_FOUND"),
)
async def end_limit_override(
    account_id: str, meter: KeyPath, call: AdminCall
) -> LimitOverrideAnswer:
    """End what is agreed for a meter, now and for later: the plan's limit holds again.

    Answers what held, or was to begin first.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        return LimitOverrideAnswer.of(await service.end(connection, account.id, meter))


def _show(row: RowMapping) -> LimitOverrideAnswer:
    return LimitOverrideAnswer.of(store.show(row))
