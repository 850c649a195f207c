"""The base of step activities: lock, compare with the head, do once, save the new head."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Conflict, Invalid
from billing.core.failpoints import failpoint
from billing.core.settings import Settings
from billing.matters import store as matters
from billing.matters.agenda import State, Step, due_head, head
from billing.platform.outbox import service as events
from gateways.provider import OrderProvider, PaymentProvider, TaxProvider, VatRegister
from workflows.contracts import CommandRequest, MatterRef, StepRequest

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Dependencies:
    """The connections and settings that every activity class is built with."""

    database: Database
    provider: PaymentProvider
    settings: Settings
    register: VatRegister | None = None
    orders: OrderProvider | None = None
    taxes: TaxProvider | None = None


class MatterActivities(ABC, Generic[S]):
    """Base of each kind's activities; subclasses say how to read the rows and what is planned."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.database = dependencies.database
        self.provider = dependencies.provider
        self.settings = dependencies.settings

    @abstractmethod
    async def state(self, connection: AsyncConnection, ref: MatterRef, *, lock: bool) -> S:
        """The state read from the rows, optionally under the matter's row lock."""

    @abstractmethod
    def agenda(self, state: S) -> list[Step]:
        """The pure plan of this kind."""

    async def look(self, ref: MatterRef) -> S:
        """Read, and mirror the head in the register."""
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            await self.save_head(connection, ref, state)
            return state

    async def run_command(self, request: CommandRequest) -> S:
        """Carry out an operator's command; a kind without commands refuses each one."""
        raise Invalid("UNKNOWN_COMMAND", f"no command {request.command.name!r} for this matter")

    async def still_due(self, request: StepRequest) -> Step | None:
        """The step with its facts, as the agenda has it; None where it is not the due head."""
        async with self.database.tenant(request.ref.account_id) as connection:
            return self.due(await self.state(connection, request.ref, lock=False), request.step)

    async def once(
        self,
        request: StepRequest,
        verb: Callable[[AsyncConnection, Step, datetime], Awaitable[str | None]],
        begun: Callable[[AsyncConnection], Awaitable[bool]] | None = None,
    ) -> S:
        """Do `verb` in one transaction with its step key, if the step is still the due head.

        So too when something else has come first meanwhile, and `begun` says that what the step
        did at the provider still waits to be recorded. The verb's answer is the step's result; None
        leaves the key free, for another try.
        """
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=True)
            step, result = self.due(state, request.step), None
            if step is None and begun and await begun(connection):
                step = request.step
            if step is not None:
                result = await verb(connection, step, now_of(state))
                state = await self.state(connection, request.ref, lock=False)
            if result is None:
                await self.save_head(connection, request.ref, state)
            else:
                await self._finish(connection, request, state, result)
        await failpoint("step.done")
        return state

    def due(self, state: S, step: Step) -> Step | None:
        """The agenda's own `step`, with its facts, if it is due and heads it."""
        return due_head(self.agenda(state), step, now_of(state))

    async def save_head(self, connection: AsyncConnection, ref: MatterRef, state: S) -> None:
        """Mirror the head of the agenda in the register of matters."""
        now = now_of(state)
        first = head(self.agenda(state), now)
        await matters.save_head(connection, ref, first, state.words, now)

    async def _finish(
        self, connection: AsyncConnection, request: StepRequest, state: S, result: str
    ) -> None:
        """The step's key and the new head, in one statement; a taken key undoes everything."""
        if state.clock_at is None and request.step.event is None:
            late = max(timedelta(), real_now() - request.step.due)
            measure_lateness(request.step.name, late)
        await events.flush(connection)  # it takes the account's lock, before that of the register
        first = head(self.agenda(state), now_of(state))
        fresh = await matters.finish_step(
            connection,
            request.ref,
            request.step,
            result=result,
            head=first,
            words=state.words,
            at=now_of(state),
        )
        if not fresh:
            raise Conflict("STEP_DONE", f"{request.step.key} was done before, yet is planned")


def measure_lateness(step: str, late: timedelta) -> None:
    """Timer accuracy, as a metric of the worker: by step, in real time alone."""
    meter = activity.metric_meter().with_additional_attributes({"step": step})
    meter.create_histogram_timedelta(
        "billing_step_lateness", "How long after its time a step was done"
    ).record(late)


def now_of(state: State) -> datetime:
    """The account's now: its frozen clock, else real time."""
    return state.clock_at or real_now()
