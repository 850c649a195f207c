"""A span for each request, in the trace that the caller names in `traceparent`."""

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing.core import context
from billing.core.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context


class TracingMiddleware:
    """Wraps each request in a span, which contains its calls to workflows."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app, self._tracer = app, tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.start_as_current_span(
            scope["method"], context=_trace_of(scope), kind=SpanKind.SERVER
        ) as span:

            async def reply(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self._app(scope, receive, reply)
            finally:
                # Templates only: a path may contain a token that lets its reader pay.
                route = getattr(scope.get("route"), "path", "unmatched")
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("correlation_id", context.correlation_id.get() or "")


def _trace_of(scope: Scope) -> "Context":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    sent = {
        name.decode(): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
    return TraceContextTextMapPropagator().extract(sent)
