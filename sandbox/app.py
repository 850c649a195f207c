"""The sandbox as a program: `uvicorn sandbox.app:app`, configured by the environment.

It replaces Stripe on this machine: same calls, same shapes, same test cards, no money.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox import control_plane, jobs, pages, paypal_routes, problems, vat_register
from sandbox.bells import Bells
from sandbox.calls import Operation
from sandbox.envelope import Check, Envelope
from sandbox.operations import OPERATIONS
from sandbox.settings import Settings, admits, from_environment, is_ours
from sandbox.shapes import new_id
from sandbox.store import Store
from sandbox.webhooks import Deliverer
from sandbox.wire import Wire

logger = logging.getLogger(__name__)

BREATH_SECONDS = 0.5


class LoopbackOnly:
    """Refuses clients outside this machine and requests under foreign host names,
    before anything is read.
    """

    def __init__(self, inner: ASGIApp, settings: Settings) -> None:
        self._inner = inner
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = (scope.get("client") or ("", 0))[0]
            named = Headers(scope=scope).getlist("host")
            ours = len(named) == 1 and is_ours(self._settings, named[0])
            if not ours or not admits(self._settings.networks, host):
                body = problems.ApiError(403, "The sandbox serves this machine only.").body
                await JSONResponse(body, 403)(scope, receive, send)
                return
        await self._inner(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """Build the program for one database; background tasks run while it is served."""
    store = Store(settings.database)
    bells = Bells()
    envelope = Envelope(store, settings, bells, _check(settings, store))
    deliverer = Deliverer(store, settings, bells) if settings.webhook_url else None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        runs = [lambda: jobs.run_forever(store, settings, bells)]
        if deliverer:
            runs.append(deliverer.run_forever)
        tasks = [asyncio.create_task(_unending(run)) for run in runs]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        store.close()

    app = FastAPI(
        title="Stripe sandbox", lifespan=lifespan, openapi_url=None, redirect_slashes=False
    )
    wire = Wire(envelope)
    for operation in OPERATIONS:
        app.add_route(operation.path, _endpoint(wire, operation), methods=[operation.method])
    app.include_router(control_plane.routes(envelope, bells))
    app.include_router(pages.routes(envelope))
    app.include_router(vat_register.routes())
    app.include_router(paypal_routes.routes(settings))
    app.add_exception_handler(404, _unknown)
    app.add_exception_handler(405, _unknown)
    app.add_middleware(LoopbackOnly, settings=settings)
    return app


async def _unending(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a background task forever; restart it if it ends or fails."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("a background task of the sandbox broke off; it starts again")
        await asyncio.sleep(BREATH_SECONDS)


def _endpoint(wire: Wire, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await wire.serve(request, operation)

    return serve


def _check(settings: Settings, store: Store) -> Check | None:
    """Import the checker only when asked for: it loads the whole SDK."""
    if not settings.conformance:
        return None
    from sandbox.conformance import Recorder

    return Recorder(store, settings.spec).check


async def _unknown(request: Request, error: Exception) -> Response:
    path = request.url.path
    if path.startswith("/_sandbox/") and isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code)
    refused = problems.ApiError(
        404,
        f"Unrecognized request URL ({request.method}: {path}). The sandbox does not offer it.",
    )
    return JSONResponse(refused.body, 404, {"Request-Id": new_id("req")})


def __getattr__(name: str) -> FastAPI:
    """Build `sandbox.app:app` on first access, so that an import opens no database."""
    if name == "app":
        return create_app(from_environment())
    raise AttributeError(name)
