"""Runs of the comparison with the provider: begun once, continued page by page, finished once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database_words import database_words
from billing.core.errors import BillingError, wrong_field
from billing.money.invoices import balances
from billing.money.reconciliations import rules, store
from billing.money.reconciliations.schemas import (
    AtStripe,
    Discrepancy,
    MoneyPage,
    ObjectKind,
    Owner,
    Place,
    Reconciliation,
)
from billing.platform.audit import service as audit

_logger: Final = logging.getLogger("billing.reconciliations")
_OF_THE_DATABASE: Final = (DBAPIError, PoolTimeout)
"""Errors of Postgres or its driver, and of a pool without a free connection."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The findings of a page of the provider's objects, and the span whose rows it must name."""

    discrepancies: tuple[Discrepancy, ...]
    counts: dict[str, int]
    names: tuple[str, ...]
    first: datetime
    last: datetime
    place: Place | None
    """The place behind the page."""


def new_run(
    run_id: UUID,
    *,
    since_at: datetime | None = None,
    until_at: datetime | None = None,
    heal: bool = False,
) -> Reconciliation:
    """Return a run of a window, by default the last days; younger objects are still being settled.

    The provider knows whole seconds. Errors: VALIDATION_FAILED if the window is empty.
    """
    now = real_now()
    last = min(until_at or now, now - rules.SETTLES).replace(microsecond=0)
    first = (since_at or last - rules.WINDOW).replace(microsecond=0)
    if first >= last:
        raise wrong_field("since_at", f"must be before {last.isoformat()}: younger objects change")
    return Reconciliation(
        id=run_id,
        started_at=now,
        since_at=first,
        until_at=last,
        is_whole=since_at is None and until_at is None,
        heal=heal,
    )


async def begin(connection: AsyncConnection, run: Reconciliation) -> None:
    """Write the run and its audit row, once."""
    if await store.begin(connection, run):
        window = {"since": run.since_at.isoformat(), "until": run.until_at.isoformat()}
        await _record(connection, run, "reconciliation.begun", **window, heal=run.heal)


async def compare(
    connection: AsyncConnection, run: Reconciliation, place: Place, page: MoneyPage
) -> Compared:
    """Compare a page of the provider's objects with their rows."""
    verdicts = await _verdicts(connection, run, place.object, page.objects)
    first, last = rules.span(place, page, rules.begins(run, place.object), run.until_at)
    return Compared(
        discrepancies=tuple(found for one in verdicts if isinstance(one, tuple) for found in one),
        counts=_counts(place.object, verdicts),
        names=tuple(one.object_id for one in page.objects),
        first=first,
        last=last,
        place=rules.following(place, page, first),
    )


async def compare_again(
    connection: AsyncConnection, run: Reconciliation, before: Discrepancy, found: AtStripe | None
) -> Sequence[Discrepancy]:
    """Compare what an earlier run found, and is older than this one's window, with the object as
    the provider has it now; None: it has none. What is being settled stands as it was.
    """
    kind, name = before.object, before.stripe_id
    if found is not None:
        (verdict,) = await _verdicts(connection, run, kind, [found])
        still = verdict if isinstance(verdict, tuple) else ()
        return (before,) if verdict == "under_way" else still
    row = (await store.rows_named(connection, kind, [name])).get(name)
    if row is None or row.is_test:
        return ()
    return (before if row.is_awake else rules.gone(kind, row),)


async def _verdicts(
    connection: AsyncConnection,
    run: Reconciliation,
    kind: ObjectKind,
    objects: Sequence[AtStripe],
) -> list[rules.Verdict]:
    """Decide about each of the provider's objects."""
    here = await store.rows_named(connection, kind, [one.object_id for one in objects])
    owners = await _owners(connection, [one for one in objects if one.object_id not in here])
    settled = run.started_at - rules.SETTLES
    return [
        rules.decide(kind, one, here.get(one.object_id), owners.get(one.object_id), settled)
        for one in objects
    ]


async def go_on(
    connection: AsyncConnection,
    run: Reconciliation,
    page: Compared,
    found: Sequence[Discrepancy],
    alert_above: int,
) -> Reconciliation:
    """Store what a page of the run showed, and the place behind it, unless another worker has.

    The run finishes at the end, or at too many discrepancies.
    """
    now = await store.get(connection, run.id, lock=True)
    if now.place != run.place or now.finished_at is not None:
        return now
    discrepancies = (*run.discrepancies, *found)
    many = len(discrepancies)
    is_cut = many - len(rules.left_behind(run, discrepancies)) >= rules.MOST
    run = run.model_copy(
        update={
            "checked": run.checked.plus(page.counts),
            "discrepancies": discrepancies,
            "place": run.place if is_cut else page.place,
            "error": None,
        }
    )
    if run.place is not None and not is_cut:
        return await store.keep(connection, run)
    ended = {"finished_at": real_now(), "is_alarming": is_cut or many > alert_above}
    run = await store.keep(connection, run.model_copy(update=ended))
    await _record(
        connection, run, "reconciliation.finished", **run.checked.model_dump(), discrepancies=many
    )
    for one in run.discrepancies:
        _logger.warning("%s: %s: %s %s", run.name, one.kind, one.object, one.stripe_id)
    if run.is_alarming:
        _logger.error("%s found %d discrepancies with the provider", run.name, many)
    return run


async def note_error(connection: AsyncConnection, run_id: UUID, error: Exception) -> Reconciliation:
    """Store and audit the reason why a page could not be read, once while it lasts [P6].

    Without an answer of the provider or the database the run waits. After anything else, such as a
    refusal, it has failed: another try would end the same.
    """
    run = await store.get(connection, run_id, lock=True)
    said = _words(error)
    if run.finished_at is None and run.error != said:
        waits = isinstance(error, _OF_THE_DATABASE) or getattr(error, "retryable", False)
        ended = None if waits else real_now()
        run = await store.keep(
            connection, run.model_copy(update={"error": said, "finished_at": ended})
        )
        action = "reconciliation.failed" if ended else "reconciliation.delayed"
        await _record(connection, run, action, error=said)
        _logger.warning("%s: %s", run.name, said, exc_info=error)
    return run


def _words(error: Exception) -> str:
    if isinstance(error, BillingError):
        return f"{error.code}: {error.detail}"
    # The message of another one may contain rows.
    return database_words(error) if isinstance(error, _OF_THE_DATABASE) else type(error).__name__


async def _owners(connection: AsyncConnection, unknown: Sequence[AtStripe]) -> dict[str, Owner]:
    """Return the owners of objects without a row, and whether their money is booked otherwise."""
    found = await store.owners(connection, unknown) if unknown else {}
    for one in unknown:
        owner = found.get(one.object_id)
        if owner is not None and one.intent_id is not None and not owner.is_kept:
            kept = await balances.found(connection, one.intent_id)
            found[one.object_id] = owner.model_copy(update={"is_kept": kept is not None})
    return found


def _counts(kind: ObjectKind, verdicts: Sequence[rules.Verdict]) -> dict[str, int]:
    foreign, left_out = verdicts.count("foreign"), verdicts.count("left_out")
    return {
        f"{kind}s": len(verdicts) - foreign - left_out,
        "under_way": verdicts.count("under_way"),
        "foreign": foreign,
    }


async def _record(
    connection: AsyncConnection, run: Reconciliation, action: str, **said: Any
) -> None:
    await audit.record(
        connection, account_id=None, action=action, subject=run.name, at=real_now(), **said
    )
