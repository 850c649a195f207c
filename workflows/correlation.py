"""The correlation id of the last request, passed in headers from caller to workflow to activity.

Headers are not commands: older histories replay with and without this interceptor.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from temporalio import client, worker
from temporalio.api.common.v1 import Payload

from workflows.contracts import MatterRef

HEADER: Final = "correlation-id"
Headers = Mapping[str, Payload]


class CorrelationInterceptor(client.Interceptor, worker.Interceptor):
    """The interceptor of a client and its workers; `current` returns the id of a call."""

    def __init__(self, current: Callable[[], str | None]) -> None:
        self._current = current

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        """Wrap the calls to workflows."""
        return _Calls(next, self._current)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # noqa: ARG002
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Wrap the messages to a workflow."""
        return _Messages


class _Calls(client.OutboundInterceptor):
    def __init__(self, next: client.OutboundInterceptor, current: Callable[[], str | None]) -> None:
        super().__init__(next)
        self._current = current

    async def start_workflow(
        self, input: client.StartWorkflowInput
    ) -> client.WorkflowHandle[Any, Any]:
        current = self._current()
        if not _tells(input.args, current):
            input.headers = carrying(input.headers, current)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        input.headers = carrying(input.headers, self._current())
        await super().signal_workflow(input)

    async def start_workflow_update(
        self, input: client.StartWorkflowUpdateInput
    ) -> client.WorkflowUpdateHandle[Any]:
        input.headers = carrying(input.headers, self._current())
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: client.StartWorkflowUpdateWithStartInput
    ) -> client.WorkflowUpdateHandle[Any]:
        start, update = input.start_workflow_input, input.update_workflow_input
        current = self._current()
        if not _tells(start.args, current):
            start.headers = carrying(start.headers, current)
        if not _tells(start.args, current, born=True):
            update.headers = carrying(update.headers, current)
        return await super().start_update_with_start_workflow(input)


class _Messages(worker.WorkflowInboundInterceptor):
    """The interceptor that keeps the id of the last message that had one."""

    asked: str | None = None

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Commands(outbound, self))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        # A message that came with the start is handled first, and its id is the newer one.
        self.asked = self.asked or carried(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        self.asked = carried(input.headers) or self.asked
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        self.asked = carried(input.headers) or self.asked
        return await super().handle_update_handler(input)


class _Commands(worker.WorkflowOutboundInterceptor):
    def __init__(self, next: worker.WorkflowOutboundInterceptor, messages: _Messages) -> None:
        super().__init__(next)
        self._messages = messages

    def start_activity(self, input: worker.StartActivityInput) -> Any:
        input.headers = carrying(input.headers, self._messages.asked)
        return super().start_activity(input)

    def start_local_activity(self, input: worker.StartLocalActivityInput) -> Any:
        input.headers = carrying(input.headers, self._messages.asked)
        return super().start_local_activity(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> Any:
        input.headers = carrying(input.headers, self._messages.asked)
        return super().continue_as_new(input)


def _tells(arguments: Sequence[Any], current: str | None, *, born: bool = False) -> bool:
    """Return True if the matter's argument has the id, so that histories need not store it twice.

    With `born` only if this call creates the matter: a running one may have other ids by now.
    """
    return any(
        isinstance(one, MatterRef)
        and one.correlation_id == current
        and (one.head is not None or not born)
        for one in arguments
    )


def carrying(headers: Headers, correlation_id: str | None) -> Headers:
    """Return the headers, with the id if there is one."""
    if correlation_id is None:
        return headers
    encoded = json.dumps(correlation_id).encode()
    return {**headers, HEADER: Payload(metadata={"encoding": b"json/plain"}, data=encoded)}


def carried(headers: Headers) -> str | None:
    """Return the id in the headers, or None."""
    found = headers.get(HEADER)
    return None if found is None else str(json.loads(found.data))
