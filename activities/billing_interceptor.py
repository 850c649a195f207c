"""The interceptor of every activity: it sets the actor, account and correlation id, logs what was
done, and translates errors for Temporal.

While billing is parked no step or command runs; reads go on.
"""

import logging
from time import perf_counter
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities import tries
from billing.core import context
from billing.core.database_errors import origin_of
from billing.core.database_words import message_of
from billing.core.errors import BillingError
from billing.platform.parking.service import Barrier
from workflows.contracts import CommandRequest, HaltRequest, MatterRef, StepRequest
from workflows.correlation import carried

_logger: Final = logging.getLogger("activities")


class BillingInterceptor(Interceptor):
    """The worker's interceptor for activities."""

    def __init__(self, barrier: Barrier) -> None:
        self._barrier = barrier

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the inbound chain."""
        return _Inbound(next, self._barrier)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, barrier: Barrier) -> None:
        super().__init__(next)
        self._barrier = barrier

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        argument = input.args[0] if input.args else None
        ref, started = _matter(argument), perf_counter()
        context.actor.set(f"workflow:{activity.info().workflow_id}")
        born_under = ref.correlation_id if ref else None
        context.correlation_id.set(carried(input.headers) or born_under)
        context.account.set(ref.account_id if ref else None)
        tries.begin(argument.tried if isinstance(argument, StepRequest) else 0)
        try:
            if isinstance(argument, StepRequest | CommandRequest):
                await self._barrier.refuse()
            answer = await super().execute_activity(input)
        except BillingError as error:
            raise ApplicationError(
                error.detail, type=error.code, non_retryable=not error.retryable
            ) from error
        except DBAPIError as error:
            # A history stores the text of an error and its cause, which must not contain rows.
            _logger.warning("the database refused a step", exc_info=error)
            kind = type(origin_of(error)).__name__
            raise ApplicationError(message_of(error), type=kind) from None
        _note(perf_counter() - started, logging.INFO if ref else logging.DEBUG)
        return answer


def _note(seconds: float, level: int) -> None:
    """Log an activity that is done; Temporal's SDK logs one that failed."""
    info = activity.info()
    extra = {"milliseconds": round(seconds * 1000), "attempt": info.attempt}
    _logger.log(level, "%s: done", info.activity_type, extra=extra)


def _matter(argument: Any) -> MatterRef | None:
    if isinstance(argument, StepRequest | CommandRequest | HaltRequest):
        argument = argument.ref
    return argument if isinstance(argument, MatterRef) else None
