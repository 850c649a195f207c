"""Migration requests: an account asks to be moved to the sandbox or into production, and reads what
came of it [P12].
"""

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints
from sqlalchemy import RowMapping

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import KEYED, responses
from api.answers.public_ids import MigrationRequestId
from api.answers.schemas import Answer, Body
from api.dependencies import BillingCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from billing.money.migration_requests import rules, service, store
from billing.money.migration_requests.schemas import Environment, MigrationRequest, Status
from billing.money.migration_requests.tables import migration_requests

router = new_router("migration requests")

Notes = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=rules.MIN_NOTES, max_length=rules.MAX_NOTES
    ),
    NoCardNumber,
]


class MigrationBody(Body):
    """The environment to be moved to, and what operators need to know for it."""

    environment: Environment = Field(description="Where to move the account")
    notes: Notes = Field(description="What the operators need to know")


class MigrationAnswer(Answer):
    """A request under the names that the console uses [P13].

    `channel` says who is told: `operators`.
    """

    requestId: MigrationRequestId = Field(validation_alias="id")  # noqa: N815
    environment: Environment
    status: Status = Field(description="`queued`, or `handled` once operators have acted")
    submittedAt: datetime = Field(validation_alias="created_at")  # noqa: N815
    handledAt: datetime | None = Field(validation_alias="handled_at")  # noqa: N815
    channel: str = Field(description="Who is told: `operators`")
    notesPreview: str  # noqa: N815


@router.post(
    "/billing/migration/request",
    response_model=MigrationAnswer,
    status_code=202,
    responses=responses("MIGRATION_REQUEST_LIMIT", *KEYED),
)
async def request_migration(body: MigrationBody, call: BillingCall, once: OptionalKey) -> Response:
    """Ask the operators to move the account; `evt.billing.migration.handled` says when they did."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            queued = await service.submit(
                connection, call.account.id, claim.resource_id, body.environment, body.notes
            )
        return claim.answer(202, _shown(queued))


@router.get("/billing/migration/requests", responses=responses("INVALID_CURSOR"))
async def list_own_migration_requests(
    call: BillingCall, paging: Paging, status: Status | None = None
) -> Page[MigrationAnswer]:
    """The account's migration requests, newest first."""
    query = store.listing(account_id=call.account.id, status=status)
    async with call.transaction() as connection:
        return await paginate(connection, query, (migration_requests.c.id,), paging, _row)


def _row(row: RowMapping) -> MigrationAnswer:
    return _shown(store.show(row))


def _shown(request: MigrationRequest) -> MigrationAnswer:
    return MigrationAnswer.of(
        request,
        status=request.status,
        channel=rules.CHANNEL,
        notesPreview=rules.preview(request.notes),
    )
