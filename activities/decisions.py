"""Activities of matters whose steps are decisions: decide, call the provider, decide again."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities import dunning_commands, notifying
from activities.dependencies import Dependencies
from activities.provider_calls import AnyCall, ProviderCalls
from activities.timing import measure_lateness
from billing.core import keys
from billing.core.errors import BillingError, Unavailable
from billing.core.failpoints import failpoint
from billing.matters import commands
from billing.matters.agenda import State, Step
from billing.matters.kinds import MatterKind
from billing.matters.schemas import LOOK
from billing.money.payments.calls import Call
from billing.platform.accounts import store as accounts
from billing.platform.decisions import service as decisions
from billing.platform.decisions.service import Done, Engine, Read
from workflows.contracts import CommandRequest, MatterRef, StepRequest

COLLECTING_STEPS: Final = ("charge", "open", "check", "settle", "retire", "end_approval")
"""The steps that `collect` decides, of every kind that leaves its invoices to it."""

S = TypeVar("S", bound=State)
_logger = logging.getLogger("activities.decisions")


class DecidingActivities(Generic[S]):
    """The activities of one kind of matter: every step runs the same code under its own name."""

    def __init__(
        self,
        dependencies: Dependencies,
        kind: MatterKind,
        engine: Engine[S, Any],
        steps: Sequence[str],
    ) -> None:
        self.kind, self.engine, self.steps = kind, engine, steps
        self.database = dependencies.database
        self.billing_enabled = dependencies.settings.billing_enabled
        self.has_live_stripe = dependencies.settings.has_live_stripe
        self.calls = ProviderCalls(dependencies)

    def activities(self) -> list[Callable[..., Awaitable[S]]]:
        """Return the activities: reading the rows, an operator's command, and each step."""
        named: dict[str, Callable[[Any], Awaitable[S]]]
        named = {LOOK: self._look, "perform": self._perform}
        named |= dict.fromkeys(self.steps, self._step)
        return [self._named(name, verb) for name, verb in named.items()]

    def _named(self, name: str, verb: Callable[[Any], Awaitable[S]]) -> Callable[..., Awaitable[S]]:
        async def run(request: Any) -> S:
            return await verb(request)

        taken = MatterRef if name == LOOK else CommandRequest if name == "perform" else StepRequest
        run.__annotations__ = {"request": taken}  # what the SDK decodes
        return activity.defn(name=f"{self.kind.name}.{name}")(run)

    async def _look(self, ref: MatterRef) -> S:
        async with self.database.tenant(ref.account_id) as connection:
            return await decisions.look(connection, self.engine, ref)

    async def _step(self, request: StepRequest) -> S:
        """Decide and call the provider in turn; each decision is committed before its call."""
        answer, is_successor = None, False
        while True:
            done = await self._asked(request) if answer is None else None
            done = done or await self._decided(request, answer)
            await notifying.start_new(activity.client(), done.born)
            await notifying.nudge(activity.client(), done.woken)
            if done.successor is not None:
                await self._done(request.step, done)
                request, is_successor = request.model_copy(update={"step": done.successor}), True
            if done.call is None:
                break
            if answer is None:
                await failpoint("charge.attempt_written")
            else:
                await failpoint("intent.stored")
            try:
                answer = await self._answer(done)
            except BillingError as error:
                if not is_successor:
                    raise
                return left_alone(request.step, done.state, error)
            await failpoint(f"{request.step.name}.before_result")
        if answer is not None:
            await failpoint(f"{request.step.name}.result_written")
        await self._done(request.step, done)
        return await self.after(request, done.state)

    async def _answer(self, done: Done[S]) -> Any:
        """Make the call. Its instant is the database's before it, as that of received events is:
        the answer says nothing of an event that came during the call.
        """
        answer = await self.calls.make(done.call)
        return replace(answer, asked_at=done.read_at or answer.asked_at)

    async def _asked(self, request: StepRequest) -> Done[S] | None:
        """Return the provider call with which the step begins; None: it is to be decided."""
        if request.step.name not in self.engine.asking:
            return None
        async with self.database.glancing(request.ref.account_id) as connection:
            return await decisions.ask(
                connection, self.engine, request.ref, request.step, self._may_charge
            )

    async def _decided(self, request: StepRequest, answer: Any) -> Done[S]:
        async with self.database.deciding(request.ref.account_id) as connection:
            done = await decisions.decide(
                connection,
                self.engine,
                request.ref,
                request.step,
                answer,
                may_call=self._may_charge,
            )
            await self._refuse_new_charge(connection, request.ref.account_id, done.call)
        return done

    async def _done(self, step: Step, done: Done[S]) -> None:
        if done.lateness is not None:
            measure_lateness(step.name, done.state, done.lateness)
        await failpoint(f"{step.name}.done")

    def _may_charge(self, facts: Any) -> bool:
        """Return True if a step may begin its follow-up charge; otherwise that step fails later."""
        return self.billing_enabled and not (self.has_live_stripe and facts.is_test)

    async def _refuse_new_charge(
        self, connection: AsyncConnection, account_id: UUID, call: AnyCall | None
    ) -> None:
        """Fail a step that would begin a new charge while billing is disabled, or for a test
        account while the service has a live key. The step waits and is retried.

        Charges already begun are completed. Errors: BILLING_DISABLED, TEST_ACCOUNT_ON_LIVE_KEY.
        """
        if not isinstance(call, Call) or not call.charges or call.again:
            return
        if not self.billing_enabled:
            raise Unavailable("BILLING_DISABLED")
        if self.has_live_stripe and await accounts.is_test(connection, account_id):
            raise Unavailable("TEST_ACCOUNT_ON_LIVE_KEY")

    async def after(self, _: StepRequest, state: S) -> S:
        """Return the state after a kind's follow-up in the same activity; by default none."""
        return state

    async def _perform(self, request: CommandRequest) -> S:
        """Carry out an operator's command from the Temporal UI, once by its key."""
        ref = request.ref
        key = keys.command(ref.subject, request.key)
        async with self.database.deciding(ref.account_id) as connection:
            _, facts = await self.engine.read(connection, Read(ref.subject_id, deciding=True))
            if await commands.result_of(connection, key) is None:
                result = await dunning_commands.carry_out(connection, request, facts.at)
                await commands.note(
                    connection, key=key, name=request.command.name,
                    workflow_id=ref.workflow_id, account_id=ref.account_id,
                    at=facts.at, result=result,
                )  # fmt: skip
            return await decisions.look(connection, self.engine, ref)


def left_alone(successor: Step, state: S, error: BillingError) -> S:
    """Return the state in which a step that follows another one in its activity has failed.

    The other is done: under its name the failure would mislead, so the successor is tried again
    under its own.
    """
    _logger.warning("%s is left to a try of its own: %s", successor.name, error)
    return state
