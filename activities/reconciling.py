"""The comparison with the provider: page by page, each page one transaction of the run's row."""

from time import monotonic
from typing import Final
from uuid import UUID

from temporalio import activity
from temporalio.client import Client

from activities import notifying
from activities.dependencies import Dependencies
from activities.signs_of_life import heartbeating
from billing.core import ids
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters.schemas import Matter
from billing.money.payments import event_commands
from billing.money.reconciliations import rules, service, store
from billing.money.reconciliations.schemas import (
    Discrepancy,
    ObjectKind,
    Place,
    Reconciliation,
)
from workflows import start
from workflows.contracts import ReconcileMove, ReconcileRequest

STRIDE_SECONDS: Final = 10.0
"""One activity reads for this long, then reports its progress to the workflow."""


class ReconciliationActivities:
    """The activity that continues a run."""

    def __init__(self, dependencies: Dependencies, client: Client) -> None:
        self.database = dependencies.database
        self.provider = dependencies.provider
        self.alert_above = dependencies.settings.reconcile_alert_above
        self.client = client

    @activity.defn(name="reconciliation.read")
    async def read(self, request: ReconcileRequest) -> ReconcileMove:
        """Compare pages until none is left or the stride is over."""
        began = monotonic()
        async with heartbeating():
            while True:
                try:
                    run = await self._read_page(request.run_id)
                except Exception as error:
                    async with self.database.operator() as connection:
                        run = await service.note_error(connection, request.run_id, error)
                    if run.finished_at is None:
                        raise
                if run.finished_at is not None or monotonic() - began > STRIDE_SECONDS:
                    return _move(run)

    async def _read_page(self, run_id: UUID) -> Reconciliation:
        """Compare one page and store what it shows; what is read again is compared again."""
        async with self.database.operator() as connection:
            run = await store.get(connection, run_id)
        place = run.place
        if place is None or run.finished_at is not None:
            return run
        since = rules.begins(run, place.object)
        page = await self.provider.money_page(place.object, since, run.until_at, place.after)
        async with self.database.operator() as connection:
            seen = await service.compare(connection, run, place, page)
        stood = await self._still_standing(run) if place == Place() else []
        found = [*stood, *seen.discrepancies, *await self._gone(place.object, seen)]
        if run.heal:
            found = await self._heal(found)
        async with self.database.operator() as connection:
            return await service.go_on(connection, run, seen, found, self.alert_above)

    async def _still_standing(self, run: Reconciliation) -> list[Discrepancy]:
        """Compare again what the latest run found before this one's window; return what stands.

        A run whose window somebody chose compares nothing again.
        """
        async with self.database.operator() as connection:
            known = await store.latest(connection) if run.is_whole else ()
        first = {(one.object, one.stripe_id): one for one in rules.left_behind(run, known)}
        found: list[Discrepancy] = []
        for (kind, name), before in [*first.items()][: rules.MOST]:
            now = await self.provider.money(kind, name)
            async with self.database.operator() as connection:
                found += await service.compare_again(connection, run, before, now)
        return found

    async def _gone(self, kind: ObjectKind, seen: service.Compared) -> list[Discrepancy]:
        """Ask for the rows of the page's span that it does not name; return those that the provider
        does not have, until there are too many.
        """
        found: list[Discrepancy] = []
        after, last = ids.first_of(seen.first), ids.first_of(seen.last)
        while len(found) < rules.MOST:
            async with self.database.operator() as connection:
                rows = await store.rows_between(connection, kind, after, last, besides=seen.names)
            found += [
                rules.gone(kind, row)
                for row in rows
                if not row.is_awake and await self.provider.money(kind, row.object_id) is None
            ]
            if len(rows) < store.PAGE:
                break
            after = rows[-1].row_id
        return found

    async def _heal(self, found: list[Discrepancy]) -> list[Discrepancy]:
        """Order a status check of each payment that one puts right; return what was ordered."""
        ordered: dict[UUID, Matter | None] = {}
        for payment_id in {one.payment_id for one in found if rules.heals(one)}:
            if payment_id is not None:
                async with self.database.operator() as connection:
                    matter = await event_commands.order_check(connection, payment_id, real_now())
                ordered[payment_id] = matter
        await notifying.nudge(self.client, (one for one in ordered.values() if one is not None))
        return [
            one.model_copy(
                update={"is_check_ordered": rules.heals(one) and one.payment_id in ordered}
            )
            for one in found
        ]


async def begin_daily(database: Database, client: Client) -> dict[str, int]:
    """Begin today's run, and those that a failed call left without a workflow; wait for its end."""
    run = service.new_run(UUID(activity.info().workflow_run_id))
    async with database.operator() as connection:
        await service.begin(connection, run)
        left = await store.unfinished(connection)
    for run_id in left:
        await start.reconcile(client, run_id)
    async with heartbeating():
        handle = await start.reconcile(client, run.id)
        move = await handle.result()
    return {"checked": move.checked, "discrepancies": move.discrepancies}


def _move(run: Reconciliation) -> ReconcileMove:
    checked = run.checked
    return ReconcileMove(
        done=run.finished_at is not None,
        checked=checked.payments + checked.refunds + checked.disputes,
        discrepancies=len(run.discrepancies),
    )
