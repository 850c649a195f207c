"""The loop every matter runs: wait for the earliest step, do it, read the rows again.

Handlers only count requests; the loop acts. Postgres decides what is done, so a run that is
repeated, rebuilt or replayed changes nothing twice.
"""

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from billing.matters.agenda import State, Step, head
from billing.matters.kinds import KINDS
from billing.matters.schemas import LOOK
from workflows.answering import answer_in_time
from workflows.commands import Commands
from workflows.contracts import (
    Command,
    CommandRequest,
    MatterRef,
    MatterStatus,
    Settled,
    StepRequest,
    TemporalMessage,
    step_of,
)
from workflows.failed_steps import FailedSteps
from workflows.failures import end_if_canceled, is_final, reason_of, refusal_of
from workflows.halts import Halt
from workflows.named_steps import allowed
from workflows.policies import POLICIES, REFUSED_HERE, pause_after_refusals
from workflows.showing import Shown

S = TypeVar("S", bound=State)
SHORTEST_PAUSE = timedelta(milliseconds=1)  # so that a timer is set at all


class MatterWorkflow(Generic[S]):
    """State, handlers and loop of one matter. A subclass sets its kind: step `x` of a `purchase` is
    the activity `purchase.x`.
    """

    kind: ClassVar[str]
    state_type: ClassVar[type[State]]

    @workflow.init
    def __init__(self, ref: MatterRef) -> None:
        workflow_id = workflow.info().workflow_id
        self.ref = ref.model_copy(
            update={"head": None, "waits_for": None, "workflow_id": workflow_id}
        )
        self._tries_locally = not ref.workflow_id
        self._born_with, self._waits_for = ref.head, ref.waits_for
        self.state: S | None = None
        self._requests = 0  # requests to read the rows again, so far; each has its number
        self._read_for = 0  # the last request that the newest state includes
        self._quiet_for = 0  # the last request after which nothing was due
        self._rest_done_for = 0  # the last one after which nothing was due but failed steps
        self._next_step: Step | None = None
        self._failed = FailedSteps()  # where steps are independent
        self._tried: Step | None = None  # the step that was tried last
        self._is_tried_again = False  # as an activity, which takes half an hour at worst
        self._refused = 0  # refusals of the due head in a row: its worker's clock is behind
        self._commands = Commands()
        self._halt = Halt()
        self._draining = False
        self._shown = Shown()

    @staticmethod
    def agenda(state: Any) -> list[Step]:
        """Return the agenda, a pure function of the rows' state."""
        raise NotImplementedError

    # -- handlers ----------------------------------------------------------------------------

    # Anybody with the Temporal UI can send this signal, and a handler that rejects its arguments
    # fails every task of the workflow. For updates the SDK and their validators check arguments.
    @workflow.signal(description="Rows of this matter changed; the argument is an event that came")
    def changed(self, *event: Any) -> None:
        """Read the rows again, or check the given event at once."""
        self._requests += 1
        named = step_of(event, self.ref.subject)
        self._next_step = allowed(named, KINDS[self.kind]) or self._next_step

    @workflow.update(description="Look again, and answer when nothing is due")
    async def settled(self) -> Settled:
        """Return once nothing is due at the account's now, the matter halts, the run ends, or a
        step fails for longer than callers wait.
        """
        standing = await self._until_quiet()
        return Settled(settled=standing.settled, halted=standing.halted)

    async def _until_quiet(self) -> MatterStatus:
        self._requests += 1
        ticket = self._requests
        await answer_in_time(
            lambda: self._quiet_for >= ticket or bool(self._halt) or self._draining,
            self._is_delayed,
        )
        return self._standing(settled=self._quiet_for >= ticket and not self._halt)

    def _is_delayed(self) -> bool:
        return self._is_tried_again or bool(self._failed) or self._refused > 0

    @workflow.update(description="Try the halted step again now")
    async def resume(self) -> MatterStatus:
        """Retry a halted step now instead of within the hour."""
        self._halt.is_resumed = True
        if self._failed:
            self._failed.hurry()
            self._requests += 1
        return self._standing(settled=False)

    @resume.validator
    def _only_when_halted(self) -> None:
        if not self._halt:
            raise ValueError("this matter is not halted")

    @workflow.query(description="Where this customer stands")
    def standing(self) -> MatterStatus:
        """Return the newest known standing; change nothing."""
        return self._standing(settled=self._quiet_for >= self._requests)

    async def run_in_turn(self, command: Command) -> MatterStatus:
        """Queue an operator's command for the loop; return when its consequences are done, or when
        it waits for a failing step longer than its sender does.

        A refusal fails the command, never the matter.
        """
        if not await self._commands.is_carried_out(self.ref, command):
            return self._standing(settled=False).model_copy(update={"is_queued": True})
        return await self._until_quiet()

    # -- the loop ----------------------------------------------------------------------------

    async def run_until_done(self) -> None:
        """Run the matter to its end."""
        await asyncio.sleep(0)  # handlers of messages that came with the start go first
        self._tried = self._born_with or await self._waited()
        await (self._do(self._tried) if self._tried else self._look())
        while True:
            await self._begin_turn()
            step, again_at = self._head(), self._failed.next_try()
            if step != self._tried:
                self._refused = 0
            if self._commands:
                await self._run_command()
            elif self.state is None or self._requests > self._read_for:
                await self._catch_up()
            elif again_at and (step is None or step.due > self._now()):
                self._rest_done_for = self._read_for
                await self._wait_for_try(again_at, step)
            elif step is None or self._rests(step):
                self._quiet_for = self._read_for
                if workflow.all_handlers_finished():
                    break
                await workflow.wait_condition(
                    lambda: workflow.all_handlers_finished() or self._woken()
                )
            elif step.due > self._now():
                self._quiet_for = self._read_for
                await self._wait_until(step)
            else:
                if step == self._tried:
                    self._refused += 1
                    await self._wake_or(pause_after_refusals(self._refused))
                await self._do(step)
                self._tried = None if step.key in self._failed else step

    async def _begin_turn(self) -> None:
        if self._halt and not self._failed.has_ended_round():
            self.ref = await self._halt.end(self.ref, self.state)
            self._show()  # its step may be planned no longer, and then nothing else is read
        if workflow.info().is_continue_as_new_suggested():
            await self._renew_run()

    async def _catch_up(self) -> None:
        """Do the step that a signal named, unless it waits for its next try; else read the rows."""
        named, self._next_step = self._next_step, None
        await (self._do(named) if named and named.key not in self._failed else self._look())

    async def _waited(self) -> Step | None:
        """Wait for a rebuilt run's next step and return it; None: read the rows at once."""
        step = self._waits_for
        if step is None:
            return None
        workflow.set_current_details(step.words)
        step = step.model_copy(update={"words": ""})
        if step.due > workflow.now():
            await self._wake_or(step.due - workflow.now(), step.name)
        return None if self._woken() else step

    def _head(self) -> Step | None:
        """Return the first step, except failed ones that wait for their next try."""
        if self.state is None:
            return None
        return head(self._failed.ready(self.agenda(self.state)), self._now())

    def _steps_are_independent(self) -> bool:
        """Return True if no step waits for another one that fails."""
        independent = KINDS[self.kind].independent_steps
        return independent and workflow.patched("a-failed-step-waits-beside-the-others")

    def _rests(self, head: Step) -> bool:
        told = self.state.rests if self.state else None
        return KINDS[self.kind].rests(head.due, self._now()) if told is None else told

    def _now(self) -> datetime:
        return (self.state and self.state.clock_at) or workflow.now()

    async def _wait_until(self, step: Step) -> None:
        """Sleep on a timer; with a frozen test clock, wait until its walker wakes this run."""
        if self.state is not None and self.state.clock_at is not None:
            await workflow.wait_condition(self._woken)
        else:
            await self._wake_or(step.due - workflow.now(), step.words or step.name)
        if step == self._tried and workflow.patched("a-step-tried-early-is-not-refused"):
            self._tried = None

    async def _wait_for_try(self, again_at: datetime, step: Step | None) -> None:
        """Wait for a failed step's next try, for another step's due time, or to be woken."""
        if step is not None and self.state is not None and self.state.clock_at is None:
            again_at = min(again_at, step.due)
        pause = max(again_at - workflow.now(), SHORTEST_PAUSE)
        await self._wake_or(pause, "try a failed step again")
        if not self._woken() and (step is None or step.due > self._now()):
            self._failed.release_first()

    async def _wake_or(self, pause: timedelta, summary: str | None = None) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(self._woken, timeout=pause, timeout_summary=summary)

    def _woken(self) -> bool:
        return self._requests > self._read_for or bool(self._commands)

    async def _do(self, step: Step) -> None:
        tried, words = self._failed.tries(step.key), step.words or step.name
        request = StepRequest(ref=self.ref, step=step.model_copy(update={"words": ""}), tried=tried)
        if not tried:
            return await self._run_to_success(step.name, request, words)
        try:
            await self._run(step.name, request, words)
        except ActivityError as error:
            end_if_canceled(error)
            await self._put_off(request, words, error)

    async def _look(self) -> None:
        await self._run_to_success(LOOK, self.ref, "look at the rows")

    async def _run_to_success(self, activity: str, argument: TemporalMessage, words: str) -> None:
        """Run one activity until it succeeds or is put off, or an operator sends a command."""
        while True:
            try:
                return await self._run(activity, argument, words)
            except ActivityError as error:
                end_if_canceled(error)
                await self._wait_halted(f"{words}: {reason_of(error)}")
            if self._commands:
                return None
            await self._begin_turn()

    async def _run(self, activity: str, argument: TemporalMessage, words: str) -> None:
        """Run one activity and keep its result, the newest state of the rows, unless its step is
        put off.
        """
        seen = self._requests
        state = await self._try(f"{self.kind}.{activity}", argument, words)
        if state is None:
            return
        self.state, self._read_for, self._is_tried_again = state, seen, False
        if self._failed:
            done = argument.step.key if isinstance(argument, StepRequest) else None
            self._failed.keep({step.key for step in self.agenda(state)} - {done})
        self._show()

    async def _try(self, activity: str, argument: TemporalMessage, words: str) -> S | None:
        """Return the state that an activity returns; None if its step is put off.

        The first try is at once, the others are an activity's, which operators see; a step that was
        put off is tried once. Commands are not tried at once: the next task may run them in another
        sequence, or their sender may send them again.
        """
        step = argument.step if isinstance(argument, StepRequest) else None
        again = step is not None and step.key in self._failed
        if self._tries_locally and not again and not isinstance(argument, CommandRequest):
            try:
                return await self._first_try(activity, argument, words)
            except FailureError as error:
                end_if_canceled(error)
                if isinstance(argument, StepRequest) and self._steps_are_independent():
                    await self._put_off(argument, words, error)
                    return None
                workflow.set_current_details(f"**tried again** {words}: {reason_of(error)}")
                if not is_final(error):
                    await asyncio.sleep(POLICIES.first_retry.total_seconds())
            if step is not None:
                argument = argument.model_copy(update={"tried": 1})
        self._is_tried_again = not isinstance(argument, CommandRequest)
        state: S = await workflow.execute_activity(
            activity,
            argument,
            result_type=self.state_type,
            start_to_close_timeout=POLICIES.step_timeout,
            retry_policy=POLICIES.once if again else POLICIES.round,
            summary=words,
        )
        return state

    async def _first_try(self, activity: str, argument: TemporalMessage, words: str) -> S:
        """Try a step as a local activity, which costs one event instead of six. A lost task loses
        the record of its try, but the rows show that a step was done.

        One that this worker refused too often is any worker's: another clock may be right.
        """
        execute: Any = workflow.execute_local_activity
        if self._refused >= REFUSED_HERE:
            execute = workflow.execute_activity
        state: S = await execute(
            activity,
            argument,
            result_type=self.state_type,
            start_to_close_timeout=POLICIES.step_timeout,
            retry_policy=POLICIES.once,
            summary=words,
        )
        return state

    async def _put_off(self, failed: StepRequest, words: str, error: FailureError) -> None:
        """Leave a failed step for its next try; the matter halts at the end of a round of tries."""
        reason = f"{words}: {reason_of(error)}"
        if self._failed.add(failed.step.key, workflow.now(), is_final=is_final(error)):
            self.ref = await self._halt.begin(self.ref, reason, self._shown)
        elif not self._halt:
            workflow.set_current_details(f"**tried again** {reason}")

    async def _run_command(self) -> None:
        command, key, outcome = self._commands.take()
        request = CommandRequest(ref=self.ref, command=command, key=key)
        try:
            await self._run("perform", request, command.name)
        except ActivityError as error:
            outcome.set_exception(refusal_of(error))
            end_if_canceled(error)
        else:
            outcome.set_result(None)

    # -- visibility --------------------------------------------------------------------------

    def _show(self) -> None:
        """Show the newest state after every read, unless the matter is halted."""
        if self.state is None or self._halt:
            return
        if not self._failed:
            workflow.set_current_details(self.state.words)
        if self._shown.differs_from(self.state):
            step = self._head()
            self._shown.show(self.state, step.due if step else None)

    def _standing(self, *, settled: bool) -> MatterStatus:
        return MatterStatus(
            settled=settled,
            halted=self._halt.reason,
            status=self.state.status if self.state else "",
            words=self.state.words if self.state else "",
        )

    # -- trouble and renewal -----------------------------------------------------------------

    async def _wait_halted(self, reason: str) -> None:
        """Halt for an hour, or until `resume`, a command, or a change if steps are independent."""
        independent = self._steps_are_independent()
        before = self._requests  # what was asked for before it was tried for a round
        self.ref = await self._halt.begin(self.ref, reason, self._shown)

        def goes_on() -> bool:
            asked = independent and self._requests > before
            return self._halt.is_resumed or bool(self._commands) or asked

        with contextlib.suppress(TimeoutError):  # after the hour the step is retried
            await workflow.wait_condition(goes_on, timeout=POLICIES.halt_pause)
        self.ref = await self._halt.end(self.ref, self.state)

    async def _renew_run(self) -> None:
        """Continue as new, after running all commands and ending the waiting handlers."""
        self._draining = True
        if self._halt:
            self.ref = await self._halt.end(self.ref, self.state)
        while self._commands or not workflow.all_handlers_finished():
            if self._commands:
                await self._run_command()
            await workflow.wait_condition(
                lambda: workflow.all_handlers_finished() or bool(self._commands)
            )
        step = self._head()
        if step is not None and step.due > self._now():
            step = None  # the next run has to look before it waits
        workflow.continue_as_new(self.ref.model_copy(update={"head": step, "workflow_id": ""}))
