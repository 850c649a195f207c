"""Quotas: checked by callers before expensive work [H1, H10], set by operators [H11]."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool, model_validator

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId, encoded, row_id
from api.answers.schemas import (
    Answer,
    Body,
    Credits,
    OneWord,
    Owner,
    OwnerId,
    Quantity,
    Text,
    Total,
)
from api.calls import account_filter, account_named
from api.dependencies import AdminCall, MemberUse
from api.routes.base import new_router
from api.shop_headers import check_shop
from api.user_scope import event_key, for_all, user_of
from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import BY_PLAN, BillingMethod
from billing.core import ids
from billing.metering.budgets.rules import ALERT_PERCENTS
from billing.metering.quotas import service, store
from billing.metering.quotas.schemas import Asked, NewQuota, Window
from billing.metering.quotas.tables import billing_quotas
from billing.metering.usage import rules as usage_rules
from billing.platform.accounts import store as accounts

router = new_router("quotas")

Percent = Annotated[int, Field(ge=1, le=100, strict=True)]


class CheckBody(Body):
    """A use to check before it happens; `consume` counts it at once, under its event id."""

    requested_amount: Quantity = Field(description="How much is to be used, in units of the meter")
    user_id: Text | None = None
    organization_id: Text | None = None
    product_id: Text | None = None
    service_type: ServiceType | None = Field(None, description="The service that is to be used")
    feature_type: Text | None = Field(None, description="The feature that is to be used")
    operation: Text | None = Field(None, description="The operation that is to be used")
    billing_method: BillingMethod | None = Field(
        None,
        description="What the record will name to pay: a plan limits nothing that credits or a card"
        " pay",
    )
    consume: StrictBool = Field(
        False,
        description="True claims it: quotas and a plan that blocks count it at once, for ten"
        " minutes or until the use is recorded",
    )
    event_id: Text | None = Field(
        None, description="The id under which the use will be recorded; required with `consume`"
    )

    def asked(self, user_id: str | None) -> Asked:
        """The use to check, for this user."""
        return Asked(
            amount=self.requested_amount,
            user_id=user_id,
            organization_id=self.organization_id,
            product_id=self.product_id,
            service_type=self.service_type,
            feature_type=self.feature_type,
            operation=self.operation,
            billing_method=self.billing_method,
        )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        named = (self.product_id, self.service_type, self.feature_type, self.operation)
        if not any(name is not None for name in named):
            raise ValueError("name a product_id, a service_type, a feature_type or an operation")
        if self.consume and self.billing_method not in (None, BY_PLAN):
            raise ValueError("consume sets a part of the plan aside: leave billing_method out")
        if self.consume and self.event_id is None:
            raise ValueError("consume needs the event_id of the use that will be recorded")
        return self


class CheckAnswer(Answer):
    """The result of checking a use against every limit; the figures are those of the tightest one.

    Without a limit `limit`, `remaining` and `resets_at` are null. For a refused use `passes_at` is
    when the same request would pass if nothing more is used (null: at no known time), and
    `refused_by` says what refuses it; the figures of a budget are in its own unit. `access` is set
    if the plan refuses it only because an invoice is overdue: paying that is what helps.
    """

    allowed: bool = Field(description="True if the limits allow the use")
    meter: str
    limit: Total | None = Field(
        description="The tightest limit, of a budget in what it measures; null: there is none"
    )
    used: Total = Field(description="What counts against it")
    remaining: Total | None = Field(description="What is left of it; null: there is no limit")
    requested: Credits
    soft_limit_reached: bool
    resets_at: datetime | None
    passes_at: datetime | None = None
    reason: str | None = Field(description="Why it is not allowed; null: it is")
    refused_by: Literal["plan", "quota", "budget"] | None = Field(
        description="What refuses it: the `plan`, a `quota` or a `budget`; null: nothing does"
    )
    budget_id: Annotated[str, encoded(ids.BUDGET)] | None = Field(
        description="The budget that refuses it; null: none does"
    )
    access: Literal["no_new_overage"] | None = None


class QuotaBody(Body):
    """A limit on a meter, found by `service_type` or `feature_type`. `each_user`: the default for
    each user of the account, with its own window.
    """

    account_id: Text = Field(description="The account, by our id or your own")
    user_id: Text | None = Field(None, description="Only for this user, by your own id")
    organization_id: Text | None = Field(
        None, description="Only for this organisation, by your own id"
    )
    each_user: StrictBool = Field(
        False,
        description="True: for each user of the account by default, each with a window of its own",
    )
    service_type: ServiceType | None = Field(
        None, description="The service whose meter is limited; instead of `feature_type`"
    )
    feature_type: Text | None = Field(
        None, description="The feature whose meter is limited; instead of `service_type`"
    )
    limit: Credits = Field(ge=0, description="Units of the meter that may be used per window")
    window: Window | None = Field(
        None,
        description="`day` and `month` in the account's zone, `cycle` of the plan, or `rolling`;"
        " `month` by default, `cycle` for a level",
    )
    span_seconds: Annotated[int, Field(ge=60, le=31_622_400, strict=True)] | None = None
    hard: StrictBool = True
    alert_percents: Annotated[tuple[Percent, ...], Field(max_length=10)] = ALERT_PERCENTS

    @model_validator(mode="after")
    def _one_owner_and_a_span(self) -> Self:
        if sum(map(bool, (self.user_id, self.organization_id, self.each_user))) > 1:
            raise ValueError(
                "a quota has one owner: a user, each user, an organisation, or the account"
            )
        if (self.window == "rolling") != (self.span_seconds is not None):
            raise ValueError(
                "span_seconds is required with a rolling window and not allowed otherwise"
            )
        if (self.service_type is None) == (self.feature_type is None):
            raise ValueError("name a service_type or a feature_type")
        return self

    def wanted(self) -> NewQuota:
        """The quota to set."""
        same = {"service_type", "feature_type", "limit", "window", "span_seconds", "hard"}
        return NewQuota(
            owner=self.owner, alert_percents=self.alert_percents, **self.model_dump(include=same)
        )

    @property
    def owner(self) -> str:
        """The owner of the counted uses."""
        if self.each_user:
            return usage_rules.EACH_USER
        if self.user_id:
            return usage_rules.user(self.user_id)
        return usage_rules.organization(self.organization_id) if self.organization_id else ""


class QuotaAnswer(Answer):
    """A quota with the use of the window last counted."""

    quota_id: Annotated[str, encoded(ids.QUOTA)] = Field(validation_alias="id")
    account_id: AccountId
    owner: Owner
    owner_id: OwnerId = Field(validation_alias="owner")
    meter: str
    window: Window = Field(
        validation_alias="window_kind",
        description="The calendar `day` or `month` in the account's zone, the `cycle` of the plan,"
        " or a `rolling` window",
    )
    span_seconds: int | None
    limit: Credits = Field(
        validation_alias="limit_amount",
        description="Units of the meter that may be used per window",
    )
    hard: bool = Field(validation_alias="is_hard")
    alert_percents: tuple[int, ...]
    window_start: datetime
    used: Total = Field(description="Units used in the window")
    created_at: datetime
    updated_at: datetime


@router.post(
    "/quota/check",
    responses=responses(
        "NOT_FOUND", "METER_NOT_FOUND", "PRODUCT_PRICING_NOT_FOUND", "PRICING_UNAVAILABLE",
        "NO_ENTITLEMENT", "USAGE_TOO_LARGE", "IDEMPOTENCY_KEY_REUSED",
    ),
)  # fmt: skip
async def check_quota(body: CheckBody, sent: MemberUse) -> CheckAnswer:
    """Check a use against every limit; an exceeded limit is a result, not an error [H2]. Use that
    only a plan can pay for is 403 `NO_ENTITLEMENT` while no plan grants the account anything. The
    plan limits no use that credits or a card pay for, as `billing_method` says.

    Nothing is reserved unless `consume` and an `event_id` are sent: then the use counts at once,
    and recording it later does not count it again; without a record it is released after 10
    minutes. A claim covers the limits it was counted on, in the window it was made in. The same
    claim sent again gets its first answer; another one of its event is 422
    `IDEMPOTENCY_KEY_REUSED`. For a service `user_id` may name the account, as when a use is
    recorded.
    """
    call = await sent.of_user(body.user_id)
    asked = body.asked(user_of(body.user_id, call))
    used_by = for_all(body.service_type, call)
    await call.services.prices.need(call.account, body.product_id, used_by)
    if body.consume and body.event_id:
        record_id = UUID(hex=event_key(call.account.id, body.event_id, call))
        found = await service.claim(call.database, call.account.id, asked, body.event_id, record_id)
    else:
        async with call.transaction() as connection:
            found = await service.check(connection, call.account.id, asked)
    return CheckAnswer.of(found)


@router.get("/admin/quotas", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_quotas(
    call: AdminCall, paging: Paging, account_id: OneWord = None
) -> Page[QuotaAnswer]:
    """Quotas of one account or of all, newest first. For one user's use of the default of each user
    see `GET /usage/limits?user_id=`.
    """
    async with call.database.operator() as connection:
        query = store.listing(await account_filter(connection, account_id))
        keys = (billing_quotas.c.created_at, billing_quotas.c.id)
        return await paginate(connection, query, keys, paging, QuotaAnswer.of)


@router.put(
    "/admin/quotas", responses=responses("MERCHANT_NOT_FOUND", "METER_NOT_FOUND", "INVALID_QUOTA")
)
async def put_quota(body: QuotaBody, call: AdminCall) -> QuotaAnswer:
    """Set the quota of an owner, meter and kind of window; the use counted so far stays. A quota of
    each user applies to users without their own for that meter and kind of window.

    The default window is the month. The quota of a level, such as storage, belongs to the account
    and has the window cycle.
    """
    async with call.database.operator() as connection:
        account = await account_named(connection, body.account_id)
        return QuotaAnswer.of(await service.put(connection, account.id, body.wanted()))


@router.delete("/admin/quotas/{quota_id}", responses=responses("QUOTA_NOT_FOUND"))
async def delete_quota(quota_id: str, call: AdminCall) -> QuotaAnswer:
    """Delete a quota; returns its last state."""
    async with call.database.operator() as connection:
        removed = await service.remove(connection, row_id(ids.QUOTA, quota_id))
        check_shop(await accounts.get(connection, removed.account_id))
    return QuotaAnswer.of(removed)
