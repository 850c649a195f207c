"""The base of an account's activities: lock, compare with the agenda, act once, save the head.

The other kinds of matter decide purely and run through `activities/decisions.py`.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import notifying
from activities.dependencies import Dependencies
from activities.timing import measure_lateness, now_of
from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.core.failpoints import failpoint
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.agenda import CLOCK_SKEW, Step, head
from billing.matters.kinds import ACCOUNT
from billing.matters.schemas import Matter
from billing.money.account_agenda import rules, store
from billing.money.account_agenda.rules import AccountState
from billing.platform.accounts import store as accounts
from billing.platform.outbox import service as events
from workflows.contracts import MatterRef, StepRequest


class Did(NamedTuple):
    """A step's result, and the matters to start or wake after its commit."""

    result: str | None
    """None leaves the step's key free for another try."""
    woken: Sequence[Matter] = ()


class AccountBase:
    """Steps of an account, each in one transaction, at most once and only while planned."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.database = dependencies.database
        self.provider = dependencies.provider
        self.settings = dependencies.settings

    async def is_apart(self, connection: AsyncConnection, account_id: UUID) -> bool:
        """Return True for a test account while the service has a live key: Stripe is not called."""
        return self.settings.has_live_stripe and await accounts.is_test(connection, account_id)

    async def state(
        self, connection: AsyncConnection, ref: MatterRef, *, lock: bool
    ) -> AccountState:
        """Read the rows, optionally under the account's lock."""
        if lock:
            await credits.lock(connection, ref.account_id)
        notice = timedelta(days=self.settings.expiry_notice_days)
        return await store.state(connection, ref.account_id, notice)

    async def look(self, ref: MatterRef) -> AccountState:
        """Read the rows, and save the agenda's head in the register."""
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            return await self.save_head(connection, ref, state)

    async def still_due(self, request: StepRequest) -> Step | None:
        """Return the planned step with its facts; None if it is not due or not planned."""
        async with self.database.tenant(request.ref.account_id) as connection:
            return self.due(await self.state(connection, request.ref, lock=False), request.step)

    async def once(
        self,
        request: StepRequest,
        verb: Callable[[AsyncConnection, Step, datetime], Awaitable[Did | str | None]],
    ) -> AccountState:
        """Do `verb` in one transaction with its step key, if the step is still due; then notify
        the matters that it woke.

        A worker whose clock is slightly behind does the step at the time it is due.
        """
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=True)
            step, did = self.due(state, request.step), Did(None)
            if step is not None:
                done = await verb(connection, step, max(now_of(state), step.due))
                did = done if isinstance(done, Did) else Did(done)
                state = await self.state(connection, request.ref, lock=False)
            if did.result is None:
                state = await self.save_head(connection, request.ref, state)
            else:
                state = await self._finish(connection, request, state, did.result)
        if did.woken:
            await failpoint(f"{request.step.name}.before_notify")
            await notifying.nudge(activity.client(), did.woken)
        await failpoint(f"{request.step.name}.done")
        return state

    def due(self, state: AccountState, step: Step) -> Step | None:
        """Return the planned `step` with its facts, if it is due.

        The step need not be the first one: no step of an account waits for another.
        """
        now = now_of(state) + CLOCK_SKEW
        plan = (one for one in rules.agenda(state) if one.key == step.key and one.due <= now)
        return next(plan, None)

    async def save_head(
        self, connection: AsyncConnection, ref: MatterRef, state: AccountState
    ) -> AccountState:
        """Save the head of the agenda in the register of matters; return its verdict, too."""
        now = now_of(state)
        first = head(rules.agenda(state), now)
        await matters.save_head(connection, ref, first, state.words, now, halted=ref.halted)
        return _judged(state, first, now)

    async def _finish(
        self, connection: AsyncConnection, request: StepRequest, state: AccountState, result: str
    ) -> AccountState:
        """Save the step's key and the new head in one statement; a taken key undoes everything.

        Return the verdict of the register, too.
        """
        if request.step.event is None:
            measure_lateness(request.step.name, state, real_now() - request.step.due)
        await events.flush(connection)  # it locks the account, which must precede the register
        now = now_of(state)
        first = head(rules.agenda(state), now)
        finished = await matters.send_finish(
            connection,
            request.ref,
            request.step,
            result=result,
            head=first,
            words=state.words,
            at=now,
            halted=request.ref.halted,
        )
        if not await matters.is_first(finished):
            raise Conflict("STEP_DONE", f"{request.step.key} is done, but was planned again")
        return _judged(state, first, now)


def _judged(state: AccountState, first: Step | None, now: datetime) -> AccountState:
    due = first.due if first else None
    return state.model_copy(update={"rests": ACCOUNT.verdict(due, now)})
