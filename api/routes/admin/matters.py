"""Matters, for operators: what every workflow waits for, and how to resume a halted one."""

from datetime import datetime
from typing import Literal

from pydantic import Field
from temporalio.service import RPCError

from api.answers import statuses
from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId
from api.answers.schemas import Answer, OneWord
from api.calls import Call, account_filter
from api.dependencies import AdminCall
from api.routes.base import new_router
from api.workflow_calls import need_temporal, wait_until_done
from billing.core import clock
from billing.core.errors import Conflict, NotFound, Unavailable
from billing.matters import listing
from billing.matters.schemas import Matter, Status
from billing.matters.store import find as find_matter
from billing.matters.tables import matters
from billing.money.invoice_requests import unreached
from billing.platform.audit import service as audit
from workflows import start

router = new_router("matters")

KindName = Literal[
    "trial", "subscription", "collection", "purchase", "charge", "account", "reversal"
]


class MatterAnswer(Answer):
    """One matter: `words` describes its state, `next_due` is when its next step is due."""

    workflow_id: str
    account_id: AccountId
    kind: str = Field(
        description="What runs: `trial`, `subscription`, `collection`, `purchase`, `charge`,"
        " `account` or `reversal`",
    )
    status: str = Field(description=statuses.MATTER)
    words: str = Field(description="Its state in words")
    revision: int = Field(description="A number that grows with each waking")
    next_due: datetime | None
    next_step: str | None = Field(description="Its next step, in words; null: none is due")
    created_at: datetime
    started_at: datetime | None = Field(
        description="When its workflow was started, in real time; null: it has none yet"
    )
    closed_at: datetime | None


@router.get("/admin/matters", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR"))
async def list_matters(
    call: AdminCall,
    paging: Paging,
    status: Status | None = None,
    kind: KindName | None = None,
    account_id: OneWord = None,
) -> Page[MatterAnswer]:
    """All matters, newest first; `status=halted` lists those that need a person."""
    keys = (matters.c.created_at, matters.c.workflow_id)
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = listing.listing(status=status, kind=kind, account_id=account)
        return await paginate(connection, query, keys, paging, MatterAnswer.of)


@router.get("/admin/matters/{workflow_id:path}", responses=responses("MATTER_NOT_FOUND"))
async def read_matter(workflow_id: str, call: AdminCall) -> MatterAnswer:
    """One matter, such as `subscription/sub_…`."""
    return await _read(call, workflow_id)


@router.post(
    "/admin/matters/{workflow_id:path}/resume",
    responses=responses("MATTER_NOT_FOUND", "MATTER_NOT_HALTED", "TEMPORAL_UNAVAILABLE"),
)
async def resume_matter(workflow_id: str, call: AdminCall) -> MatterAnswer:
    """Have a halted matter try its step again now instead of within the hour, and so its charges
    that reached no card; for these it need not be halted.
    """
    await need_temporal(call)
    matter = await _find(call, workflow_id)
    due = await _try_unreached(call, matter)
    if not await _resume(call, matter, due=due) and not due:
        raise Conflict("MATTER_NOT_HALTED")
    await wait_until_done(call, matter.model_copy(update={"status": "open"}))
    return await _read(call, workflow_id)


async def _resume(call: Call, matter: Matter, *, due: int) -> bool:
    """Resume a halted matter; False if it is not halted, or nobody says so and its charges are
    ordered: these are committed, and go on without that answer.
    """
    try:
        is_halted = await start.resume(call.temporal, matter)
    except (Unavailable, RPCError) as error:
        if matter.status != "halted" and due:
            return False
        if matter.status == "halted" and isinstance(error, Unavailable):
            await _record(call, matter)  # the request may still reach the next worker
        raise
    if is_halted:
        await _record(call, matter)
    return is_halted


async def _try_unreached(call: Call, matter: Matter) -> int:
    """Order the charges that wait; return how many are due by an order, also by an earlier one."""
    try:
        async with call.database.tenant(matter.account_id) as connection:
            found = await unreached.waiting_of(connection, matter.workflow_id)
            return sum([(await unreached.try_now(connection, one))[1] for one in found])
    except Unavailable:  # an invoice is being handed over, which keeps no matter halted
        if matter.status != "halted":
            raise
        return 0


async def _record(call: Call, matter: Matter) -> None:
    async with call.database.tenant(matter.account_id) as connection:
        await audit.record(
            connection,
            account_id=matter.account_id,
            action="matter.resume_ordered",
            subject=matter.workflow_id,
            at=await clock.now(connection, matter.account_id),
        )


async def _find(call: Call, workflow_id: str) -> Matter:
    async with call.database.operator() as connection:
        matter = await find_matter(connection, workflow_id)
    if matter is None:
        raise NotFound("MATTER_NOT_FOUND")
    await call.refuse_other_shop(matter.account_id)
    return matter


async def _read(call: Call, workflow_id: str) -> MatterAnswer:
    async with call.database.operator() as connection:
        entry = await listing.find(connection, workflow_id)
    if entry is None:
        raise NotFound("MATTER_NOT_FOUND")
    await call.refuse_other_shop(entry.account_id)
    return MatterAnswer.of(entry)
