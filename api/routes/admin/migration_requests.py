"""Migration requests of all accounts, for operators: list them, and mark one as handled [R7]."""

from datetime import datetime

from pydantic import Field
from sqlalchemy import RowMapping

from api.answers.pagination import Page, Paging, paginate
from api.answers.problems import responses
from api.answers.public_ids import AccountId, MigrationRequestId, row_id
from api.answers.schemas import Answer, Body, OneWord
from api.calls import account_filter
from api.dependencies import AdminCall
from api.requests.card_numbers import FreeText
from api.routes.base import new_router
from api.shop_headers import check_shop
from billing.core import ids
from billing.money.migration_requests import service, store
from billing.money.migration_requests.schemas import Environment, Status
from billing.money.migration_requests.tables import migration_requests
from billing.platform.accounts import store as accounts

router = new_router("migration requests")


class HandledBody(Body):
    """The request is done; `comment` says how."""

    comment: FreeText = Field(description="What was done")


class MigrationRequestAnswer(Answer):
    """A migration request; `comment` says what `handled_by` did about it."""

    migration_request_id: MigrationRequestId = Field(validation_alias="id")
    account_id: AccountId
    environment: Environment
    notes: str
    status: Status = Field(description="`queued`, or `handled` once operators have acted")
    requested_by: str = Field(description="Who asked for it")
    created_at: datetime
    handled_at: datetime | None
    handled_by: str | None = Field(description="Who acted on it; null: nobody yet")
    comment: str | None = Field(description="What was done; null: nothing yet")


@router.get(
    "/admin/migration-requests", responses=responses("MERCHANT_NOT_FOUND", "INVALID_CURSOR")
)
async def list_migration_requests(
    call: AdminCall, paging: Paging, status: Status | None = None, account_id: OneWord = None
) -> Page[MigrationRequestAnswer]:
    """Migration requests of all accounts, newest first; `status=queued`: what is to be done."""
    async with call.database.operator() as connection:
        account = await account_filter(connection, account_id)
        query = store.listing(account_id=account, status=status)
        return await paginate(connection, query, (migration_requests.c.id,), paging, _show)


@router.post(
    "/admin/migration-requests/{migration_request_id}/handle",
    responses=responses("MIGRATION_REQUEST_NOT_FOUND", "MIGRATION_REQUEST_HANDLED"),
)
async def handle_migration_request(
    migration_request_id: str, body: HandledBody, call: AdminCall
) -> MigrationRequestAnswer:
    """Mark a migration request as handled, with what was done."""
    async with call.database.operator() as connection:
        found = await service.lock(connection, row_id(ids.MIGRATION_REQUEST, migration_request_id))
        check_shop(await accounts.get(connection, found.account_id))
        handled = await service.handle(connection, found, body.comment)
    return MigrationRequestAnswer.of(handled)


def _show(row: RowMapping) -> MigrationRequestAnswer:
    return MigrationRequestAnswer.of(store.show(row))
