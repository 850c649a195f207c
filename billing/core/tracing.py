"""Spans to a collector by OTLP, where BILLING_OTLP_ENDPOINT names one.

Without it nothing of the SDK is imported. The SDK reads its own `OTEL_…` variables, such as that of
the sampler.
"""

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from billing.core.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

NAME: Final = "durable-billing"
# A collector that is away holds up the end of a process no longer than this.
EXPORT_SECONDS: Final = 2.0


class Tracing:
    """The tracer of one process; `close` sends what is left."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    @property
    def tracer(self) -> "Tracer":
        """Makes spans."""
        return self._provider.get_tracer(NAME)

    def headers(self) -> dict[str, str]:
        """Those by which another service goes on with the trace: `traceparent`."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        found: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(found)
        return found

    async def close(self) -> None:
        """Send what is left, without holding up the loop."""
        await asyncio.to_thread(self._provider.shutdown)


def add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of the log names the trace that it belongs to."""
    from opentelemetry.trace import format_trace_id, get_current_span

    found = get_current_span().get_span_context()
    if found.is_valid:
        event["trace_id"] = format_trace_id(found.trace_id)
    return event


def open_tracing(settings: Settings, process: str) -> Tracing | None:
    """The tracing of this process; None where no collector is named.

    Ends the process with one sentence where the extra is not installed.
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
    named = {"service.name": f"{NAME}-{process}", "service.version": settings.service_version}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    address = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=address, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)
