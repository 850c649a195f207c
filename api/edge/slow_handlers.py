"""Answers 503 to a request whose handler says nothing for half a minute.

A Postgres that hangs while its host still answers takes statements and answers none; its own limits
on them hang with it.
"""

import asyncio
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import problems

ANSWER_SECONDS: Final = 30.0
"""Longer than a handler waits for a workflow, for Stripe and for its statements."""

_logger = logging.getLogger("api.slow_handlers")


class SlowHandlerMiddleware:
    """The handler is not canceled: what it began ends as it does for a client that has left."""

    def __init__(self, app: ASGIApp, seconds: float = ANSWER_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        timer = asyncio.get_running_loop().call_later(self._seconds, answer.give_up)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            timer.cancel()


class _Answer:
    """The answer of the handler, or the refusal if that comes first."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False
        self._refusal: asyncio.Future[None] | None = None

    async def send(self, message: Message) -> None:
        """Pass a part of the handler's answer on, unless the request was refused."""
        if self._refusal is None:
            self._started = True
            await self._send(message)

    def give_up(self) -> None:
        """Refuse the request, unless its answer has begun."""
        if self._started:
            return
        _logger.warning("no answer in time from %s", self._scope.get("route"))
        refusal = problems.from_code("UNAVAILABLE")
        self._refusal = asyncio.ensure_future(refusal(self._scope, self._receive, self._send))
