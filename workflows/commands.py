"""Operators' commands that wait for their turn between steps, and the keys that make a repetition
harmless.
"""

import asyncio
import contextlib
from typing import NamedTuple
from uuid import uuid5

from temporalio import workflow

from workflows.contracts import Command, MatterRef
from workflows.policies import ANSWER_WITHIN


class Queued(NamedTuple):
    """A command that waits for its turn; `outcome` tells that it was carried out, or refused."""

    command: Command
    key: str
    outcome: asyncio.Future[None]


class Commands:
    """The commands that were given to one run, in turn. True while one waits."""

    def __init__(self) -> None:
        self._queue: list[Queued] = []

    def __bool__(self) -> bool:
        return bool(self._queue)

    def take(self) -> Queued:
        """Return the next one, which waits no longer."""
        return self._queue.pop(0)

    async def is_carried_out(self, ref: MatterRef, command: Command) -> bool:
        """Queue a command, and wait for its turn no longer than its sender does; False: it stays in
        the queue. Who still waits gets its refusal, else it is logged. Runs of earlier releases
        wait on.
        """
        outcome: asyncio.Future[None] = asyncio.Future()
        self._queue.append(Queued(command, key_of(ref, command), outcome))
        if workflow.patched("a-command-is-answered-in-time"):
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(outcome.done, timeout=ANSWER_WITHIN)
            if not outcome.done():
                outcome.add_done_callback(_log_refusal)
                return False
        await outcome
        return True


def key_of(ref: MatterRef, command: Command) -> str:
    """Return the same key when an update is resent, or replayed after a reset. An update id may
    repeat across verbs, or after the matter has ended and started again: the key has both.
    """
    update = workflow.current_update_info()
    if update is None:
        return str(workflow.uuid4())
    order = (workflow.info().first_execution_run_id, command.name, update.id)
    return str(uuid5(ref.subject_id, "/".join(order)))


def _log_refusal(outcome: asyncio.Future[None]) -> None:
    refused = None if outcome.cancelled() else outcome.exception()
    if refused is not None:
        workflow.logger.warning("a queued command was refused: %s", refused)
