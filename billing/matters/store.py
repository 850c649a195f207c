"""The register of matters: one row per workflow, born in the transaction of the fact it serves.

`next_due` and `next_step` mirror the head of the matter's agenda; `steps` records what was done,
each business key once, so that a workflow that runs twice finds it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, and_, case, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, row_writes
from billing.core.clock import real_now
from billing.core.prepared import Fields, Prepared, Sent, given
from billing.matters.agenda import CLOCK_SKEW, Step
from billing.matters.effects import Bear
from billing.matters.kinds import ACCOUNT, KINDS, MatterKind
from billing.matters.schemas import LOOK, Matter, Named
from billing.matters.tables import matters

_HEAD = """
    UPDATE matters SET words = :words, started_at = coalesce(started_at, :real_at),
        closed_at = CASE WHEN :is_open THEN NULL ELSE coalesce(closed_at, :at) END,
        status = :status,
        next_due = :next_due, next_step = :next_step, next_key = :next_key
    WHERE workflow_id = :workflow_id AND revision = coalesce(CAST(:revision AS integer), revision)
"""
_SAVE_HEAD = Prepared(text(_HEAD))
_FINISH_STEP = Prepared(
    text(
        f"""
    WITH done AS (
        INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at, result,
            event_id)
        VALUES (:key, :workflow_id, :account_id, :name, :due_at, :at, :real_at, :result,
            :event_id)
        ON CONFLICT (key) DO NOTHING RETURNING key
    ), saved AS ({_HEAD})
    SELECT count(*) FROM done
    """  # noqa: S608 - put together from constants
    )
)
_WATCH_ACCOUNT = Prepared(
    text(
        """
    SELECT * FROM account_watch(
        CAST(:account_id AS uuid), CAST(:due AS timestamptz), CAST(:at AS timestamptz),
        CAST(:correlation_id AS text))
    """
    )
)
_TAKE = Prepared(
    text(
        """
    SELECT workflow_id FROM matters WHERE workflow_id IN (
        SELECT unnest(CAST(:names AS text[]))
        UNION
        SELECT workflow_id FROM matters
        WHERE account_id = CAST(:account_id AS uuid) AND kind = ANY (CAST(:kinds AS text[]))
            AND closed_at IS NULL)
    ORDER BY workflow_id FOR NO KEY UPDATE
    """
    )
)
_REVISION = Prepared(select(matters.c.revision).where(matters.c.workflow_id == given("name")))
_FIND = Prepared(select(matters).where(matters.c.workflow_id == given("name")))


async def birth(connection: AsyncConnection, born: Bear, at: datetime) -> Matter:
    """Write a new matter; the caller starts its workflow after the commit, or the sweeper does."""
    matter = of_birth(born)
    row = {
        "workflow_id": matter.workflow_id,
        "account_id": matter.account_id,
        "kind": matter.kind,
        "subject_id": matter.subject_id,
        "created_at": at,
        "woken_at": real_now(),
        "correlation_id": matter.correlation_id,
        **_head_columns(matter.head),
    }
    if born.kind.born_anew:
        await row_writes.add_unless_there(connection, matters, row)
        await wake(connection, matter.workflow_id, at)
    else:
        await row_writes.send_add(connection, matters, row)
    return matter


def of_birth(born: Bear) -> Matter:
    """Return the new matter, to be notified after the commit."""
    return Matter(
        workflow_id=born.kind.workflow_id(born.subject_id),
        account_id=born.account_id,
        kind=born.kind.name,
        subject_id=born.subject_id,
        head=_first(born.head),
        correlation_id=context.correlation_id.get(),
        born_as=born.status,
        plan=born.plan,
    )


def _first(head: Step | None) -> Step | None:
    """Return the head of a new matter: one that is not due by its name alone, so that the run looks
    before it waits. A test account's run may look, too, where its head is due.
    """
    if head is None or head.due <= real_now() + CLOCK_SKEW:
        return head
    return head.model_copy(update={"words": ""})


async def write_idle(
    connection: AsyncConnection, kind: MatterKind, account_id: UUID, subject_id: UUID, at: datetime
) -> None:
    """Write a matter's row for others to wake; nothing of it is due, and no workflow runs."""
    row = {
        "workflow_id": kind.workflow_id(subject_id),
        "account_id": account_id,
        "kind": kind.name,
        "subject_id": subject_id,
        "status": "closed",
        "created_at": at,
        "woken_at": real_now(),
        "closed_at": at,
        "correlation_id": context.correlation_id.get(),
    }
    await row_writes.add_unless_there(connection, matters, row)


async def ensure_account(
    connection: AsyncConnection, account_id: UUID, *, due: datetime, at: datetime
) -> Matter:
    """Create or reopen the account's own matter if need be; it looks at its rows by `due`.

    Call it last: it locks the matter's row, which comes after the account's lock.
    """
    return show(await _WATCH_ACCOUNT.one(connection, **_watching(account_id, due, at)))


async def send_watch(
    connection: AsyncConnection, account_id: UUID, *, due: datetime, at: datetime
) -> None:
    """As `ensure_account`; in a pipeline without waiting for the answer."""
    await _WATCH_ACCOUNT.send(connection, **_watching(account_id, due, at))


def _watching(account_id: UUID, due: datetime, at: datetime) -> dict[str, Any]:
    correlation_id = context.correlation_id.get()
    return {"account_id": account_id, "due": due, "at": at, "correlation_id": correlation_id}


async def find(connection: AsyncConnection, workflow_id: str) -> Matter | None:
    """One matter by its workflow id."""
    row = await _FIND.first(connection, name=workflow_id)
    return show(row) if row else None


async def take(
    connection: AsyncConnection,
    names: Collection[str],
    account_id: UUID | None = None,
    kinds: Collection[MatterKind] = (),
) -> None:
    """Lock the rows of these matters, and the account's open ones of these kinds, in the order of
    their names: so does who receives events, and wakes many without any other lock.
    """
    wanted = [kind.name for kind in kinds]
    await _TAKE.send(connection, names=list(names), account_id=account_id, kinds=wanted)


async def wake(connection: AsyncConnection, workflow_id: str, at: datetime) -> None:
    """Rows of the matter changed: its workflow must look again; a closed matter is reopened."""
    await connection.execute(
        update(matters).where(matters.c.workflow_id == workflow_id).values(**_woken(at))
    )


async def wake_open(
    connection: AsyncConnection, account_id: UUID, kinds: Sequence[MatterKind], at: datetime
) -> list[Matter]:
    """Wake the account's open matters of these kinds; the caller notifies them after the commit.

    The account's own is locked, too: callers write it after them.
    """
    await take(connection, [ACCOUNT.workflow_id(account_id)], account_id, kinds)
    rows = await connection.execute(_waking(account_id, kinds, at).returning(matters))
    return [show(row) for row in rows.mappings()]


async def send_wake_open(
    connection: AsyncConnection, account_id: UUID, kinds: Sequence[MatterKind], at: datetime
) -> None:
    """Wake the account's open matters in a pipeline, without results: see `still_open` after it.

    Callers have taken them.
    """
    await connection.execute(_waking(account_id, kinds, at))


async def still_open(
    connection: AsyncConnection, account_id: UUID, kinds: Sequence[MatterKind]
) -> list[Matter]:
    """The account's open matters of these kinds."""
    rows = await connection.execute(select(matters).where(_are_open(account_id, kinds)))
    return [show(row) for row in rows.mappings()]


def _waking(account_id: UUID, kinds: Sequence[MatterKind], at: datetime) -> Update:
    return update(matters).where(_are_open(account_id, kinds)).values(**_woken(at))


def _are_open(account_id: UUID, kinds: Sequence[MatterKind]) -> ColumnElement[bool]:
    return and_(
        matters.c.account_id == account_id,
        matters.c.kind.in_([kind.name for kind in kinds]),
        matters.c.closed_at.is_(None),
    )


async def revision(connection: AsyncConnection, workflow_id: str) -> int | None:
    """Return how often the matter was woken; None if there is no such matter."""
    found: int | None = await _REVISION.scalar(connection, name=workflow_id)
    return found


async def save_head(
    connection: AsyncConnection,
    matter: Named,
    head: Step | None,
    words: str,
    at: datetime,
    *,
    revision: int | None = None,
    halted: bool = False,
) -> None:
    """Mirror the agenda's head; without one the matter is closed.

    `halted`: another step failed, which operators must see. With another `revision` the matter was
    woken meanwhile, and what it has to look at stays.
    """
    values = _head_values(matter, head, words, at, halted=halted)
    await _SAVE_HEAD.run(connection, **values, revision=revision)


async def send_finish(
    connection: AsyncConnection,
    matter: Named,
    step: Step,
    *,
    result: str,
    head: Step | None,
    words: str,
    at: datetime,
    halted: bool = False,
) -> Sent:
    """Record a step as done, once by its key, and mirror the head; `is_first` reads the answer, for
    which a pipeline does not wait.
    """
    return await _FINISH_STEP.send(
        connection,
        key=step.key,
        account_id=matter.account_id,
        name=step.name,
        due_at=step.due,
        result=result,
        event_id=step.event,
        **_head_values(matter, head, words, at, halted=halted),
        revision=None,
    )


async def is_first(finished: Sent) -> bool:
    """Return whether the step was done just now; False: its key was taken."""
    row = await finished.fetchone()
    return row is not None and bool(row["count"])


async def note_halt(
    connection: AsyncConnection, matter: Named, *, halted: bool, rests: bool
) -> None:
    """Note that a matter is halted, or goes on, for doctor and lists: it may be over, or rest.

    `rests`: the verdict that its run goes by. Woken since then, it is open until it is looked at.
    """
    status: ColumnElement[str] = literal("halted")
    if not halted:
        is_over, is_known = matters.c.closed_at.is_not(None), matters.c.started_at.is_not(None)
        status = case(
            (is_over, "closed"), (and_(is_known, literal(rests)), "resting"), else_="open"
        )
    await connection.execute(
        update(matters).where(matters.c.workflow_id == matter.workflow_id).values(status=status)
    )


def _woken(due: datetime) -> dict[str, Any]:
    """Fields of a matter to look by `due`; unstarted until then, so the sweeper notifies it too.

    `account_watch`, `usage_threshold` and `event_owners` write the same in SQL.
    """
    return {
        "revision": matters.c.revision + 1,
        "next_due": func.least(func.coalesce(matters.c.next_due, due), due),
        "next_step": None,
        "next_key": None,
        "woken_at": real_now(),
        "started_at": None,
        "closed_at": None,
        # A halted matter stays halted until its workflow continues.
        "status": case((matters.c.status == "halted", "halted"), else_="open"),
    }


def _head_values(
    matter: Named, head: Step | None, words: str, at: datetime, *, halted: bool
) -> dict[str, object]:
    return {
        "workflow_id": matter.workflow_id,
        "words": words,
        "at": at,
        "real_at": real_now(),
        "is_open": head is not None,
        "status": "halted" if halted and head else _status(matter.kind, head, at),
        **_head_columns(head),
    }


def _status(kind: str, head: Step | None, now: datetime) -> str:
    if head is None:
        return "closed"
    return "resting" if KINDS[kind].rests(head.due, now) else "open"


def _head_columns(head: Step | None) -> dict[str, object]:
    return {
        "next_due": head.due if head else None,
        "next_step": head.name if head else None,
        "next_key": head.key if head else None,
    }


def show(r: Fields) -> Matter:
    """A row as a matter."""
    head = None
    if r["next_due"] is not None:
        # A woken matter has a due time but no step to name yet: looking is its next step.
        name, key = r["next_step"] or LOOK, r["next_key"] or ""
        head = Step(name=name, due=r["next_due"], key=key)
    return Matter.model_validate({**r, "head": head})
