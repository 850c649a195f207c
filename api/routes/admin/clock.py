"""The clock of a test account, for operators: read it and advance it."""

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import Response
from pydantic import Field, model_validator

from api.answers.problems import KEYED, responses
from api.answers.schemas import Answer, Body, Instant
from api.calls import Call
from api.dependencies import AdminCall
from api.idempotency import OptionalKey
from api.routes.base import new_router
from api.workflow_calls import logged_if_away, need_temporal
from billing.core.clock import now_by
from billing.ledger.credits import service as credits
from billing.platform.accounts import clocks
from billing.platform.accounts.schemas import Account
from workflows import start

router = new_router("clock")


class ClockBody(Body):
    """The target of the clock: an instant, or days from its current time."""

    advance_to: Instant | None = Field(
        None, description="The instant to move the clock to; instead of `advance_days`"
    )
    advance_days: Annotated[int, Field(strict=True, ge=0, le=3_660)] | None = Field(
        None, description="Days of 24 hours to move the clock by; instead of `advance_to`"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.advance_to is None) == (self.advance_days is None):
            raise ValueError("set either advance_to or advance_days")
        return self


class ClockAnswer(Answer):
    """`status` is real (no clock of its own), ready, advancing or blocked."""

    clock_at: datetime
    target: datetime | None = Field(
        validation_alias="clock_target",
        description="The instant that it moves to; null: it does not move",
    )
    status: str = Field(
        description="`real`: it has no clock of its own; `ready`; `advancing`; `blocked`"
    )
    blocked: str | None = Field(
        validation_alias="clock_blocked", description="Why it does not go on; null: it does"
    )

    @classmethod
    def of_account(cls, account: Account) -> Self:
        """The clock as operators see it."""
        at, status = now_by(account.clock_at), account.clock_status or "real"
        return cls.of(account, clock_at=at, status=status)


@router.post(
    "/admin/accounts/{account_id}/clock",
    status_code=202,
    response_model=ClockAnswer,
    responses=responses(
        "MERCHANT_NOT_FOUND", "CLOCK_NEEDS_TEST_ACCOUNT", "CLOCK_BACKWARDS",
        "TEMPORAL_UNAVAILABLE", *KEYED,
    ),
)  # fmt: skip
async def advance_clock(
    account_id: str, body: ClockBody, call: AdminCall, once: OptionalKey
) -> Response:
    """Advance a test account's clock, once per key; everything due on the way happens, in order.

    If there was no response, repeat only `advance_to` without a key: `advance_days` add up.
    """
    account = await call.find_account(account_id)
    target = body.advance_to or timedelta(days=body.advance_days or 0)
    async with once.claim(call, account.id) as claim:
        await need_temporal(call, claim)
        async with call.database.tenant(account.id) as connection:
            await credits.lock(connection, account.id)
            account = await clocks.aim(connection, account.id, target, claim.resource_id)
        await _walk(call, account)
        return claim.answer(202, ClockAnswer.of_account(account))


@router.get("/admin/accounts/{account_id}/clock", responses=responses("MERCHANT_NOT_FOUND"))
async def read_clock(account_id: str, call: AdminCall) -> ClockAnswer:
    """The current time and status of the account's clock."""
    return ClockAnswer.of_account(await call.find_account(account_id))


async def _walk(call: Call, account: Account) -> None:
    """Start the walk if the clock is advancing; leave a failure to the sweeper."""
    if account.clock_status != "advancing":
        return
    with logged_if_away(f"clock of {account.id}"):
        await start.walk(call.temporal, account.id)
