"""Jobs that the sandbox does later by itself: a refund settles, a session expires, a clock arrives.

Jobs are rows, so a restart forgets none; a background task runs those that are due.
"""

import logging
from collections.abc import Callable

from sandbox import clock
from sandbox.bells import Bells
from sandbox.calls import Call
from sandbox.settings import Settings
from sandbox.store import Store

RETRY_SECONDS = 5.0

Verb = Callable[[Call, str], None]
_VERBS: dict[str, Verb] = {}
logger = logging.getLogger(__name__)


def verb(name: str) -> Callable[[Verb], Verb]:
    """Register what a job of this name does to its object."""

    def register(run: Verb) -> Verb:
        _VERBS[name] = run
        return run

    return register


def later(store: Store, seconds: float, name: str, object_id: str) -> None:
    """Schedule a job in this many real seconds."""
    store.run(
        "INSERT INTO jobs (due_at, verb, object) VALUES (?, ?, ?)",
        clock.real() + seconds,
        name,
        object_id,
    )


def run_due(store: Store, settings: Settings) -> int:
    """Run due jobs, each in a transaction of its own; return how many ran.

    A failed job is retried after `RETRY_SECONDS` and blocks no other.
    """
    due = store.rows("SELECT * FROM jobs WHERE due_at <= ? ORDER BY due_at, id", clock.real())
    for job in due:
        try:
            with store.transaction():
                store.run("DELETE FROM jobs WHERE id = ?", job["id"])
                _VERBS[job["verb"]](Call(store, settings), job["object"])
        except Exception:
            logger.exception("the job %s of %s failed", job["verb"], job["object"])
            at = clock.real() + RETRY_SECONDS
            store.run("UPDATE jobs SET due_at = ? WHERE id = ?", at, job["id"])
    return len(due)


async def run_forever(store: Store, settings: Settings, bells: Bells) -> None:
    """Run due jobs forever, as the background task; look again after each commit."""
    while True:
        if run_due(store, settings):
            bells.deliveries.set()
        found = store.row("SELECT min(due_at) AS due FROM jobs")
        due = found["due"] if found else None
        await bells.wait(bells.jobs, None if due is None else due - clock.real())
