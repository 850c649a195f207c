"""The interceptors of a client and its workers: correlation ids and, if enabled, traces.

Both use headers, which are not commands: histories replay with and without them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from workflows.correlation import CorrelationInterceptor

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from temporalio.contrib.opentelemetry import TracingInterceptor

Found = Union["TracingInterceptor", CorrelationInterceptor]


def interceptors(
    correlation_id: Callable[[], str | None], tracer: "Tracer | None" = None
) -> list[Found]:
    """Return the interceptors for `Client.connect`; `correlation_id` returns a call's id."""
    found: list[Found] = [CorrelationInterceptor(correlation_id)]
    if tracer is not None:
        from temporalio.contrib.opentelemetry import TracingInterceptor

        found.insert(0, TracingInterceptor(tracer))
    return found
