"""Send spans by OTLP to the collector at BILLING_OTLP_ENDPOINT.

Without it the SDK is not imported. The SDK reads its own `OTEL_…` variables, such as the sampler's.
"""

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from billing.core.settings import VERSION, Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

NAME: Final = "durable-billing"
# An unavailable collector delays a process's exit no longer than this.
EXPORT_SECONDS: Final = 2.0


class Tracing:
    """The tracer of one process; `close` sends remaining spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    @property
    def tracer(self) -> "Tracer":
        """The tracer, which creates spans."""
        return self._provider.get_tracer(NAME)

    def headers(self) -> dict[str, str]:
        """Return the headers that continue the trace in another service: `traceparent`."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        found: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(found)
        return found

    async def close(self) -> None:
        """Send remaining spans, without blocking the event loop."""
        await asyncio.to_thread(self._provider.shutdown)


def add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current trace's id to a log line."""
    from opentelemetry.trace import format_trace_id, get_current_span

    found = get_current_span().get_span_context()
    if found.is_valid:
        event["trace_id"] = format_trace_id(found.trace_id)
    return event


def open_tracing(settings: Settings, process: str) -> Tracing | None:
    """Return the tracing of this process; None without a collector.

    Ends the process with one sentence if the extra is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SystemExit(
            "BILLING_OTLP_ENDPOINT is set: install durable-billing[otel], or unset it"
        ) from error
    named = {"service.name": f"{NAME}-{process}", "service.version": VERSION}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    address = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=address, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)
