"""Calls from a write to its workflow.

Temporal must be reachable before the commit. After the commit no answer is a 5xx, because the
sweeper starts what a failed call left behind. Calls note what was committed, so that a request with
a claim is answered 202 even if its result cannot be read.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from temporalio.service import RPCError

from api import committed
from api.calls import AccountCall, Call
from api.idempotency import Claim
from billing.core.errors import Conflict, Unavailable
from billing.core.failpoints import failpoint
from billing.matters import sweeps
from billing.matters.kinds import COLLECTING
from billing.matters.schemas import Matter
from billing.money.reconciliations.schemas import Reconciliation
from workflows import start

WAIT: Final = timedelta(seconds=10)
_logger = logging.getLogger("api.workflow_calls")


@contextmanager
def logged_if_away(name: str, what: str = "left to the sweeper") -> Iterator[None]:
    """Log that Temporal does not answer, instead of raising it."""
    try:
        yield
    except (RPCError, Unavailable, RuntimeError) as error:
        _logger.warning("%s %s: %s", name, what, type(error).__name__)


async def need_temporal(call: Call, claim: Claim | None = None) -> None:
    """Raise 503 TEMPORAL_UNAVAILABLE while nothing is committed yet.

    Not where an earlier request with the key may have committed: its result is read [P10].
    """
    if claim is not None and claim.resumed:
        return
    health = await call.services.health.part(call.services, "temporal")
    if health.status != "healthy":
        raise Unavailable("TEMPORAL_UNAVAILABLE")


async def need_provider(call: AccountCall, claim: Claim) -> None:
    """Check that Temporal is reachable and that no test account uses a live Stripe key.

    Errors: TEMPORAL_UNAVAILABLE, TEST_ACCOUNT_ON_LIVE_KEY.
    """
    if call.account.is_test and call.settings.has_live_stripe:
        raise Conflict("TEST_ACCOUNT_ON_LIVE_KEY")
    await need_temporal(call, claim)


async def wait_until_done(call: Call, matter: Matter, stem: str | None = None) -> None:
    """Wake the matter and wait up to ten seconds until none of its steps is due.

    `stem`: of an account, only those whose keys begin with it; others may fail and be tried again.
    """
    committed.note(matter)
    await wait_for_another(call, matter, stem)


async def wait_for_another(call: Call, matter: Matter, stem: str | None = None) -> None:
    """As `wait_until_done`, for a matter that must end before the request's own work begins."""
    await failpoint("api.committed")
    await _go_on(call, matter, stem)
    await failpoint("api.started")


async def _go_on(call: Call, matter: Matter, stem: str | None = None) -> None:
    with logged_if_away(matter.workflow_id):
        await start.free(call.temporal, matter)
        await start.wait_until_done(call.temporal, matter, WAIT, stem)


async def wait_until_all_done(call: Call, matters: Iterable[Matter]) -> None:
    """Wake each of these matters once and wait for all at the same time."""
    found = {one.workflow_id: one for one in matters}
    await asyncio.gather(*(wait_until_done(call, one) for one in found.values()))


async def free_halted(call: Call, *account_ids: UUID) -> None:
    """Have halted matters of these accounts that pay an invoice go on, before a payment is
    requested.

    A try that one of them left open would refuse every other (PAYMENT_PENDING).
    """
    async with call.database.tenant(*account_ids) as connection:
        halted = await sweeps.halted(connection, account_ids)
    paying = (matter for matter in halted if matter.kind in COLLECTING)
    await asyncio.gather(*(_go_on(call, matter) for matter in paying))


async def ensure_started(call: Call, matter: Matter) -> None:
    """Start a new matter's workflow, or wake one that was there, without waiting for its steps."""
    committed.note(matter)
    with logged_if_away(matter.workflow_id):
        await start.start_new(call.temporal, matter)


async def wait_for_comparison(call: Call, run: Reconciliation) -> None:
    """Start a comparison with the provider, and wait up to ten seconds for its end.

    What Temporal did not take, the next daily run starts.
    """
    committed.note_subject(run.name)
    with logged_if_away(run.name, "left to the daily run"), suppress(TimeoutError):
        async with asyncio.timeout(WAIT.total_seconds()):
            await (await start.reconcile(call.temporal, run.id)).result()


async def notify(call: Call, matter: Matter) -> None:
    """Notify the matter that its rows changed, without waiting for its steps."""
    committed.note(matter)
    with logged_if_away(matter.workflow_id):
        await start.nudge(call.temporal, matter)
