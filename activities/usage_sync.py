"""The job `usage-sync`: usage counters against the records they count."""

import logging
from uuid import UUID

from temporalio import activity

from activities.paged_scan import ScannedPage, pass_over
from activities.signs_of_life import heartbeating
from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.insight.rounds import store as rounds
from billing.metering.quotas import counter_rebuild as quota_counters
from billing.metering.usage import counter_rebuild
from billing.metering.usage.counter_rebuild import LastCycle

_logger = logging.getLogger("activities.usage_sync")


async def compare(database: Database, limit: int) -> dict[str, int]:
    """Compare usage counters with records over the last cycle (if it is large, the last days),
    and repair wrong ones, for accounts that changed and some in rotation.
    """
    if not activity.info().heartbeat_details:
        async with heartbeating(), database.operator() as connection:
            await rounds.note(connection, "usage-sync", rounds.USAGE, min(limit, rounds.AT_LEAST))

    def name(found: LastCycle) -> str:
        return str(found.account_id)

    async def page(after: str) -> ScannedPage[LastCycle]:
        async with database.operator() as connection:
            place = UUID(after) if after else UUID(int=0)
            noted = await rounds.page(connection, "usage-sync", place, limit)
            return ScannedPage.whole(await counter_rebuild.last_cycles(connection, noted), name)

    async def mend(found: LastCycle) -> int:
        account_id = found.account_id
        async with database.operator() as connection:
            began = await agreed_now(connection)
        wrong = await counter_rebuild.sync(database, found)
        if wrong:
            _logger.error("usage counters of %s were wrong: %s", account_id, wrong[:3])
        if found.is_whole and await quota_counters.compare(database, account_id):
            quotas = await quota_counters.rebuild(database, account_id)
            _logger.error("quotas of %s were wrong: %s", account_id, quotas[:3])
            wrong = [*wrong, *quotas]
        async with database.operator() as connection:
            await rounds.record(connection, "usage-sync", (account_id,), began, {})
        return len(wrong)

    passed = await pass_over(page, name, mend)
    return {
        "accounts": passed.seen, "counters_mended": passed.found, "failed": passed.failed,
    }  # fmt: skip
