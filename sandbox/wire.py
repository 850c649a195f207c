"""HTTP in and out: reads a request, lets the fault plan spoil it, answers as Stripe does.

The only asynchronous part of a call; nothing here touches money.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from sandbox import faults, form, idempotency, problems
from sandbox.calls import Operation
from sandbox.envelope import Answer, Envelope, Incoming, authorize
from sandbox.faults import Fault
from sandbox.problems import ApiError
from sandbox.settings import API_VERSION
from sandbox.store import dump

MAX_BODY = 1_048_576


class Wire:
    """Turns requests into calls of the envelope."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._running: set[str] = set()
        """Idempotency keys whose first request has not been answered."""
        self._held: set[str] = set()
        """Objects that a request is working on: they can be read, not changed."""

    async def serve(self, request: Request, operation: Operation) -> Response:
        """Answer one request of an operation."""
        incoming = Incoming(operation, request.url.path, dict(request.path_params), {})
        try:
            await self._read(request, incoming)
        except ApiError as refused:
            return respond(incoming, self._envelope.refuse(incoming, refused))
        store = self._envelope.store
        fault = faults.match(
            store, operation.method, incoming.path, lambda: self._envelope.subjects(incoming)
        )
        if fault is None:
            return respond(incoming, self._guarded(incoming))
        return await self._spoil(request, incoming, fault)

    async def _read(self, request: Request, incoming: Incoming) -> None:
        operation, headers = incoming.operation, request.headers
        incoming.publishable = authorize(
            headers.get("authorization"), headers.get("stripe-version"), operation
        )
        incoming.actor = "client" if incoming.publishable else "api"
        text = request.url.query
        if operation.method == "POST":
            body = await request.body()
            if len(body) > MAX_BODY:
                raise problems.invalid(f"A request has at most {MAX_BODY} bytes.")
            text = body.decode("utf-8", "replace")
            incoming.key = headers.get("idempotency-key")
            if incoming.key:
                idempotency.check(incoming.key)
        incoming.raw = form.decode(text)

    def _guarded(self, incoming: Incoming) -> Answer:
        if incoming.key in self._running:
            return self._envelope.refuse(incoming, problems.key_in_use(incoming.key or ""))
        if incoming.operation.method != "GET" and self._held.intersection(incoming.names.values()):
            return self._envelope.refuse(incoming, problems.lock_timeout())
        return self._envelope.execute(incoming)

    async def _spoil(self, request: Request, incoming: Incoming, fault: Fault) -> Response:
        envelope, kind = self._envelope, fault.kind
        match kind:
            case "timeout_before" | "reset":
                with envelope.store.transaction():
                    envelope.note(incoming, None, kind)
                return await _drop(request, fault.seconds if kind == "timeout_before" else 0)
            case "timeout_after" | "reset_after":
                self._after(incoming, kind)
                return await _drop(request, fault.seconds if kind == "timeout_after" else 0)
            case "error_429":
                answer = envelope.refuse(incoming, problems.rate_limited(), kind)
                return respond(incoming, answer, {"Retry-After": "1"})
            case "error_403" | "error_404_missing" | "conflict_409":
                answer = envelope.refuse(incoming, _refusal(incoming, kind), kind)
                return respond(incoming, answer)
            case "error_500_unstored" | "error_500_stored":
                keep = kind == "error_500_stored"
                answer = envelope.refuse(incoming, problems.server_error(), kind, keep=keep)
                return respond(incoming, answer)
            case "error_400_stored":
                answer = envelope.refuse(incoming, problems.account_refused(), kind, keep=True)
                return respond(incoming, answer)
            case "error_500_after":
                return respond(incoming, self._after(incoming, kind, problems.server_error()))
            case "malformed":
                answer = self._after(incoming, kind)
                return respond(incoming, answer, cut=True)
            case "hang":
                return respond(incoming, await self._hang(incoming, fault.seconds))
            case _:
                return respond(incoming, await self._slowly(incoming, fault.seconds))

    def _after(self, incoming: Incoming, kind: str, forced: ApiError | None = None) -> Answer:
        """Run a request; record in the journal that its answer did not arrive intact."""
        if incoming.key in self._running:
            return self._guarded(incoming)
        answer = self._envelope.execute(incoming, forced)
        with self._envelope.store.transaction():
            self._envelope.note(incoming, None, kind)
        return answer

    async def _slowly(self, incoming: Incoming, seconds: float) -> Answer:
        """Wait with the key in use, then run."""
        if incoming.key in self._running:
            return self._guarded(incoming)
        key = incoming.key
        if key:
            self._running.add(key)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._running.discard(key or "")
        return self._envelope.execute(incoming)

    async def _hang(self, incoming: Incoming, seconds: float) -> Answer:
        """Work on an object for this long, even if nobody waits for the answer any more."""
        named = set(incoming.names.values())
        if self._held & named:
            return self._guarded(incoming)
        self._held |= named
        try:
            return await self._slowly(incoming, seconds)
        finally:
            self._held -= named


def respond(
    incoming: Incoming, answer: Answer, headers: dict[str, str] | None = None, *, cut: bool = False
) -> Response:
    """Return a JSON body with Stripe's headers; `cut` truncates the JSON in the middle."""
    body = dump(answer.body).encode()
    told = {
        "Request-Id": incoming.request,
        "Stripe-Version": API_VERSION,
        **(headers or {}),
    }
    if incoming.key:
        told["Idempotency-Key"] = incoming.key
    if answer.replayed:
        told["Idempotent-Replayed"] = "true"
    if cut:
        body = body[: len(body) // 2]
    return Response(body, answer.status, told, "application/json")


def _refusal(incoming: Incoming, kind: str) -> ApiError:
    """Return the answer of a fault that refuses the request for the key that it names."""
    match kind:
        case "error_403":
            return problems.not_permitted()
        case "error_404_missing":
            return problems.no_such("object", next(iter(incoming.names.values()), ""))
        case _:
            return problems.key_in_use(incoming.key or "none")


async def _drop(request: Request, seconds: float) -> Response:
    """Hold the connection, then cut it without a byte of an answer."""
    if seconds:
        await _until_gone(request, seconds)
    # uvicorn's receive is a method of the object that holds the socket.
    cycle = getattr(request.receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0)
    return Response(status_code=502)


async def _until_gone(request: Request, seconds: float) -> None:
    """Wait until the client hangs up, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                continue
    except TimeoutError:
        return
