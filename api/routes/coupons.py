"""Coupons of a subscription: redeem one, and remove it again [L1]."""

from functools import partial

from fastapi import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.problems import KEYED, responses
from api.answers.schemas import Body
from api.calls import AccountCall
from api.dependencies import BillingCall
from api.idempotency import Claim, OptionalKey
from api.requests.coupon_codes import WrittenCode
from api.requests.dry_runs import undone
from api.routes.base import new_router
from api.routes.subscription_answers import SubscriptionAnswer
from api.routes.subscription_commands import carry_out
from api.routes.subscription_previews import DryRun, PreviewAnswer, foreseen
from billing.core import ids
from billing.matters.schemas import Matter
from billing.money.subscriptions import coupons, service
from billing.money.subscriptions.schemas import Subscription

router = new_router("subscriptions")


class CouponBody(Body):
    """The code of a coupon, in upper or lower case."""

    code: WrittenCode = Field(description="The code, in any letters")


@router.post(
    "/billing/subscription/coupon",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses("INVALID_COUPON", "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", *KEYED),
)
async def redeem_coupon(
    body: CouponBody, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Apply a coupon to invoices from the next period on; `reason` says why one is refused."""

    async def redeem(
        connection: AsyncConnection, found: Subscription, claim: Claim
    ) -> tuple[Matter, ...]:
        await coupons.redeem(connection, found.id, body.code, claim.resource_id)
        return ()

    if dry_run:
        return await _foresee(call, body.code)
    return await carry_out(call, once, "coupon", redeem)


async def _foresee(call: AccountCall, code: str) -> PreviewAnswer:
    async with undone(call.transaction()) as connection:
        found = await service.commanded(connection, call.account.id, "coupon")
        await coupons.redeem(connection, found.id, code, ids.new())
        seen = await service.foresee(connection, found.id, lambda _: None)
    return PreviewAnswer.of_preview(seen)


@router.delete(
    "/billing/subscription/coupon/{code}",
    response_model=SubscriptionAnswer | PreviewAnswer,
    responses=responses("COUPON_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND", "SUBSCRIPTION_STATE", *KEYED),
)
async def remove_coupon(
    code: str, call: BillingCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | PreviewAnswer:
    """Remove a coupon from later invoices; its redemption stays used."""
    if dry_run:
        return await foreseen(call, "coupon", partial(coupons.remove, code=code))

    async def remove(
        connection: AsyncConnection, found: Subscription, _: Claim
    ) -> tuple[Matter, ...]:
        await service.ask(connection, found.id, partial(coupons.remove, code=code))
        return ()

    return await carry_out(call, once, "coupon", remove)
