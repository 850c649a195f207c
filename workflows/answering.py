"""The wait of an update's caller, who gives up long before a failing step's round is over."""

import contextlib
from collections.abc import Callable

from temporalio import workflow

from workflows.policies import ANSWER_WITHIN


async def answer_in_time(is_over: Callable[[], bool], is_delayed: Callable[[], bool]) -> None:
    """Wait until `is_over`; while a step fails no longer than callers do, because Temporal refuses
    all further updates of a run that has too many in flight.

    A caller that still waits asks again. The timer is set only where a step is delayed, so that
    others cost no event. Runs of earlier releases wait on.
    """
    await workflow.wait_condition(lambda: is_over() or is_delayed())
    if is_over():
        return
    timeout = ANSWER_WITHIN if workflow.patched("a-caller-is-answered-in-time") else None
    with contextlib.suppress(TimeoutError):
        await workflow.wait_condition(is_over, timeout=timeout)
