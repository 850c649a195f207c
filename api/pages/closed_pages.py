"""Pages that describe the service: in production only operators may read them."""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import problems
from api.gates import OperatorGate
from api.identity.auth import SERVICE
from api.requests.fast_route import BODY
from api.routes.base import PREFIX
from billing.core.errors import BillingError

CLOSED: Final = ("/docs", "/guide", "/health/detailed", f"{PREFIX}/openapi.json")
_gate: Final = OperatorGate(SERVICE)


class ClosedPagesMiddleware:
    """Requires an operator's token for these pages, as operators' routes do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_closed(scope["path"]):
            try:
                await _gate(Request({**scope, "query_string": b"", BODY: b""}))
            except BillingError as refused:
                await problems.from_error(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_closed(path: str) -> bool:
    return any(path == closed or path.startswith(f"{closed}/") for closed in CLOSED)
