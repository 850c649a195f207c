"""Limits agreed with one account in place of its plan's, for operators [B10, B16].

A changed limit counts from its instant on; earlier uses keep their rating.
"""

from datetime import datetime
from typing import Annotated

from pydantic import AliasPath, Field
from sqlalchemy import RowMapping

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId, encoded
from api.answers.schemas import Answer, Credits, Instant, KeyPath
from api.calls import account_named
from api.dependencies import AdminCall
from api.routes.admin.contracts import ContractLimitBody
from api.routes.base import new_router
from api.workflow_calls import notify
from billing.catalog.plans.schemas import Limit
from billing.catalog.rating.schemas import OverageTerms, Then
from billing.core import ids
from billing.metering.limit_overrides import service, store
from billing.metering.limit_overrides.tables import limit_overrides

router = new_router("catalog administration")


class LimitBody(ContractLimitBody):
    """The included units of a meter per allowance cycle, and what happens beyond them.

    `prices` are for units beyond, in whole currency units: {"USD": "0.002"} for each, or tiers. The
    limit is valid from now or from `effective_from`, until `effective_to` or until it is changed.
    """

    effective_from: Instant | None = Field(
        None, description="From when it applies; by default from now"
    )
    effective_to: Instant | None = Field(
        None, description="Until when it applies; null: until it is ended, or another begins"
    )


class LimitOverrideAnswer(Answer):
    """A limit of one account; while it is valid it replaces the plan's limit."""

    override_id: Annotated[str, encoded(ids.LIMIT)] = Field(validation_alias="id")
    account_id: AccountId
    meter: str = Field(validation_alias=AliasPath("limit", "meter"))
    included: Credits = Field(validation_alias=AliasPath("limit", "included"))
    then: Then = Field(validation_alias=AliasPath("limit", "then"))
    prices: dict[str, OverageTerms] = Field(
        validation_alias=AliasPath("limit", "prices"),
        description="The price of units beyond by currency, in whole units of it: of one unit, or"
        " terms with tiers",
    )
    effective_from: datetime
    effective_to: datetime | None


@router.get(
    "/admin/accounts/{account_id}/limits",
    responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"),
)
async def list_limit_overrides(
    account_id: str, call: AdminCall, paging: Paging
) -> Page[LimitOverrideAnswer]:
    """Limits agreed with an account, newest first, including ended ones."""
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
    """Agree a limit with an account; it replaces the plan's limit and any agreed for that time
    [B10].

    Without a subscription it replaces the default plan's limit; units of add-ons are added.
    Repeating the request changes nothing.
    """
    limit = Limit(meter=meter, included=body.included, then=body.then, prices=body.prices)
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        found, matter = await service.put(
            connection, account.id, limit, body.effective_from, body.effective_to
        )
    if matter is not None:
        await notify(call, matter)
    return LimitOverrideAnswer.of(found)


@router.delete(
    "/admin/accounts/{account_id}/limits/{meter}",
    responses=responses("MERCHANT_NOT_FOUND", "LIMIT_NOT_FOUND"),
)
async def end_limit_override(
    account_id: str, meter: KeyPath, call: AdminCall
) -> LimitOverrideAnswer:
    """End the agreement for a meter, current and future: the plan's limit is valid again.

    Returns the agreement that was valid, or that would have begun first.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
        return LimitOverrideAnswer.of(await service.end(connection, account.id, meter))


def _show(row: RowMapping) -> LimitOverrideAnswer:
    return LimitOverrideAnswer.of(store.show(row))
