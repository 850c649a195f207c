"""What all step activities share: lock, compare with the head, do once, mirror the head."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from billing.core import matters
from billing.core.agenda import State, Step, head
from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.errors import Conflict, Invalid
from billing.core.failpoints import failpoint
from billing.core.settings import Settings
from billing.events import service as events
from billing.events.rules import is_event
from gateways.provider import PaymentProvider
from workflows.contracts import CommandRequest, MatterRef, StepRequest

S = TypeVar("S", bound=State)
# The server's clock started the step; a worker's clock a little behind must not refuse it.
CLOCK_SKEW: Final = timedelta(seconds=2)


@dataclass(frozen=True)
class World:
    """What activities are built from."""

    database: Database
    provider: PaymentProvider
    settings: Settings


class MatterActivities(ABC, Generic[S]):
    """Base of each kind's activities; subclasses say how to read the rows and what is planned."""

    def __init__(self, world: World) -> None:
        self.database = world.database
        self.provider = world.provider
        self.settings = world.settings

    @abstractmethod
    async def state(self, connection: AsyncConnection, ref: MatterRef, *, lock: bool) -> S:
        """The rows' word, optionally under the matter's row lock."""

    @abstractmethod
    def agenda(self, state: S) -> list[Step]:
        """The pure plan of this kind."""

    async def look(self, ref: MatterRef) -> S:
        """Read, and mirror the head in the register."""
        async with self.database.tenant(ref.account_id) as connection:
            state = await self.state(connection, ref, lock=True)
            await self.save_head(connection, ref, state)
            return state

    async def obey(self, request: CommandRequest) -> S:
        """Commands this kind does not know are refused for good."""
        raise Invalid("UNKNOWN_COMMAND", f"no command {request.command.name!r} for this matter")

    async def still_due(self, request: StepRequest) -> tuple[S, bool]:
        """(state, whether the step is the due head), before a provider is called."""
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=False)
            return state, self.is_due(state, request.step)

    async def once(
        self,
        request: StepRequest,
        verb: Callable[[AsyncConnection, S, datetime], Awaitable[str | None]],
        begun: Callable[[AsyncConnection], Awaitable[bool]] | None = None,
    ) -> S:
        """Do `verb` in one transaction with its step key, if the step is still the due head.

        So too when something else has come first meanwhile, and `begun` says that what the step
        did at the provider still waits to be recorded. The verb's answer is the step's result; None
        leaves the key free, for another try.
        """
        async with self.database.tenant(request.ref.account_id) as connection:
            state = await self.state(connection, request.ref, lock=True)
            result = None
            if self.is_due(state, request.step) or (begun and await begun(connection)):
                at = now_of(state)
                result = await verb(connection, state, at)
                state = await self.state(connection, request.ref, lock=False)
            if result is None:
                await self.save_head(connection, request.ref, state)
            else:
                await self._finish(connection, request, state, result)
        await failpoint("step.done")
        return state

    def is_due(self, state: S, step: Step) -> bool:
        """Whether `step` heads the agenda now, provider events aside.

        An event that comes in while a step runs (often the echo of that step's own call) waits
        for its turn; else the step's result would be lost.
        """
        plan = self.agenda(state)
        now = now_of(state)
        first = head((one for one in plan if one.key == step.key or not is_event(one)), now)
        return first is not None and first.key == step.key and first.due <= now + CLOCK_SKEW

    async def save_head(self, connection: AsyncConnection, ref: MatterRef, state: S) -> None:
        """Mirror the head of the agenda in the register of matters."""
        now = now_of(state)
        first = head(self.agenda(state), now)
        await matters.save_head(connection, ref.workflow_id, first, state.words, now)

    async def _finish(
        self, connection: AsyncConnection, request: StepRequest, state: S, result: str
    ) -> None:
        """The step's key and the new head, in one statement; a taken key undoes everything."""
        if state.clock_at is None and not is_event(request.step):
            _measure_lateness(request)
        await events.flush(connection)  # it takes the account's lock, before that of the register
        first = head(self.agenda(state), now_of(state))
        fresh = await matters.finish_step(
            connection,
            request.ref.workflow_id,
            request.ref.account_id,
            request.step,
            result=result,
            head=first,
            words=state.words,
            at=now_of(state),
        )
        if not fresh:
            raise Conflict("STEP_DONE", f"{request.step.key} was done before, yet is planned")


def _measure_lateness(request: StepRequest) -> None:
    """Timer accuracy, as a metric of the worker: by kind and step, in real time alone."""
    meter = activity.metric_meter().with_additional_attributes({"step": request.step.name})
    meter.create_histogram_timedelta(
        "billing_step_lateness", "How long after its time a step was done"
    ).record(max(timedelta(), real_now() - request.step.due))


def now_of(state: State) -> datetime:
    """The account's now: its frozen clock, else real time."""
    return state.clock_at or real_now()
