"""The clock of a test account, for operators: read it and advance it."""

from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator
from temporalio.service import RPCError

from api.dependencies import AdminCall
from api.problem_codes import unavailable
from api.problems import responses
from api.routes.base import new_router
from api.schemas import Answer, Body, Instant
from api.workflow_calls import need_temporal
from billing.core.clock import real_now
from billing.platform.accounts import clocks
from billing.platform.accounts.schemas import Account
from workflows import start

router = new_router("clock")


class ClockBody(Body):
    """The target of the clock: an instant, or days from its present time."""

    advance_to: Instant | None = None
    advance_days: Annotated[int, Field(strict=True, ge=0, le=3_660)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.advance_to is None) == (self.advance_days is None):
            raise ValueError("give advance_to or advance_days")
        return self


class ClockAnswer(Answer):
    """`status` is real (no clock of its own), ready, advancing or blocked."""

    clock_at: datetime
    target: datetime | None = Field(validation_alias="clock_target")
    status: str
    blocked: str | None = Field(validation_alias="clock_blocked")

    @classmethod
    def of_account(cls, account: Account) -> Self:
        """The clock as operators see it."""
        at, status = account.clock_at or real_now(), account.clock_status or "real"
        return cls.of(account, clock_at=at, status=status)


@router.post(
    "/admin/accounts/{account_id}/clock",
    status_code=202,
    responses=responses(
        "MERCHANT_NOT_FOUND", "CLOCK_NEEDS_TEST_ACCOUNT", "CLOCK_BACKWARDS", "TEMPORAL_UNAVAILABLE"
    ),
)
async def advance_clock(account_id: str, body: ClockBody, call: AdminCall) -> ClockAnswer:
    """Advance a test account's clock; everything due on the way happens, in order.

    After a 503 or no answer send the same `advance_to` again; `advance_days` would add up.
    """
    await need_temporal(call)
    account = await call.find_account(account_id)
    target = body.advance_to or (
        (account.clock_target or account.clock_at or real_now())
        + timedelta(days=body.advance_days or 0)
    )
    async with call.database.tenant(account.id) as connection:
        account = await clocks.aim(connection, account.id, target)
    try:
        await start.walk(call.temporal, account.id)
    except (RPCError, RuntimeError) as error:
        raise unavailable("TEMPORAL_UNAVAILABLE") from error
    return ClockAnswer.of_account(account)


@router.get("/admin/accounts/{account_id}/clock", responses=responses("MERCHANT_NOT_FOUND"))
async def read_clock(account_id: str, call: AdminCall) -> ClockAnswer:
    """The present time and status of the account's clock."""
    return ClockAnswer.of_account(await call.find_account(account_id))
