"""Previews of changes and of the next period: what they would charge; nothing is written."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import Query
from pydantic import Field, StringConstraints

from api.answers import statuses
from api.answers.problems import responses
from api.answers.schemas import Answer, Total
from api.calls import AccountCall
from api.dependencies import MemberCall
from api.requests.dry_runs import undone
from api.routes.base import new_router
from api.routes.invoice_answers import LineAnswer
from billing.catalog.rating.schemas import Then
from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.matters.effects import Work
from billing.money.subscriptions import coupons, service, store
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.previews import deciding, keeping, tokens
from billing.money.subscriptions.previews.deciding import Preview, Upcoming, Written
from billing.money.subscriptions.previews.tokens import Promise
from billing.money.subscriptions.schemas import PlanWish
from billing.money.subscriptions.states import Command

router = new_router("subscriptions")
PreviewToken = Annotated[str, StringConstraints(max_length=200)] | None
"""The token of a preview that must be carried out exactly."""
Binding = Callable[[Work[SubscriptionFacts]], bytes]
"""Returns the digest of what a preview promises."""
AS_OF: Final = deciding.digest_of
"""Everything about a change, which is prorated as of its preview."""
SUMS: Final = deciding.sums_of
"""Everything except instants: for a verb that takes effect when it is requested."""
DryRun = Annotated[
    bool,
    Query(description="Return what would be charged and changed; nothing is written or charged."),
]

TryOut = Annotated[
    bool, Query(description="Return the usual answer or error; nothing is written or charged.")
]
"""For a request that charges nothing itself: its consequences are not previewed."""


class WrittenPart(Answer):
    """An invoice that would be written; `amount_due_cents` is what would be charged for it."""

    currency: str
    subtotal_cents: int = Field(validation_alias="subtotal_minor")
    discount_cents: int = Field(validation_alias="discount_minor")
    tax_cents: int = Field(validation_alias="tax_minor")
    total_cents: int = Field(validation_alias="total_minor")
    balance_applied_cents: int = Field(validation_alias="balance_applied_minor")
    amount_due_cents: int = Field(validation_alias="amount_due_minor")
    period_start: datetime | None = Field(
        description="When the period that it bills begins; null: it bills none"
    )
    period_end: datetime | None = Field(
        description="When the period that it bills ends; it is no part of the period"
    )
    lines: list[LineAnswer] = Field(description="What it would charge, line by line")

    @classmethod
    def of_written(cls, written: Written) -> Self:
        """The invoice with its lines."""
        currency = written.invoice.currency
        lines = [LineAnswer.of_line(one, currency) for one in written.lines]
        return cls.of(written.invoice, lines=lines)


class UpcomingAnswer(Answer):
    """The end of the current period: `renew`, `end_trial`, `end` or `pause`, with its invoice.

    An `unpaid` subscription that ends before has `end_unpaid`, and a paused one with a commitment
    `close_commitment`. Overage is what has been used so far. Money that a bank still decides on is
    not counted, nor a change that waits for its payment; the timeline assumes that they come. `at`
    is null if nothing is due, as during a pause.
    """

    at: datetime | None = Field(None, description="When it comes; null: nothing is due")
    step: str | None = Field(
        None,
        description="`renew`, `end_trial`, `end`, `pause`, `end_unpaid` or `close_commitment`;"
        " null: nothing is due",
    )
    invoice: WrittenPart | None = Field(None, description="The invoice that it writes; null: none")

    @classmethod
    def of_upcoming(cls, coming: Upcoming | None) -> Self:
        """The step, if there is one."""
        if coming is None:
            return cls()
        written = WrittenPart.of_written(coming.written) if coming.written is not None else None
        return cls(at=coming.at, step=coming.step, invoice=written)


class OverLimitPart(Answer):
    """A meter that was used more in this cycle than a whole cycle of the plan that comes includes.

    `then` says what more use meets: it is refused, billed as overage, or told of.
    """

    meter: str
    used: Total = Field(description="Units used in this cycle")
    included: Total = Field(description="Units that the plan to come includes per cycle")
    then: Then


class PreviewAnswer(Answer):
    """The subscription as it would be, the charge now, and the cost of its next period.

    `due_now_cents` is charged at once, the `invoice` first. `usage` is the overage of a cycle that
    the change ends. `credited_cents` is credited by credit notes: against what is owed, or to the
    money balance; `refunded_cents` of it is refunded to the payer. `over_limits` are meters of the
    current plan whose usage exceeds the limits of the new one. With `preview_token` the change
    charges exactly this, and usage recorded meanwhile.
    """

    subscription_id: str
    status: str = Field(description=statuses.SUBSCRIPTION)
    plan: str = Field(description="The key of the plan that it would have")
    effective_at: datetime = Field(description="When the change would apply")
    due_now_cents: int
    credited_cents: int = Field(
        description="What credit notes would credit, in minor units: against what is owed, or to"
        " the money balance",
    )
    refunded_cents: int = Field(
        description="The part of it that would go back to its payer, in minor units"
    )
    currency: str
    change: dict[str, Any] | None = Field(
        description="What the change asks for; null: nothing changes"
    )
    invoice: WrittenPart | None = Field(description="The invoice of the change; null: it has none")
    usage: WrittenPart | None = Field(
        description="The invoice for use beyond the plan in the cycle that the change ends; null:"
        " none",
    )
    upcoming: UpcomingAnswer = Field(description="The end of the period that would then run")
    over_limits: list[OverLimitPart] = Field(
        description="The meters that were used more than the plan to come includes"
    )
    as_of: datetime = Field(description="The instant that it was computed for")
    preview_token: str | None = None
    expires_at: datetime | None = Field(
        None, description="When the token expires, in real time even if the account has a clock"
    )

    @classmethod
    def of_preview(cls, seen: Preview) -> Self:
        """The preview without a token."""
        change, after = seen.change, seen.subscription
        later = change.effective_at if change is not None else None
        return cls(
            subscription_id=ids.encode(ids.SUBSCRIPTION, after.id),
            status=after.status,
            plan=after.plan_key,
            effective_at=later or seen.as_of,
            due_now_cents=seen.due_minor,
            credited_cents=seen.credited_minor,
            refunded_cents=seen.refunded_minor,
            currency=after.currency,
            change=change.wanted if change is not None else None,
            invoice=WrittenPart.of_written(seen.written) if seen.written else None,
            usage=WrittenPart.of_written(seen.usage) if seen.usage else None,
            upcoming=UpcomingAnswer.of_upcoming(seen.upcoming),
            over_limits=[OverLimitPart.of(one) for one in seen.over_limits],
            as_of=seen.as_of,
        )


async def foreseen(
    call: AccountCall,
    command: Command,
    verb: Callable[[Work[SubscriptionFacts]], object],
    *,
    about: PlanWish | None = None,
    binding: Binding | None = None,
) -> PreviewAnswer:
    """Preview a verb, in the account's turn; with `binding` add the token that fixes the result for
    a while. Errors: RATE_LIMITED.
    """
    held: list[bytes] = []

    def tried(w: Work[SubscriptionFacts]) -> None:
        verb(w)
        # Digest it before its payment, which the preview adds.
        held[:] = [binding(w)] if binding else []

    async with call.services.preview_turns.one(call.account.id):
        subscription_id, seen = await _decided(call, command, tried, about)
    answer = PreviewAnswer.of_preview(seen)
    if not held:
        return answer
    now = real_now()
    promise = Promise(subscription_id=subscription_id, as_of=seen.as_of, digest=held[0])
    token = tokens.write(promise, call.services.settings.pay_link_secrets, now)
    fields = {"preview_token": token, "expires_at": now + tokens.LIFETIME}
    return answer.model_copy(update=fields)


async def _decided(
    call: AccountCall,
    command: Command,
    tried: Callable[[Work[SubscriptionFacts]], object],
    about: PlanWish | None,
) -> tuple[UUID, Preview]:
    """Return the id of the subscription, and what the verb would do to it."""
    redeeming = about if about is not None and about.coupon is not None else None
    async with call.glancing() as connection:
        found = await service.commanded(connection, call.account.id, command)
        seen = None
        if redeeming is None:
            seen = await service.glance(connection, found.id, tried, about=about)
    if seen is None:
        async with undone(call.transaction()) as connection:
            if redeeming is None:
                seen = await service.recount(connection, found.id, tried, about=about)
            else:
                await coupons.redeem_for(connection, found.id, redeeming)
                seen = await service.foresee(connection, found.id, tried, about=about)
    return found.id, seen


def keep(
    call: AccountCall,
    token: str,
    binding: Binding,
    w: Work[SubscriptionFacts],
    act: Callable[[datetime], object],
) -> None:
    """Act exactly as previewed. Errors: PREVIEW_EXPIRED."""
    promise = tokens.read(token, call.services.settings.pay_link_secrets, real_now())
    keeping.keep(promise, w, act, binding)


@router.get(
    "/billing/subscription/upcoming",
    responses=responses("SUBSCRIPTION_NOT_FOUND"),
)
async def read_upcoming(call: MemberCall) -> UpcomingAnswer:
    """The end of the current period, from what is known and used so far."""
    async with call.transaction() as connection:
        found = await store.find_current(connection, call.account.id)
        if found is None:
            raise NotFound("SUBSCRIPTION_NOT_FOUND")
        return UpcomingAnswer.of_upcoming(await service.upcoming(connection, found.id))
