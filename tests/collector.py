"""A collector of traces: takes OTLP over HTTP and keeps the spans."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Its address, and the spans that arrived."""

    def __init__(self, address: str, spans: list[tuple[str, Span]]) -> None:
        self.address, self._spans = address, spans

    def of_trace(self, trace: str) -> dict[str, set[str]]:
        """The names of the trace's spans by the process that sent them."""
        found: dict[str, set[str]] = {}
        for process, span in self._spans:
            if span.trace_id.hex() == trace:
                found.setdefault(process, set()).add(span.name)
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    spans: list[tuple[str, Span]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/traces"
            for group in sent.resource_spans:
                named = {one.key: one.value.string_value for one in group.resource.attributes}
                for scope in group.scope_spans:
                    spans.extend((named["service.name"], span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
    finally:
        server.shutdown()
        server.server_close()
