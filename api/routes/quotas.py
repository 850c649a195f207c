"""Quotas: asked by callers before expensive work [H1, H10], set by operators [H11]."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Query
from pydantic import Field, model_validator
from sqlalchemy import RowMapping

from api.dependencies import AdminCall, MemberCall, account_named
from api.members import user_of
from api.pagination import Page, Paging, paginate
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Credits, Text
from billing.audit import service as audit
from billing.budgets.rules import BUDGET_ID
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.products.schemas import ServiceType
from billing.quotas import rules, service, store
from billing.quotas.rules import ALERT_PERCENTS
from billing.quotas.schemas import Decision, Quota, Window
from billing.quotas.tables import billing_quotas
from billing.usage import rules as usage
from billing.usage import store as counters

from sqlalchemy.ext.asyncio import AsyncConnection  # isort: skip

router = new_router("quotas")

QUOTA = "qta"
Quantity = Annotated[Credits, Field(gt=0)]


class CheckBody(Body):
    """A use somebody is about to make; with `consume` it is counted at once, by its event."""

    requested_amount: Quantity
    user_id: Text | None = None
    organization_id: Text | None = None
    product_id: Text | None = None
    service_type: ServiceType | None = None
    feature_type: Text | None = None
    consume: bool = False
    event_id: Text | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.product_id is None and self.service_type is None and self.feature_type is None:
            raise ValueError("name a product_id, a service_type or a feature_type")
        if self.consume and self.event_id is None:
            raise ValueError("consume needs the event_id of the use that will be recorded")
        return self


class CheckAnswer(Answer):
    """Whether the use is within every limit; the figures are the tightest one's.

    Without any limit `limit`, `remaining` and `resets_at` are null. `refused_by` says what does not
    allow it; a budget's figures are in what it measures.
    """

    allowed: bool
    meter: str
    limit: Credits | None
    used: Credits
    remaining: Credits | None
    requested: Credits
    soft_limit_reached: bool
    resets_at: datetime | None
    reason: str | None
    refused_by: Literal["plan", "quota", "budget"] | None
    budget_id: str | None

    @classmethod
    def of(cls, found: Decision) -> Self:
        """The decision as callers see it."""
        budget_id = ids.encode(BUDGET_ID, found.budget_id) if found.budget_id else None
        return cls(**found.model_dump(exclude={"budget_id"}), budget_id=budget_id)


class QuotaBody(Body):
    """A limit on a meter, named by itself or by the service that is counted on it."""

    account_id: Text
    user_id: Text | None = None
    organization_id: Text | None = None
    service_type: ServiceType | None = None
    feature_type: Text | None = None
    limit: Credits = Field(ge=0)
    window: Window | None = None
    span_seconds: Annotated[int, Field(ge=60, le=31_622_400)] | None = None
    hard: bool = True
    alert_percents: tuple[Annotated[int, Field(ge=1, le=100)], ...] = ALERT_PERCENTS

    @model_validator(mode="after")
    def _one_owner_and_a_span(self) -> Self:
        if self.user_id and self.organization_id:
            raise ValueError("a quota has one owner: a user, an organisation, or the account")
        if (self.window == "rolling") != (self.span_seconds is not None):
            raise ValueError("span_seconds belongs to a rolling window, and only to it")
        if (self.service_type is None) == (self.feature_type is None):
            raise ValueError("name a service_type or a feature_type")
        return self

    @property
    def owner(self) -> str:
        """Whose use it limits."""
        if self.user_id:
            return usage.user(self.user_id)
        return usage.organization(self.organization_id) if self.organization_id else ""


class QuotaAnswer(Answer):
    """A quota with what was counted in the window that was last looked at."""

    quota_id: str
    account_id: str
    owner: Literal["account", "user", "organization"]
    owner_id: str | None
    meter: str
    window: Window
    span_seconds: int | None
    limit: Credits
    hard: bool
    alert_percents: tuple[int, ...]
    window_start: datetime
    used: Credits
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, quota: Quota) -> Self:
        """The quota as callers see it."""
        kind, _, name = quota.owner.partition(":")
        return cls(
            quota_id=ids.encode(QUOTA, quota.id),
            account_id=ids.encode(ids.ACCOUNT, quota.account_id),
            owner="user" if kind == "u" else "organization" if kind == "o" else "account",
            owner_id=name or None,
            meter=quota.meter,
            window=quota.window_kind,
            span_seconds=quota.span_seconds,
            limit=quota.limit_amount,
            hard=quota.is_hard,
            alert_percents=quota.alert_percents,
            window_start=quota.window_start,
            used=quota.used,
            created_at=quota.created_at,
            updated_at=quota.updated_at,
        )


@router.post(
    "/quota/check",
    responses=responses(
        "MERCHANT_NOT_FOUND", "METER_NOT_FOUND", "PRODUCT_PRICING_NOT_FOUND", "PRICING_UNAVAILABLE"
    ),
)
async def check_quota(body: CheckBody, call: MemberCall) -> CheckAnswer:
    """Whether a use is allowed; a breach is answered with `allowed: false`, not refused [H2].

    It reserves nothing, unless with `consume` and an `event_id`: then it counts at once, the later
    record of that event does not count again, and without one it is given back after 10 minutes.
    A claim covers the limits it was counted on, in the window it was made in.
    """
    asked = service.Asked(
        amount=body.requested_amount,
        user_id=user_of(body.user_id, call),
        organization_id=body.organization_id,
        product_id=body.product_id,
        service_type=body.service_type,
        feature_type=body.feature_type,
    )
    await call.services.prices.need(call.account, body.product_id, body.service_type)
    if body.consume and body.event_id:
        found = await service.claim(call.database, call.account.id, asked, body.event_id)
    else:
        async with call.transaction() as connection:
            found = await service.check(connection, call.account.id, asked)
    return CheckAnswer.of(found)


@router.get("/admin/quotas", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_quotas(
    call: AdminCall,
    paging: Paging,
    account_id: Annotated[str | None, Query(max_length=255)] = None,
) -> Page[QuotaAnswer]:
    """Quotas of one account or of all, newest first."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id) if account_id else None
        query = store.listing(account.id if account else None)
        keys = (billing_quotas.c.created_at, billing_quotas.c.id)
        return await paginate(connection, query, keys, paging, _show)


@router.put(
    "/admin/quotas", responses=responses("MERCHANT_NOT_FOUND", "METER_NOT_FOUND", "INVALID_QUOTA")
)
async def put_quota(body: QuotaBody, call: AdminCall) -> QuotaAnswer:
    """Set the quota of an owner, meter and kind of window; what its window has counted stays.

    The window is the month unless said. Of a level, such as storage, it is the cycle, and the owner
    the account.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, body.account_id)
        meter, counts = await counters.meter_of(
            connection, None, body.service_type, body.feature_type
        )
        at = account.clock_at or real_now()
        quota = await store.put(
            connection,
            account.id,
            owner=body.owner,
            meter=meter,
            window=rules.window_for(meter, counts, body.owner, body.window),
            span_seconds=body.span_seconds,
            limit=body.limit,
            hard=body.hard,
            percents=sorted(set(body.alert_percents)),
            at=at,
        )
        await _note(connection, quota, "quota.set", at)
    return QuotaAnswer.of(quota)


@router.delete("/admin/quotas/{quota_id}", responses=responses("QUOTA_NOT_FOUND"))
async def delete_quota(quota_id: str, call: AdminCall) -> QuotaAnswer:
    """Take a quota away; answers it as it was."""
    known = ids.parse(QUOTA, quota_id)
    async with call.database.operator() as connection:
        gone = await store.remove(connection, known) if known else None
        if gone is None:
            raise NotFound("QUOTA_NOT_FOUND", "no such quota")
        await _note(connection, gone, "quota.removed", real_now())
    return QuotaAnswer.of(gone)


async def _note(connection: AsyncConnection, quota: Quota, action: str, at: datetime) -> None:
    await audit.record(
        connection,
        account_id=quota.account_id,
        action=action,
        subject=ids.encode(QUOTA, quota.id),
        at=at,
        meter=quota.meter,
        owner=quota.owner,
        limit=str(quota.limit_amount),
    )


def _show(row: RowMapping) -> QuotaAnswer:
    return QuotaAnswer.of(Quota.model_validate(dict(row)))
