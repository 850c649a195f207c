"""One correlation id per request: the caller's own or a new one, returned in the answer.

Logs, audit rows, matters, published events and the headers of workflows and activities carry it.
"""

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing.core import context, ids

HEADER: Final = b"x-correlation-id"
_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class CorrelationMiddleware:
    """Sets `billing.core.context.correlation_id` around each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = _sent(scope)
        mark = context.correlation_id.set(own.decode())
        actor, account = context.actor.set("anonymous"), context.account.set(None)

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, own)]
            await send(message)

        try:
            await self._app(scope, receive, reply)
        finally:
            context.account.reset(account)
            context.actor.reset(actor)
            context.correlation_id.reset(mark)


def _sent(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER and _WELL_FORMED.fullmatch(value):
            return bytes(value)
    return ids.new_hex().encode()
