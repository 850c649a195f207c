"""The job `ensure-running`: matters whose workflow is missing."""

from collections.abc import Sequence

from temporalio.client import Client

from activities.paged_scan import ScannedPage, pass_over
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.schemas import Matter
from workflows import start, visibility


async def begin(database: Database, client: Client, limit: int) -> dict[str, int]:
    """Start the missing workflows of open matters from their rows."""

    async def page(after: str) -> ScannedPage[Matter]:
        async with database.operator() as connection:
            found = await sweeps.open_page(connection, after, limit)
        last = found[-1].workflow_id if found else ""
        return ScannedPage(await without_run(client, found), read=len(found), last=last)

    async def start_run(matter: Matter) -> int:
        return int(await start.begin(client, matter))

    passed = await pass_over(page, lambda matter: matter.workflow_id, start_run)
    return {"open": passed.seen, "started": passed.found, "failed": passed.failed}


async def without_run(client: Client, found: Sequence[Matter]) -> list[Matter]:
    """Return those of these matters whose workflow does not run."""
    names = [matter.workflow_id for matter in found]
    running = await visibility.running_among(client, names)
    return [matter for matter in found if matter.workflow_id not in running]
