"""Changes of a subscription that are charged first: more of an add-on, and starting again."""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from fastapi import Response
from pydantic import Field, field_validator, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from api.dependencies import AccountCall, BillingCall
from api.idempotency import Claim, OptionalKey
from api.problems import KEYED, responses
from api.public_ids import PaymentMethodName, payment_method_row
from api.routes.base import new_router
from api.routes.invoices import refusal
from api.routes.subscriptions import SubscriptionAnswer
from api.schemas import Body, CatalogName, optional_body
from api.workflow_calls import need_temporal, wait_until_done
from billing.core.errors import BillingError, Conflict, PaymentRequired
from billing.core.failpoints import failpoint
from billing.matters import store as matters
from billing.matters.effects import Work
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.payment_methods import service as methods
from billing.money.payments import store as payment_store
from billing.money.subscriptions import add_ons, commands, service, store
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import Paying, SubscriptionChange
from billing.money.subscriptions.states import Command

router = new_router("subscriptions")
PaidVerb = Callable[[Work[SubscriptionFacts], Paying], object]
"""A verb of the subscription that may be charged first."""
_REFUSALS = (
    "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CHANGE_PENDING", "CHANGE_EXPIRED",
    "CARD_DECLINED", "PLATFORM_ERROR", "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED",
    "TEMPORAL_UNAVAILABLE", "MERCHANT_NOT_FOUND", *KEYED,
)  # fmt: skip


class PayingBody(Body):
    """By the saved card, one that is named, or one that the client confirms."""

    payment_method: Literal["default", "card"] = "default"
    payment_method_id: PaymentMethodName | None = None

    @model_validator(mode="after")
    def _names_a_saved_card(self) -> Self:
        if self.payment_method_id is not None and self.payment_method == "card":
            raise ValueError("payment_method_id goes with payment_method: default")
        return self


class AddOnBody(Body):
    """The quantity of one of the plan's add-ons."""

    add_on: CatalogName
    quantity: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 1


class ChangeBody(PayingBody):
    """All add-ons of the subscription; those not named end with the period."""

    add_ons: Annotated[list[AddOnBody], Field(max_length=50)]

    @field_validator("add_ons")
    @classmethod
    def _each_once(cls, add_ons: list[AddOnBody]) -> list[AddOnBody]:
        if len({one.add_on for one in add_ons}) != len(add_ons):
            raise ValueError("name each add-on once")
        return add_ons


class ResumeBody(PayingBody):
    """The way in which the new period is paid."""


@router.put(
    "/billing/subscription",
    response_model=SubscriptionAnswer,
    responses={
        202: {"model": SubscriptionAnswer, "description": "Its charge is undecided yet"},
        **responses("PAYMENT_OVERDUE", "ADD_ON_NOT_FOUND", "ADD_ON_NOT_OFFERED", *_REFUSALS),
    },
)
async def change_subscription(body: ChangeBody, call: BillingCall, once: OptionalKey) -> Response:
    """Set its add-ons [B8]; the same request again changes nothing.

    An increase is charged first and counts once it is paid; a decrease counts from the next period.
    """
    wanted = {one.add_on: one.quantity for one in body.add_ons if one.quantity}

    def verb(w: Work[SubscriptionFacts], paying: Paying) -> object:
        return add_ons.choose(w, wanted, paying)

    async with once.claim(call) as claim:
        await need_temporal(call)
        return answer(claim, await charge(call, claim, body, "change_up", verb))


@router.post(
    "/billing/subscription/resume",
    response_model=SubscriptionAnswer,
    responses={
        202: {"model": SubscriptionAnswer, "description": "Its charge is undecided yet"},
        **responses(*_REFUSALS),
    },
)
async def resume_subscription(
    body: Annotated[ResumeBody, optional_body(ResumeBody)], call: BillingCall, once: OptionalKey
) -> Response:
    """Start again after a pause: a new period from now, charged first as an increase is."""
    async with once.claim(call) as claim:
        await need_temporal(call)
        return answer(claim, await charge(call, claim, body, "resume", commands.resume))


async def charge(
    call: AccountCall, claim: Claim, body: PayingBody, command: Command, verb: PaidVerb
) -> SubscriptionAnswer:
    """Have the change made, its payment first. Raises the card's refusal: all is as before then."""
    matter = await _ask(call, claim, body, command, verb)
    await wait_until_done(call, matter)
    async with call.transaction() as connection:
        change = await store.find_change(connection, claim.resource_id)
        refused = await _refusal(connection, change) if change is not None else None
        changed = await store.get(connection, matter.subject_id)
        shown = await SubscriptionAnswer.read(connection, changed)
    if refused is not None:
        raise refused
    return shown


def answer(claim: Claim, shown: SubscriptionAnswer) -> Response:
    """202 while the charge is undecided."""
    return claim.answer(202 if shown.next_action["type"] == "wait" else 200, shown)


async def _ask(
    call: AccountCall, claim: Claim, body: PayingBody, command: Command, verb: PaidVerb
) -> Matter:
    """Write the change; a request that is repeated finds the one that it wrote before."""
    paying = Paying(
        change_id=claim.resource_id,
        method_id=payment_method_row(body.payment_method_id),
        by_card=body.payment_method == "card",
    )
    await failpoint("api.claimed")
    async with call.transaction() as connection:
        if paying.method_id is not None:
            await methods.get(connection, paying.method_id)
        known = await store.find_change(connection, claim.resource_id) if claim.resumed else None
        if known is not None:
            subject_id = known.subscription_id
        else:
            found = await service.commanded(connection, call.account.id, command)
            subject_id = found.id
            await service.ask(connection, subject_id, lambda w: verb(w, paying))
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(subject_id))
    if matter is None:
        raise RuntimeError("an open subscription has a matter")
    return matter


async def _refusal(connection: AsyncConnection, change: SubscriptionChange) -> BillingError | None:
    """The error for a change that was not applied."""
    if change.status in ("pending", "applied"):
        return None
    if change.status != "failed":
        return Conflict("CHANGE_EXPIRED", f"the change was given up: {change.reason}")
    tries = await payment_store.attempts_of(connection, change.invoice_id)
    told = refusal(tries[-1]) if tries else None
    return told or PaymentRequired("CARD_DECLINED", f"the card was declined: {change.reason}")
