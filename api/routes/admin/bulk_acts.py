"""One act of an operator on many subscriptions, previewed first (docs/operate.md#dunning)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Self

from fastapi import Query, Response
from pydantic import Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers import statuses
from api.answers.case_answers import CaseStatus
from api.answers.pagination import MAX_CURSOR_CHARS, Page, PageRequest, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import (
    AccountId,
    DunningCaseId,
    InvoiceId,
    SubscriptionId,
    row_id,
)
from api.answers.schemas import Answer, Body, CatalogName, Instant
from api.calls import Call, account_named
from api.dependencies import AdminCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone_if
from api.routes.base import new_router
from api.routes.subscription_previews import DryRun
from api.workflow_calls import free_halted, need_temporal, wait_until_all_done
from billing.catalog.plans import service as plan_service
from billing.catalog.plans.schemas import Currency, Minor
from billing.core import ids
from billing.core.errors import BillingError
from billing.money.bulk_acts import service, store
from billing.money.bulk_acts.schemas import Act, BulkAct, BulkOutcome, Choice, Overdue
from billing.money.payments import store as payment_store
from billing.money.payments.schemas import Attempt, AttemptStatus
from billing.money.subscriptions import store as subscription_store
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.states import State
from billing.money.subscriptions.tables import subscriptions

router = new_router("subscriptions")
PAGE: Final = 50
Names = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=255)]],
    Field(min_length=1, max_length=PAGE),
]


class SteerBody(Body):
    """The act, its reason, and the subscriptions: by id, or all that match the other fields.

    `past_due_from` and `past_due_until` bound the beginning of dunning. `days` is for the acts that
    extend.
    """

    act: Act = Field(
        description="What to do: `pause` and `extend` change the subscription, the others its"
        " overdue invoices",
    )
    reason: FreeText = Field(
        description="For the audit trail, and for the credit notes of `forgive`"
    )
    days: Annotated[int, Field(strict=True, ge=1, le=366)] | None = Field(
        None, description="Days to extend by; with `extend` and `extend_dunning` only"
    )
    subscription_ids: Names | None = Field(None, description="Only these subscriptions")
    account_ids: Names | None = Field(
        None, description="Only those of these accounts, by our ids or your own"
    )
    plan: CatalogName | None = Field(None, description="Only those of this plan, by its key")
    price_cents: Minor | None = Field(
        None, description="Only those sold at this price of one seat per interval, in minor units"
    )
    currency: Currency | None = Field(None, description="Only those in this currency, ISO 4217")
    status: State | None = Field(None, description="Only those in this status")
    past_due_from: Instant | None = Field(
        None,
        description="Only those of which the recovery of an invoice began at this instant or later",
    )
    past_due_until: Instant | None = Field(
        None, description="Only those of which the recovery of an invoice began before this instant"
    )

    @model_validator(mode="after")
    def _says_what_and_whom(self) -> Self:
        if (self.days is None) == self.act.startswith("extend"):
            raise ValueError("days is required with the extend acts and not allowed otherwise")
        # A selector that is null selects nothing: alone it would mean every account's debts.
        if not self.model_dump(exclude={"act", "reason", "days"}, exclude_none=True):
            raise ValueError("select the subscriptions by at least one field")
        return self

    def order(self, suffix: str, *, dry_run: bool = False) -> BulkAct:
        """Return the act, made distinct by a suffix."""
        return BulkAct(
            act=self.act,
            reason=self.reason,
            days=self.days or 0,
            in_recovery=self.past_due_from is not None or self.past_due_until is not None,
            suffix=suffix,
            is_dry_run=dry_run,
        )

    async def choice(self, connection: AsyncConnection) -> Choice:
        """Return the chosen subscriptions.

        Errors: MERCHANT_NOT_FOUND; SUBSCRIPTION_NOT_FOUND; PLAN_NOT_FOUND.
        """
        named, accounts = self.subscription_ids, None
        plan = None if self.plan is None else await plan_service.plan_named(connection, self.plan)
        if self.account_ids is not None:
            accounts = [(await account_named(connection, one)).id for one in self.account_ids]
        return Choice(
            subscription_ids=[row_id(ids.SUBSCRIPTION, one) for one in named] if named else None,
            account_ids=accounts,
            plan=plan.key if plan else None,
            price_minor=self.price_cents,
            currency=self.currency,
            status=self.status,
            past_due_from=self.past_due_from,
            past_due_until=self.past_due_until,
        )


class OverduePart(Answer):
    """An invoice in dunning, or on hold (then it has no case yet). `amount_cents` is the amount
    owed before the act.

    The other fields show the state after it. `result` is the retry's: succeeded, declined, pending,
    or null if the card was not tried within ten seconds.
    """

    invoice_id: InvoiceId = Field(validation_alias="id")
    invoice_number: str | None = Field(validation_alias="number")
    amount_cents: int = Field(description="What was owed of it before the act, in minor units")
    status: str = Field(description=statuses.INVOICE)
    dunning_case_id: DunningCaseId | None
    dunning_status: CaseStatus | None = Field(description=statuses.CASE)
    next_step: str | None = Field(
        description="What happens next by itself, in words; null: nothing is planned"
    )
    next_at: datetime | None
    result: AttemptStatus | None = Field(
        description=f"{statuses.ATTEMPT}; null: no card was tried within ten seconds"
    )

    @classmethod
    async def read_all(cls, connection: AsyncConnection, found: Sequence[Overdue]) -> list[Self]:
        """Return the invoices, each with the result of its attempt."""
        keys = [one.attempt for one in found if one.attempt is not None]
        tried = await payment_store.find_attempts(connection, keys) if keys else {}
        return [cls._of_one(one, tried.get(one.attempt or "")) for one in found]

    @classmethod
    def _of_one(cls, found: Overdue, attempt: Attempt | None) -> Self:
        return cls.of(
            found.invoice,
            amount_cents=found.amount_minor,
            dunning_case_id=found.case.id if found.case else None,
            dunning_status=found.case.status if found.case else None,
            next_step=found.step.words if found.step else None,
            next_at=found.step.due if found.step else None,
            result=attempt.status if attempt else None,
        )


class SteeredAnswer(Answer):
    """A subscription and the effect of the act: none if it is `refused`, with an error code.

    `effective_at` is the end of its period, when a pause begins or to which an extension moved it.
    """

    subscription_id: SubscriptionId = Field(validation_alias="id")
    account_id: AccountId
    plan: str = Field(validation_alias="plan_key")
    status: str = Field(description=statuses.SUBSCRIPTION)
    currency: str
    refused: str | None = Field(
        description="The code of the error because of which nothing was done; null: it was done"
    )
    detail: str | None = Field(description="The same error in words")
    is_repeated: bool
    effective_at: datetime | None = Field(
        description="The end of its period: when a pause begins, or to which an extension moved it;"
        " null: the act is on invoices",
    )
    invoices: list[OverduePart] = Field(description="Its invoices that the act is on")


@router.post(
    "/admin/subscriptions/steer",
    response_model=Page[SteeredAnswer],
    responses=responses(
        "SUBSCRIPTION_NOT_FOUND", "MERCHANT_NOT_FOUND", "PLAN_NOT_FOUND", "INVALID_CURSOR",
        "TEMPORAL_UNAVAILABLE", "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
    ),
)  # fmt: skip
async def steer_subscriptions(
    body: SteerBody,
    call: AdminCall,
    once: OptionalKey,
    dry_run: DryRun = False,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR_CHARS)] = None,
) -> Response | Page[SteeredAnswer]:
    """Pause, resume or extend dunning, try the cards of overdue invoices now or forgive them, or
    pause or extend subscriptions: newest first, each by itself, at most 50 per request.
    """
    asked = PageRequest(limit, None, None, cursor)
    if dry_run:
        order = body.order(f"dry-{ids.new()}", dry_run=True)
        return await _page(call, body, asked, order)
    once.require()
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        order = body.order(claim.suffix)
        page = await _page(call, body, asked, order, resumed=claim.resumed)
        return claim.answer(200, page)


async def _page(
    call: Call,
    body: SteerBody,
    asked: PageRequest,
    order: BulkAct,
    *,
    resumed: bool = False,
) -> Page[SteeredAnswer]:
    async with call.database.operator() as connection:
        query = await store.chosen(connection, await body.choice(connection), body.act)
        query = store.or_done(query, order.suffix) if resumed else query
        found = await paginate(
            connection, query, (subscriptions.c.id,), asked, subscription_store.show
        )
    for one in found.data:
        await call.refuse_other_shop(one.account_id)
    if order.act == "retry" and not order.is_dry_run:
        await free_halted(call, *{one.account_id for one in found.data})
    done = [await _apply(call, one, order) for one in found.data]
    if not order.is_dry_run:
        await wait_until_all_done(call, (one for _, outcome in done for one in outcome.matters))
        done = [(refused, await _read_again(call, outcome)) for refused, outcome in done]
    shown = [await _shown(call, *one) for one in done]
    return Page(data=shown, pagination=found.pagination)


async def _apply(
    call: Call, found: Subscription, order: BulkAct
) -> tuple[BillingError | None, BulkOutcome]:
    """Carry out the act in a transaction of its own; return a refusal instead of raising it."""
    try:
        tenant = call.database.tenant(found.account_id)
        async with undone_if(order.is_dry_run, tenant) as connection:
            return None, await service.apply(connection, found.id, order)
    except BillingError as refused:
        if refused.retryable:
            raise
        return refused, BulkOutcome(subscription=found)


async def _read_again(call: Call, outcome: BulkOutcome) -> BulkOutcome:
    """Read it again after its workflow, which may have tried the card and ended the dunning."""
    async with call.database.tenant(outcome.subscription.account_id) as connection:
        return await service.read_again(connection, outcome)


async def _shown(call: Call, refused: BillingError | None, outcome: BulkOutcome) -> SteeredAnswer:
    async with call.database.operator() as connection:
        return SteeredAnswer.of(
            outcome.subscription,
            refused=refused.code if refused else None,
            detail=refused.detail if refused else None,
            is_repeated=outcome.is_repeated,
            effective_at=outcome.effective_at,
            invoices=await OverduePart.read_all(connection, outcome.overdue),
        )
