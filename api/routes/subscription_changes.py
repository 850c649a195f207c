"""Changes of a subscription: another plan, add-ons, resuming after a pause; and their list."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Self
from uuid import UUID

from fastapi import Response
from pydantic import Field, field_validator, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.card_refusals import not_opened, refusal
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import payment_method_row, row_id
from api.answers.schemas import Body, CatalogName, optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Claim, OptionalKey
from api.requests.coupon_codes import CouponCode
from api.requests.dry_runs import undone
from api.routes.base import new_router
from api.routes.paying_bodies import MoneyBody, PayingBody
from api.routes.subscription_answers import ChangeAnswer, SubscriptionAnswer
from api.routes.subscription_bodies import PriceInterval
from api.routes.subscription_previews import (
    AS_OF,
    SUMS,
    Binding,
    DryRun,
    PreviewAnswer,
    PreviewToken,
    foreseen,
    keep,
)
from api.workflow_calls import need_temporal, wait_until_done
from billing.catalog.plans.rules import parse_interval
from billing.core import ids
from billing.core.errors import BillingError, Conflict, PaymentRequired
from billing.core.failpoints import failpoint
from billing.matters import store as matters
from billing.matters.effects import Work
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.payment_methods import store as method_store
from billing.money.payments import store as payment_store
from billing.money.payments.rules import PROVIDER_REFUSED
from billing.money.subscriptions import coupons, service, store
from billing.money.subscriptions.commands import plan_changes, running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying, PlanWish, SubscriptionChange, When
from billing.money.subscriptions.states import Command
from billing.money.subscriptions.tables import subscription_changes

router = new_router("subscriptions")
PaidVerb = Callable[[Work[SubscriptionFacts], Paying], object]
"""A verb of the subscription that may have to be paid first."""
PromisedVerb = Callable[..., object]
"""A verb that can be previewed: it also takes the instant of its preview."""
_OF_CHANGES = (
    "PAYMENT_OVERDUE", "ADD_ON_NOT_FOUND", "ADD_ON_NOT_OFFERED", "PLAN_NOT_FOUND",
    "INTERVAL_NOT_OFFERED", "QUANTITY_NOT_OFFERED", "PRICE_TOO_LARGE", "CURRENCY_MISMATCH",
    "TRIAL_NOT_OFFERED", "CREDITS_SPENT", "UNITS_SPENT", "INVALID_COUPON", "PAYMENT_PENDING",
)  # fmt: skip
_REFUSALS = (
    "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CHANGE_PENDING", "CHANGE_EXPIRED",
    "CARD_DECLINED", "CURRENCY_NOT_CHARGED", "AMOUNT_TOO_LARGE", "PLATFORM_ERROR",
    "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED", "TEMPORAL_UNAVAILABLE", *KEYED,
)  # fmt: skip


class AddOnBody(Body):
    """The quantity of one of the plan's add-ons."""

    add_on: CatalogName
    quantity: Annotated[int, Field(strict=True, ge=0, le=10_000)] = Field(
        1, description="How many of it the subscription is to have; 0: none"
    )


class WishBody(MoneyBody):
    """Another plan, interval or quantity. `add_ons` lists all add-ons; those left out end with the
    period.
    """

    plan: CatalogName | None = Field(
        None, description="The key of the plan to have; null: the present one"
    )
    interval: PriceInterval | None = Field(
        None,
        description="The interval to have, such as `month` or `2 weeks`; null: the present one",
    )
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = Field(
        None,
        description="How many seats to have, of a plan that is sold by seats; null: as many as now",
    )
    at: When | None = Field(
        None, description="By default increases apply now, and decreases at period end"
    )
    add_ons: Annotated[list[AddOnBody], Field(max_length=50)] | None = Field(
        None, description="All add-ons to have: those left out end with the period; null: as now"
    )
    coupon: CouponCode = None

    @field_validator("add_ons")
    @classmethod
    def _each_once(cls, add_ons: list[AddOnBody] | None) -> list[AddOnBody] | None:
        if len({one.add_on for one in add_ons or ()}) != len(add_ons or ()):
            raise ValueError("name each add-on once")
        return add_ons

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        if (self.plan, self.interval, self.quantity, self.add_ons) == (None, None, None, None):
            raise ValueError("set at least one of plan, interval, quantity and add_ons")
        return self


class ChangeBody(WishBody, PayingBody):
    """The requested change and its payment; with a token exactly as it was previewed."""

    preview_token: PreviewToken = None


class ResumeBody(PayingBody):
    """The payment of the new period; with a token exactly as it was previewed."""

    preview_token: PreviewToken = None


@router.put(
    "/billing/subscription",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses={
        202: {"model": SubscriptionAnswer, "description": "The charge is still undecided"},
        **responses("PREVIEW_EXPIRED", *_OF_CHANGES, *_REFUSALS),
    },
)  # fmt: skip
async def change_subscription(
    body: ChangeBody, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Change the plan, interval or quantity [C6], or the add-ons [B8].

    An increase is charged first and applies once it is paid; a decrease applies from the next
    period. Repeating the request charges nothing more. With `preview_token` it charges exactly the
    previewed amounts, or nothing.
    """
    verb, wish = _verb(body), _wish(body)
    if dry_run:
        return await foreseen(
            call, "change_up", lambda w: verb(w, _unpaid(body)), about=wish, binding=AS_OF
        )
    if body.preview_token is not None:
        verb = _as_previewed(call, body.preview_token, verb, AS_OF)
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        return answer(claim, await charge(call, claim, body, "change_up", verb, about=wish))


@router.post(
    "/billing/subscription/preview",
    responses=responses(
        "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CHANGE_PENDING", "AMOUNT_TOO_LARGE",
        *_OF_CHANGES,
    ),
)  # fmt: skip
async def preview_change(body: WishBody, call: BillingCall) -> PreviewAnswer:
    """Preview the invoice that a change would produce [L3], without changing anything.

    Send the `preview_token` with the same change within 15 minutes: exactly this is charged, or the
    request is refused with 409 `PREVIEW_EXPIRED`.
    """
    verb = _verb(body)
    return await foreseen(
        call, "change_up", lambda w: verb(w, _unpaid(body)), about=_wish(body), binding=AS_OF
    )


@router.get("/billing/subscription/changes", responses=responses("INVALID_CURSOR"))
async def list_changes(call: MemberCall, paging: Paging) -> Page[ChangeAnswer]:
    """The changes of the account's subscriptions, including pending and scheduled ones."""
    async with call.transaction() as connection:
        return await paginate(
            connection,
            store.changes_of(call.account.id),
            (subscription_changes.c.created_at, subscription_changes.c.id),
            paging,
            lambda row: ChangeAnswer.of(SubscriptionChange.model_validate(dict(row))),
        )


@router.delete(
    "/billing/subscription/changes/{change_id}",
    response_model=ChangeAnswer | PreviewAnswer,
    responses=responses("CHANGE_NOT_FOUND", "CHANGE_NOT_SCHEDULED", "CHANGE_PENDING", *KEYED),
)
async def cancel_change(
    change_id: str, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Cancel a scheduled change: the next period keeps the current terms, with the coupon that came
    with it. Repeating it is safe.
    """
    row = row_id(ids.CHANGE, change_id)
    if dry_run:
        async with undone(call.transaction()) as connection:
            seen = await service.foresee_call_off(connection, call.account.id, row)
        return PreviewAnswer.of_preview(seen)
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            called_off = await service.call_off(connection, call.account.id, row)
            matter = await matters.find(
                connection, SUBSCRIPTION.workflow_id(called_off.subscription_id)
            )
        if matter is not None:
            await wait_until_done(call, matter)
        return claim.answer(200, ChangeAnswer.of(called_off))


@router.post(
    "/billing/subscription/resume",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses={
        202: {"model": SubscriptionAnswer, "description": "The charge is still undecided"},
        **responses("PAYMENT_OVERDUE", "PREVIEW_EXPIRED", *_REFUSALS),
    },
)
async def resume_subscription(
    body: Annotated[ResumeBody, optional_body(ResumeBody)],
    call: BillingCall,
    once: OptionalKey,
    dry_run: DryRun = False,
) -> Response | PreviewAnswer:
    """Resume after a pause with a new period from now, charged first like an increase.

    With `preview_token` it charges exactly the previewed amounts, or nothing.
    """
    if dry_run:
        verb = partial(running.resume, paying=_unpaid(body))
        return await foreseen(call, "resume", verb, binding=SUMS)
    resume: PaidVerb = running.resume
    if body.preview_token is not None:
        resume = _as_previewed(call, body.preview_token, _resume, SUMS)
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        return answer(claim, await charge(call, claim, body, "resume", resume))


def _resume(w: Work[SubscriptionFacts], paying: Paying, _: datetime) -> None:
    """Resume with a period from now, whenever it was previewed."""
    running.resume(w, paying)


def _verb(body: WishBody) -> PromisedVerb:
    """Return the verb that makes the requested change."""
    wish = _wish(body)
    return lambda w, paying, as_of=None: plan_changes.change(w, wish, paying, as_of)


def _as_previewed(call: AccountCall, token: str, verb: PromisedVerb, binding: Binding) -> PaidVerb:
    """Bind the verb to its preview. The token is checked where the change is written, so repeating
    a request that was carried out does not need it.
    """

    def kept(w: Work[SubscriptionFacts], paying: Paying) -> None:
        keep(call, token, binding, w, lambda as_of: verb(w, paying, as_of))

    return kept


def _wish(body: WishBody) -> PlanWish:
    """Return the requested change."""
    return PlanWish(
        plan=body.plan,
        interval=parse_interval(body.interval) if body.interval is not None else None,
        quantity=body.quantity,
        when=body.at,
        add_ons=None
        if body.add_ons is None
        else {one.add_on: one.quantity for one in body.add_ons if one.quantity},
        coupon=body.coupon,
    )


def _unpaid(body: MoneyBody) -> Paying:
    """Return the payment of a preview, which needs no card."""
    return Paying(change_id=ids.new(), by_card=True, use_balance=body.use_balance)


async def charge(
    call: AccountCall,
    claim: Claim,
    body: PayingBody,
    command: Command,
    verb: PaidVerb,
    *,
    about: PlanWish | None = None,
) -> SubscriptionAnswer:
    """Make the change, its payment first. Raise the card's refusal; then nothing has changed."""
    matter = await _ask(call, claim, body, command, verb, about)
    await wait_until_done(call, matter)
    async with call.transaction() as connection:
        change = await store.find_change(connection, claim.resource_id)
        refused = await _refusal(connection, change) if change is not None else None
        changed = await store.get(connection, matter.subject_id)
        shown = await SubscriptionAnswer.read(call, connection, changed)
    if refused is not None:
        raise refused
    return shown


def answer(claim: Claim, shown: SubscriptionAnswer) -> Response:
    """202 while the charge of the change is undecided; a renewal at the bank decides nothing."""
    waits = shown.pending_change is not None and shown.next_action["type"] == "wait"
    return claim.answer(202 if waits else 200, shown)


async def _ask(
    call: AccountCall,
    claim: Claim,
    body: PayingBody,
    command: Command,
    verb: PaidVerb,
    about: PlanWish | None,
) -> Matter:
    """Write the change; a repeated request finds the change that it wrote before."""
    paying = Paying(
        change_id=claim.resource_id,
        method_id=payment_method_row(body.payment_method_id),
        by_card=body.payment_method == "card",
        use_balance=body.use_balance,
    )
    await failpoint("api.claimed")
    async with call.transaction() as connection:
        known = await find_before(connection, call.account.id, claim)
        if known is not None:
            subject_id = known.subscription_id
        else:
            if paying.method_id is not None:
                await method_store.get(connection, paying.method_id)
            found = await service.commanded(connection, call.account.id, command)
            subject_id = found.id
            if about is not None and about.coupon is not None:
                await coupons.redeem_for(connection, subject_id, about)
            await service.ask(connection, subject_id, lambda w: verb(w, paying), about=about)
            await _keep_unwritten(call, claim, connection, subject_id)
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(subject_id))
    if matter is None:
        raise RuntimeError("an open subscription has a matter")
    return matter


async def find_before(
    connection: AsyncConnection, account_id: UUID, claim: Claim
) -> SubscriptionChange | None:
    """Return the change that an earlier request with the key wrote."""
    if not claim.resumed:
        return None
    return claim.found(await service.change_before(connection, account_id, claim.resource_id))


async def _keep_unwritten(
    call: AccountCall, claim: Claim, connection: AsyncConnection, subject_id: UUID
) -> None:
    """Keep the answer to a change that has no row of its own, such as another plan in a trial."""
    if not claim.is_keyed or await store.find_change(connection, claim.resource_id) is not None:
        return
    changed = await store.get(connection, subject_id)
    await claim.keep(connection, 200, await SubscriptionAnswer.read(call, connection, changed))


async def _refusal(connection: AsyncConnection, change: SubscriptionChange) -> BillingError | None:
    """The error for a change that was not applied."""
    if change.status in ("pending", "scheduled", "applied"):
        return None
    if change.status != "failed":
        return Conflict("CHANGE_EXPIRED", f"the change was dropped: {change.reason}")
    if change.reason == PROVIDER_REFUSED:
        return not_opened()
    tries = await payment_store.attempts_of(connection, change.draft_id)
    declined = refusal(tries[-1]) if tries else None
    return declined or PaymentRequired("CARD_DECLINED", f"the card was declined: {change.reason}")
