"""The billing threshold of a subscription, for operators (docs/rules/subscriptions.md)."""

from pydantic import Field

from api.answers.problems import responses
from api.answers.public_ids import AccountId, SubscriptionId
from api.answers.schemas import Answer, Body
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone_if
from api.routes.base import new_router
from api.routes.subscription_previews import TryOut
from api.workflow_calls import notify
from billing.catalog.plans.schemas import PositiveMinor
from billing.core import clock
from billing.core.errors import NotFound
from billing.matters import store as matters
from billing.matters.kinds import SUBSCRIPTION
from billing.money.subscriptions import store, thresholds

router = new_router("subscriptions")


class ThresholdBody(Body):
    """The overage in minor units that causes an early invoice; null: no early invoice."""

    threshold_cents: PositiveMinor | None
    reason: FreeText = Field(description="For the audit trail")


class ThresholdAnswer(Answer):
    """The current threshold."""

    account_id: AccountId
    subscription_id: SubscriptionId = Field(validation_alias="id")
    threshold_cents: int | None = Field(validation_alias="billing_threshold_minor")
    currency: str


@router.put(
    "/admin/accounts/{account_id}/billing-threshold",
    responses=responses("MERCHANT_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND"),
)
async def set_billing_threshold(
    account_id: str, body: ThresholdBody, call: AdminCall, dry_run: TryOut = False
) -> ThresholdAnswer:
    """Change the billing threshold of the open subscription; overage already above it is invoiced
    now.
    """
    account = await call.find_account(account_id)
    async with undone_if(dry_run, call.database.tenant(account.id)) as connection:
        found = await store.find_open(connection, account.id)
        if found is None:
            raise NotFound("SUBSCRIPTION_NOT_FOUND", "this account has no open subscription")
        at = await clock.now(connection, account.id)
        changed = await thresholds.put(connection, found.id, body.threshold_cents, body.reason, at)
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(found.id))
    if matter is not None and not dry_run:
        await notify(call, matter)
    return ThresholdAnswer.of(changed)
