"""Around every activity: who acts, under which correlation id, and errors in Temporal's terms."""

from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from billing.core import context
from billing.core.errors import BillingError
from workflows.contracts import CommandRequest, MatterRef, StepRequest


class BillingInterceptor(Interceptor):
    """For the worker's interceptor list."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the inbound chain."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        context.actor.set(f"workflow:{activity.info().workflow_id}")
        context.correlation_id.set(_correlation(input.args[0] if input.args else None))
        try:
            return await super().execute_activity(input)
        except BillingError as error:
            raise ApplicationError(
                error.detail, type=error.code, non_retryable=not error.retryable
            ) from error


def _correlation(argument: Any) -> str | None:
    if isinstance(argument, StepRequest | CommandRequest):
        argument = argument.ref
    return argument.correlation_id if isinstance(argument, MatterRef) else None
