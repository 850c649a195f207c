"""Extensions of a subscription's period by operators (docs/rules/subscriptions.md)."""

from collections.abc import Callable
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import Field

from api.answers.problems import KEYED, responses
from api.answers.schemas import Body
from api.calls import Call
from api.dependencies import AdminCall
from api.idempotency import Claim, OptionalKey
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone
from api.routes.base import new_router
from api.routes.subscription_answers import SubscriptionAnswer
from api.routes.subscription_changes import find_before
from api.routes.subscription_previews import DryRun, PreviewAnswer
from api.workflow_calls import wait_until_done
from billing.core import ids
from billing.matters import store as matters
from billing.matters.effects import Work
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.subscriptions import service, store
from billing.money.subscriptions.commands import extensions
from billing.money.subscriptions.facts import SubscriptionFacts

router = new_router("subscriptions")


class ExtendSubscriptionBody(Body):
    """The number of days to add to the period."""

    days: Annotated[int, Field(strict=True, ge=1, le=366)] = Field(
        description="Days to add to the period, at no cost"
    )
    reason: FreeText = Field(description="For the audit trail and the event")


@router.post(
    "/admin/accounts/{account_id}/subscription/extend",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses(
        "MERCHANT_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", "CHANGE_PENDING",
        "IDEMPOTENCY_KEY_REQUIRED", *KEYED,
    ),
)  # fmt: skip
async def extend_subscription(
    account_id: str,
    body: ExtendSubscriptionBody,
    call: AdminCall,
    once: OptionalKey,
    dry_run: DryRun = False,
) -> Response | PreviewAnswer:
    """Extend the current period by `days`, at no cost; the anchor moves with it.

    It requires an `Idempotency-Key`, because a repeat adds the days again.
    """
    account = await call.find_account(account_id)
    if dry_run:
        return await _foresee(call, account.id, body)
    once.require()
    async with once.claim(call, account.id) as claim:
        matter = await _extend(call, account.id, body, claim)
        await wait_until_done(call, matter)
        async with call.database.tenant(account.id) as connection:
            changed = await store.get(connection, matter.subject_id)
            return claim.answer(200, await SubscriptionAnswer.read(call, connection, changed))


async def _extend(
    call: Call, account_id: UUID, body: ExtendSubscriptionBody, claim: Claim
) -> Matter:
    """Extend the period; a repeated request does not extend it again."""
    async with call.database.tenant(account_id) as connection:
        known = await find_before(connection, account_id, claim)
        if known is not None:
            subject_id = known.subscription_id
        else:
            subject_id = (await service.commanded(connection, account_id, "extend")).id
            await service.ask(connection, subject_id, _verb(body, claim.resource_id))
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(subject_id))
    if matter is None:
        raise RuntimeError("an open subscription has a matter")
    return matter


async def _foresee(call: Call, account_id: UUID, body: ExtendSubscriptionBody) -> PreviewAnswer:
    async with undone(call.database.tenant(account_id)) as connection:
        found = await service.commanded(connection, account_id, "extend")
        seen = await service.foresee(connection, found.id, _verb(body, ids.new()))
    return PreviewAnswer.of_preview(seen)


def _verb(
    body: ExtendSubscriptionBody, change_id: UUID
) -> Callable[[Work[SubscriptionFacts]], object]:
    return partial(extensions.extend, days=body.days, reason=body.reason, change_id=change_id)
