"""Background work that runs as long as a server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

_logger: Final = logging.getLogger("billing.background")


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the work during the block; its end cancels the work and waits for it."""
    task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log work that failed: nobody looks at its task before the server ends."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("%s has failed and goes on no more", task.get_name(), exc_info=error)
