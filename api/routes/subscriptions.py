"""The account's subscription: subscribe, read, cancel, reactivate."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Final

from fastapi import Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.card_refusals import not_opened, refusal
from api.answers.problems import KEYED, responses
from api.answers.public_ids import payment_method_row
from api.answers.schemas import optional_body
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Claim, Once, OptionalKey
from api.identity.auth import OPERATORS
from api.pay.payer_secrets import for_caller
from api.requests.dry_runs import undone
from api.routes.base import new_router
from api.routes.subscription_answers import SubscriptionAnswer
from api.routes.subscription_bodies import CancelBody, CardBody, PauseBody, SubscribeBody
from api.routes.subscription_commands import carry_out
from api.routes.subscription_previews import SUMS, DryRun, PreviewAnswer, foreseen, keep
from api.workflow_calls import need_temporal, wait_for_another, wait_until_done
from billing.catalog.plans import rules
from billing.core.errors import BillingError, NotAllowed, NotFound, Unavailable
from billing.core.failpoints import failpoint
from billing.matters import store as matters
from billing.matters.effects import Work
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.payments import store as payment_store
from billing.money.subscriptions import payment_effects, service, store
from billing.money.subscriptions.commands import running
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.schemas import NewSubscription, PlanWish, Subscription
from billing.money.subscriptions.states import Command

router = new_router("subscriptions")
Verb = Callable[[Work[SubscriptionFacts]], object]
DAYS_UNTIL_DUE: Final = 30


@router.post(
    "/billing/subscription",
    response_model=SubscriptionAnswer | PreviewAnswer,
    status_code=201,
    responses={
        200: {"model": PreviewAnswer, "description": "With `dry_run`: what it would charge"},
        202: {"model": SubscriptionAnswer, "description": "The first payment is still undecided"},
        **responses(
            "SUBSCRIPTION_EXISTS", "SUBSCRIPTION_ENDING", "PAYMENT_PENDING", "PLAN_NOT_FOUND",
            "INTERVAL_NOT_OFFERED", "CURRENCY_MISMATCH", "CURRENCY_NOT_CHARGED", "PRICE_CHANGED",
            "QUANTITY_NOT_OFFERED", "PRICE_TOO_LARGE", "INVALID_COUPON", "CARD_DECLINED",
            "PLATFORM_ERROR", "PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED",
            "TEMPORAL_UNAVAILABLE", "PAYMENT_OVERDUE", *KEYED,
        ),
    },
)  # fmt: skip
async def subscribe(
    body: SubscribeBody, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response:
    """Subscribe; a subscription starts in a trial, or incomplete until `next_action` is done [C4].

    `collection: send_invoice` requires the role service or admin.
    """
    if body.collection == "send_invoice" and call.caller.roles.isdisjoint(OPERATORS):
        raise NotAllowed("FORBIDDEN", "granting payment terms requires the role service or admin")
    wanted = _wanted(body)
    if dry_run:
        return JSONResponse((await _foresee(call, wanted)).model_dump(mode="json"))
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        await _supersede_incomplete(call, claim, wanted)
        matter = await _begin(call, claim, wanted)
        await wait_until_done(call, matter)
        answer = await _begun(call, claim)
        return claim.answer(202 if answer.next_action["type"] == "wait" else 201, answer)


async def _begun(call: AccountCall, claim: Claim) -> SubscriptionAnswer:
    """Return the new subscription. Raise the refusal of its first payment."""
    async with call.transaction() as connection:
        subscription = await store.get(connection, claim.resource_id)
        refused = await _refusal(connection, subscription)
        if refused is not None:
            raise refused
        return await SubscriptionAnswer.read(call, connection, subscription)


async def _refusal(connection: AsyncConnection, begun: Subscription) -> BillingError | None:
    """Return the error of a subscription whose first payment could not be requested, else None."""
    if begun.end_reason != payment_effects.NOT_ASKED:
        return None
    workflow_id = SUBSCRIPTION.workflow_id(begun.id)
    tried = await payment_store.last_try_of(connection, workflow_id)
    return (refusal(tried) if tried is not None else None) or not_opened()


async def _foresee(call: AccountCall, wanted: NewSubscription) -> PreviewAnswer:
    async with undone(call.transaction()) as connection:
        seen = await service.foresee_start(connection, call.account.id, wanted)
    return PreviewAnswer.of_preview(seen)


@router.get("/billing/subscription", responses=responses("SUBSCRIPTION_NOT_FOUND"))
async def read_subscription(call: MemberCall) -> SubscriptionAnswer:
    """The open subscription, else the newest ended one [C1]. Only payers see secrets."""
    async with call.transaction() as connection:
        subscription = await store.find_current(connection, call.account.id)
        if subscription is None:
            raise NotFound("SUBSCRIPTION_NOT_FOUND")
        answer = await SubscriptionAnswer.read(call, connection, subscription)
    return for_caller(call, answer)


@router.post(
    "/billing/subscription/cancel",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses(
        "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CREDITS_SPENT", "PAYMENT_PENDING",
        "PREVIEW_EXPIRED", *KEYED,
    ),
)  # fmt: skip
async def cancel_subscription(
    body: Annotated[CancelBody, optional_body(CancelBody)],
    call: BillingCall,
    once: OptionalKey,
    dry_run: DryRun = False,
) -> Response | PreviewAnswer:
    """Cancel at period end, on a date, or now [C5]; open dunning does not prevent it."""
    verb = partial(
        running.cancel, now=body.at == "now", date=body.cancel_at, reason=body.reason,
        comment=body.comment, rest=body.refund,
    )  # fmt: skip
    # A credit for unused time needs the charges of the period.
    about = PlanWish() if body.refund != "none" else None
    if dry_run:
        return await foreseen(call, "cancel", verb, about=about, binding=SUMS)
    if body.preview_token is not None:
        return await _change(call, once, "cancel", _kept(call, body.preview_token, verb), about)
    return await _change(call, once, "cancel", verb, about)


def _kept(call: AccountCall, token: str, verb: Callable[..., object]) -> Verb:
    """Bind the verb to its preview."""
    return lambda w: keep(call, token, SUMS, w, lambda as_of: verb(w, as_of=as_of))


@router.post(
    "/billing/subscription/pause",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses("SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CHANGE_PENDING", *KEYED),
)
async def pause_subscription(
    body: Annotated[PauseBody, optional_body(PauseBody)],
    call: BillingCall,
    once: OptionalKey,
    dry_run: DryRun = False,
) -> Response | PreviewAnswer:
    """Pause at period end (cancelable until then) or now; `resume` ends the pause."""
    verb = partial(running.pause, when=body.at)
    if dry_run:
        return await foreseen(call, "pause", verb)
    return await _change(call, once, "pause", verb)


@router.put(
    "/billing/subscription/payment-method",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses(
        "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "PAYMENT_METHOD_NOT_FOUND", "CARD_DECLINED",
        "CURRENCY_NOT_CHARGED", *KEYED,
    ),
)  # fmt: skip
async def choose_card(
    body: CardBody, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Charge this card for the subscription from now on; overdue invoices are tried with it now."""
    method_id = payment_method_row(body.payment_method_id)
    verb = partial(running.choose_card, method_id=method_id)
    if dry_run:
        return await foreseen(call, "card", verb)
    return await _change(call, once, "card", verb)


@router.post(
    "/billing/subscription/reactivate",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses("SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", *KEYED),
)
async def reactivate_subscription(
    call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Withdraw a scheduled cancellation [C7]."""
    if dry_run:
        return await foreseen(call, "reactivate", running.reactivate)
    return await _change(call, once, "reactivate", running.reactivate)


async def _change(
    call: AccountCall,
    once: Once,
    command: Command,
    verb: Verb,
    about: PlanWish | None = None,
) -> Response:
    async def order(connection: AsyncConnection, found: Subscription, _: Claim) -> Sequence[Matter]:
        return await service.carry_out(connection, found.id, verb, about=about)

    return await carry_out(call, once, command, order)


async def _supersede_incomplete(call: AccountCall, claim: Claim, wanted: NewSubscription) -> None:
    """Give up an incomplete earlier subscription; Stripe may answer that it was paid after all.

    A request that has begun its own subscription, or that is refused, gives up nothing. Errors:
    PAYMENT_PENDING while the bank decides on its payment; SUBSCRIPTION_ENDING while Stripe has not
    answered (a retry with the same key continues); those of the request itself.
    """
    async with call.transaction() as connection:
        existing = await store.find_open(connection, call.account.id)
        own = await claim.begun(
            connection, call.account.id, SUBSCRIPTION.workflow_id(claim.resource_id)
        )
    if existing is None or own is not None:
        return
    await _foresee(call, wanted)
    async with call.transaction() as connection:
        given_up = await service.ask(connection, existing.id, running.supersede)
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(existing.id))
    if matter is None or not given_up:
        return
    await wait_for_another(call, matter)
    async with call.transaction() as connection:
        before = await store.get(connection, existing.id)
        if before.status == "incomplete":
            await service.ask(connection, before.id, running.supersede)  # the bank decides
    if before.status == "incomplete":
        raise Unavailable("SUBSCRIPTION_ENDING")


async def _begin(call: AccountCall, claim: Claim, wanted: NewSubscription) -> Matter:
    await failpoint("api.claimed")
    async with call.transaction() as connection:
        begun = await claim.begun(
            connection, call.account.id, SUBSCRIPTION.workflow_id(claim.resource_id)
        )
        if begun is not None:
            return begun
        return await service.start(
            connection, call.account.id, wanted, subscription_id=claim.resource_id
        )


def _wanted(body: SubscribeBody) -> NewSubscription:
    sent = body.collection == "send_invoice"
    return NewSubscription(
        plan=body.plan,
        interval=rules.parse_interval(body.interval),
        currency=body.currency,
        quantity=body.quantity,
        method_id=payment_method_row(body.payment_method_id),
        pay_by_card=body.payment_method == "card",
        trial=body.trial,
        expected_minor=body.expected_amount_cents,
        use_balance=body.use_balance,
        coupon=body.coupon,
        billing_day=body.billing_day,
        collection=body.collection,
        days_until_due=(body.days_until_due or DAYS_UNTIL_DUE) if sent else None,
    )
