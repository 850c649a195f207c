"""The recovery of all that one customer owes: read, paused, resumed (docs/operate.md#dunning)."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api.answers.case_answers import CaseAnswer
from api.answers.problems import KEYED, responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer, Body, optional_body
from api.calls import Call
from api.dependencies import AdminCall
from api.idempotency import Once, OptionalKey
from api.requests.card_numbers import FreeText
from api.requests.dry_runs import undone
from api.routes.admin.dunning import CaseReasonBody
from api.routes.base import new_router
from api.routes.subscription_previews import DryRun
from api.workflow_calls import need_temporal, wait_until_all_done
from billing.matters.schemas import Matter
from billing.money.bulk_acts import customer_pauses
from billing.money.dunning import store

router = new_router("dunning")
_COMMANDED: Final[dict[int | str, dict[str, Any]]] = responses(
    "MERCHANT_NOT_FOUND", "UNAVAILABLE", "TEMPORAL_UNAVAILABLE", *KEYED
)
Verb = Callable[[AsyncConnection, UUID], Awaitable[list[Matter]]]


class PauseAllBody(Body):
    """The reason, for the audit trail and for whoever reads the pause."""

    reason: FreeText = Field(description="For the audit trail, and for whoever reads the pause")


class CustomerDunningAnswer(Answer):
    """The open cases of one customer. `paused_at` is null unless all of them are paused, and those
    that open meanwhile; a case that was resumed by itself is `open` all the same.
    """

    account_id: AccountId
    paused_at: datetime | None
    reason: str | None = Field(
        description="The operator's reason for the pause; null: it is not paused"
    )
    cases: list[CaseAnswer] = Field(description="The open cases")


@router.get("/admin/accounts/{account_id}/dunning", responses=responses("MERCHANT_NOT_FOUND"))
async def read_customer_dunning(account_id: str, call: AdminCall) -> CustomerDunningAnswer:
    """The customer's open cases, and the pause of all of them."""
    account = await call.find_account(account_id)
    async with call.database.tenant(account.id) as connection:
        return await _shown(connection, account.id)


@router.post(
    "/admin/accounts/{account_id}/dunning/pause",
    response_model=CustomerDunningAnswer,
    responses=_COMMANDED,
)
async def pause_customer_dunning(
    account_id: str, body: PauseAllBody, call: AdminCall, once: OptionalKey, dry_run: DryRun = False
) -> Response | CustomerDunningAnswer:
    """Pause all of the customer's cases, and those that open until they are resumed."""
    verb = partial(customer_pauses.pause, reason=body.reason)
    return await _command(call, once, account_id, verb, dry_run=dry_run)


@router.post(
    "/admin/accounts/{account_id}/dunning/resume",
    response_model=CustomerDunningAnswer,
    responses=_COMMANDED,
)
async def resume_customer_dunning(
    account_id: str,
    body: Annotated[CaseReasonBody, optional_body(CaseReasonBody)],
    call: AdminCall,
    once: OptionalKey,
    dry_run: DryRun = False,
) -> Response | CustomerDunningAnswer:
    """Resume the cases that this pause has stopped: a missed slot runs now."""
    verb = partial(customer_pauses.resume, reason=body.reason or "")
    return await _command(call, once, account_id, verb, dry_run=dry_run)


async def _command(
    call: Call, once: Once, name: str, verb: Verb, *, dry_run: bool
) -> Response | CustomerDunningAnswer:
    account = await call.find_account(name)
    if dry_run:
        async with undone(call.database.tenant(account.id)) as connection:
            await verb(connection, account.id)
            return await _shown(connection, account.id)
    async with once.claim(call, account.id) as claim:
        await need_temporal(call, claim)
        async with call.database.tenant(account.id) as connection:
            matters = await verb(connection, account.id)
            await claim.keep(connection, 200, await _shown(connection, account.id))
        await wait_until_all_done(call, matters)
        async with call.database.tenant(account.id) as connection:
            return claim.answer(200, await _shown(connection, account.id))


async def _shown(connection: AsyncConnection, account_id: UUID) -> CustomerDunningAnswer:
    standing = await store.customer_pause(connection, account_id)
    cases = await store.open_of(connection, account_id)
    return CustomerDunningAnswer.of(
        {"account_id": account_id},
        paused_at=standing.paused_at if standing else None,
        reason=standing.reason if standing else None,
        cases=await CaseAnswer.read_all(connection, cases),
    )
