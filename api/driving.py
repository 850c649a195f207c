"""How a write reaches its workflow: Temporal must be there before the commit, and may fail after.

What is committed is never answered with a 5xx: the sweeper starts what a crash left behind.
"""

import logging
from datetime import timedelta
from typing import Final

from temporalio.service import RPCError

from api.dependencies import Call
from billing.core.agenda import Step
from billing.core.errors import Unavailable
from billing.core.failpoints import failpoint
from billing.core.matters import Matter
from workflows import start

WAIT: Final = timedelta(seconds=10)
_logger = logging.getLogger("api.driving")


async def need_temporal(call: Call) -> None:
    """503 TEMPORAL_UNAVAILABLE while nothing is committed yet."""
    health = await call.services.checks.part(call.services, "temporal")
    if health.status != "healthy":
        raise Unavailable("TEMPORAL_UNAVAILABLE", "Temporal is away; nothing was changed")


async def settled(call: Call, matter: Matter, wait: timedelta = WAIT) -> None:
    """Wake the matter and wait until nothing of it is due, at most `wait`; then read the rows."""
    await failpoint("api.committed")
    try:
        await start.settle(call.temporal, matter, wait)
    except (RPCError, Unavailable, RuntimeError) as error:
        _logger.warning("%s left to the sweeper: %s", matter.workflow_id, type(error).__name__)
    await failpoint("api.started")


async def started(call: Call, matter: Matter) -> None:
    """Start a matter that was born just now, without waiting for what it does."""
    try:
        await start.ensure_running(call.temporal, matter)
    except (RPCError, Unavailable, RuntimeError) as error:
        _logger.warning("%s left to the sweeper: %s", matter.workflow_id, type(error).__name__)


async def nudged(call: Call, matter: Matter, hint: Step | None = None) -> None:
    """Tell the matter that its rows changed, without waiting for what it does."""
    try:
        await start.nudge(call.temporal, matter, hint)
    except (RPCError, Unavailable, RuntimeError) as error:
        _logger.warning("%s left to the sweeper: %s", matter.workflow_id, type(error).__name__)
