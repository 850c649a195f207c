"""Migration requests: an account asks to be moved to the sandbox or into production [P12]."""

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints

from api.answers.problems import KEYED, responses
from api.answers.public_ids import MigrationRequestId
from api.answers.schemas import Answer, Body
from api.dependencies import BillingCall
from api.idempotency import OptionalKey
from api.requests.card_numbers import NoCardNumber
from api.routes.base import new_router
from billing.money.migration_requests import rules, service
from billing.money.migration_requests.schemas import Environment, Status

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

    environment: Environment
    notes: Notes


class MigrationAnswer(Answer):
    """The request as it was queued, under the names that the console uses [P13].

    `channel` says who is told: `operators`.
    """

    requestId: MigrationRequestId = Field(validation_alias="id")  # noqa: N815
    status: Status
    submittedAt: datetime = Field(validation_alias="created_at")  # noqa: N815
    channel: str
    notesPreview: str  # noqa: N815


@router.post(
    "/billing/migration/request",
    response_model=MigrationAnswer,
    status_code=202,
    responses=responses("MERCHANT_NOT_FOUND", "MIGRATION_REQUEST_LIMIT", *KEYED),
)
async def request_migration(body: MigrationBody, call: BillingCall, once: OptionalKey) -> Response:
    """Ask the operators to move the account; `evt.billing.migration.handled` says when they did."""
    async with once.claim(call) as claim:
        async with call.transaction() as connection:
            queued = await service.submit(
                connection, call.account.id, claim.resource_id, body.environment, body.notes
            )
        answer = MigrationAnswer.of(
            queued,
            status=queued.status,
            channel=rules.CHANNEL,
            notesPreview=rules.preview(queued.notes),
        )
        return claim.answer(202, answer)
