"""The trial of credits: start it once, and read its state."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Self

from fastapi import Response
from pydantic import Field

from api.answers.problems import KEYED, responses
from api.answers.public_ids import encoded
from api.answers.schemas import Answer, Credits
from api.calls import AccountCall
from api.dependencies import BillingCall, MemberCall
from api.idempotency import Claim, OptionalKey
from api.routes.base import new_router
from api.workflow_calls import need_temporal, notify
from billing.core import clock, ids
from billing.core.money import ZERO
from billing.matters.kinds import TRIAL
from billing.matters.schemas import Matter
from billing.money.trials import service, store
from billing.money.trials.schemas import Trial

router = new_router("trials")
_DAY_SECONDS: Final = 86_400


class TrialAnswer(Answer):
    """The state of the trial [D2]: available, active, expired or converted."""

    trial_id: Annotated[str, encoded(ids.TRIAL)] | None = Field(None, validation_alias="id")
    status: str = Field(
        description="`available`: none was taken yet; `active`; `expired`; `converted`: a paid"
        " subscription took its place",
    )
    started_at: datetime | None = Field(None, description="When it began; null: not yet")
    expires_at: datetime | None = Field(
        None, description="When it and what is left of its credits end; null: it has not begun"
    )
    days_remaining: int = Field(0, description="Days that are left; a part of a day counts as one")
    credits: Credits = Field(ZERO, description="As `credits_granted`")
    credits_granted: Credits = Field(ZERO, validation_alias="credits")
    credits_remaining: Credits = ZERO

    @classmethod
    def of_trial(cls, trial: Trial, remaining: Decimal, now: datetime) -> Self:
        """Return the trial with its remaining credits; a part of a day counts as a day left."""
        left = (trial.expires_at - now).total_seconds() if trial.status == "active" else 0
        days = max(0, -int(-left // _DAY_SECONDS))
        return cls.of(trial, days_remaining=days, credits_remaining=remaining)


@router.post(
    "/billing/trials",
    response_model=TrialAnswer,
    status_code=201,
    responses=responses("TRIAL_ALREADY_USED", "PAYMENT_OVERDUE", "TEMPORAL_UNAVAILABLE", *KEYED),
)
async def start_trial(call: BillingCall, once: OptionalKey) -> Response:
    """Start the account's one trial; its credits are granted at once [D1, D13]."""
    async with once.claim(call) as claim:
        await need_temporal(call, claim)
        matter = await _begin(call, claim)
        await notify(call, matter)
        return claim.answer(201, await _read(call))


@router.get("/billing/trials", responses=responses())
async def read_trial(call: MemberCall) -> TrialAnswer:
    """The state of the account's trial; `available` before it starts.

    `expired` without `trial_id`: another account of the same platform identity used the trial.
    """
    return await _read(call)


async def _begin(call: AccountCall, claim: Claim) -> Matter:
    async with call.transaction() as connection:
        begun = await claim.begun(connection, call.account.id, TRIAL.workflow_id(call.account.id))
        if begun is not None:
            # The matter is the account's: another request may have begun it.
            taken = await store.find(connection, call.account.id)
            if taken is not None and taken.id == claim.resource_id:
                return begun
        return await service.start(
            connection, call.account.id, trial_id=claim.resource_id, settings=call.settings
        )


async def _read(call: AccountCall) -> TrialAnswer:
    async with call.transaction() as connection:
        trial = await store.find(connection, call.account.id)
        if trial is not None:
            at = await clock.now(connection, call.account.id)
            remaining = await store.credits_left(connection, call.account.id, at)
            return TrialAnswer.of_trial(trial, remaining, at)
        account = await call.read_account(connection)
    async with call.database.operator() as connection:  # the trial is another account's row
        is_over = await service.is_used_elsewhere(connection, account)
    return TrialAnswer(status="expired" if is_over else "available")
