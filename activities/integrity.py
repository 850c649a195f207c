"""The job `integrity`: the invariants of the books."""

import logging
from uuid import UUID

from temporalio import activity

from activities.signs_of_life import heartbeating
from billing.core.database import Database
from billing.insight.integrity import hourly
from billing.insight.rounds import store as rounds

_logger = logging.getLogger("activities.integrity")


async def check(database: Database, limit: int) -> dict[str, int]:
    """Check accounts that changed and some in rotation; log broken invariants as errors."""
    after, seen, unseen = activity.info().heartbeat_details or (str(UUID(int=0)), 0, 0)
    if not activity.info().heartbeat_details:
        async with heartbeating():
            await hourly.note(database, min(limit, rounds.AT_LEAST))
    while accounts := await hourly.page(database, UUID(after), limit):
        async with heartbeating(after, seen, unseen):
            looked = await hourly.look(database, accounts)
        seen, unseen = seen + looked, unseen + len(accounts) - looked
        after = str(accounts[-1])
        activity.heartbeat(after, seen, unseen)
    async with heartbeating(after, seen, unseen):
        report = await hourly.conclude(database, seen, unseen)
    for finding in report.wrong:
        _logger.error(
            "the books are wrong: %s (%s): %d, such as %s",
            finding.sentence,
            finding.name,
            finding.violations,
            ", ".join(finding.examples),
        )
    counts = {"checks": len(report.checks), "accounts": seen, "unseen": unseen}
    return counts | {one.name: one.violations for one in report.wrong}
