"""Waiting for something to become true, and answers that a story did not expect.

Every wait ends as soon as it may and has a deadline, with one line that says what never came.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx2

PATIENCE_SECONDS: Final = 120.0
Json = dict[str, Any]
T = TypeVar("T")


async def wait_for(
    look: Callable[[], Awaitable[T]],
    what: str,
    wanted: Callable[[T], object] = bool,
    *,
    patience: float = PATIENCE_SECONDS,
    despite: tuple[type[Exception], ...] = (),
) -> T:
    """Wait until `look` answers as `wanted`; else "`what`: not within … s" with the last answer.

    `despite` names errors that only mean "not yet": a part of the stack is down.
    """
    deadline, pause = time.monotonic() + patience, 0.02
    while True:
        last: object
        try:
            seen = await look()
            if wanted(seen):
                return seen
            last = seen
        except despite as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience:.0f} s; last seen {last!r}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)


class Unexpected(AssertionError):
    """An answer with another status than the story needs."""

    def __init__(self, answer: httpx2.Response) -> None:
        request = answer.request
        super().__init__(f"{request.method} {request.url.path}: {answer.status_code} {answer.text}")
        self.answer = answer


def body_of(answer: httpx2.Response, status: int | None) -> Json:
    """The JSON of an answer with this status (None: any 2xx); else Unexpected."""
    good = answer.is_success if status is None else answer.status_code == status
    if not good:
        raise Unexpected(answer)
    body: Json = answer.json()
    return body
