"""Commands on the account's open subscription, each carried out once for its Idempotency-Key."""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from api.calls import AccountCall
from api.idempotency import Claim, Once
from api.routes.subscription_answers import SubscriptionAnswer
from api.workflow_calls import ensure_started, wait_until_done
from billing.matters import store as matters
from billing.matters.kinds import SUBSCRIPTION
from billing.matters.schemas import Matter
from billing.money.subscriptions import service, store
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.states import Command

Change = Callable[[AsyncConnection, Subscription, Claim], Awaitable[Sequence[Matter]]]
"""Changes the rows; returns the matters to start or wake after the commit."""


async def carry_out(call: AccountCall, once: Once, command: Command, order: Change) -> Response:
    """Change the open subscription, and return it once its workflow has handled the change."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            found = await service.commanded(connection, call.account.id, command)
            born = await order(connection, found, claim)
            matter = await matters.find(connection, SUBSCRIPTION.workflow_id(found.id))
            if claim.is_keyed:
                await claim.keep(connection, 200, await _shown(call, connection, found))
        if matter is not None:
            await wait_until_done(call, matter)
        for one in born:
            await ensure_started(call, one)
        async with call.transaction() as connection:
            return claim.answer(200, await _shown(call, connection, found))


async def _shown(
    call: AccountCall, connection: AsyncConnection, found: Subscription
) -> SubscriptionAnswer:
    return await SubscriptionAnswer.read(call, connection, await store.get(connection, found.id))
