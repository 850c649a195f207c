"""The billing threshold of an account's subscription, for operators (product.md §5)."""

from typing import Annotated

from pydantic import Field

from api.dependencies import AdminCall, account_named
from api.driving import nudged
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Text
from billing.core import clock, ids, matters
from billing.core.errors import NotFound
from billing.subscriptions import store, thresholds

router = new_router("subscriptions")


class ThresholdBody(Body):
    """At how much use beyond the plan an invoice comes early; null: only with the cycle."""

    threshold_cents: Annotated[int, Field(strict=True, gt=0, lt=10**12)] | None
    reason: Text


class ThresholdAnswer(Answer):
    """The threshold as it stands."""

    account_id: str
    subscription_id: str
    threshold_cents: int | None
    currency: str


@router.put(
    "/admin/accounts/{account_id}/billing-threshold",
    responses=responses("MERCHANT_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND"),
)
async def set_billing_threshold(
    account_id: str, body: ThresholdBody, call: AdminCall
) -> ThresholdAnswer:
    """Change the billing threshold of the open subscription; what is reached is billed at once."""
    async with call.database.operator() as connection:
        account = await account_named(connection, account_id)
    async with call.database.tenant(account.id) as connection:
        found = await store.find_open(connection, account.id)
        if found is None:
            raise NotFound("SUBSCRIPTION_NOT_FOUND", "this account has no open subscription")
        at = await clock.now(connection, account.id)
        changed = await thresholds.put(connection, found.id, body.threshold_cents, body.reason, at)
        matter = await matters.find(connection, matters.workflow_id("subscription", found.id))
    if matter is not None:
        await nudged(call, matter)
    return ThresholdAnswer(
        account_id=ids.encode(ids.ACCOUNT, account.id),
        subscription_id=ids.encode(ids.SUBSCRIPTION, changed.id),
        threshold_cents=changed.billing_threshold_minor,
        currency=changed.currency,
    )
