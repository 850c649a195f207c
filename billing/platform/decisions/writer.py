"""Write effects as statements, in the transaction of the decision that made them.

Rows come first, then verbs and handled provider events, then announced events, in one pipeline.
Numbered rows come last, at its end or with the COMMIT, because their series is a shared lock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeGuard
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import row_writes
from billing.core.database import metadata
from billing.core.failpoints import failpoint
from billing.core.prepared import Sent, pipeline
from billing.core.with_commit import with_commit, write_shared
from billing.matters import store as matters
from billing.matters.effects import (
    Add,
    Announce,
    Bear,
    Change,
    Do,
    Effect,
    Heard,
    Issue,
    Remove,
    Row,
    Wake,
    WakeOpen,
    Watch,
)
from billing.matters.kinds import ACCOUNT, MatterKind
from billing.platform.outbox import service as outbox
from billing.platform.provider_inbox import store as inbox

Verb = Callable[..., Awaitable[Any]]
ISSUE: Final = "issue"
"""The verb that sends a row with its number, and returns both: `(row, series, on) -> Sent`."""


async def write(
    connection: AsyncConnection,
    effects: Sequence[Effect],
    at: datetime,
    verbs: Mapping[str, Verb],
    *,
    own: str | None = None,
    read_again: bool = True,
    last: Callable[[], Awaitable[Sent]] | None = None,
) -> tuple[list[Change], Sent | None]:
    """Write the effects of one decision, and send `last` behind them. `own` is the matter that the
    caller writes to the register then.

    Returns the assigned numbers, as changes, and what `last` sent. Unless `read_again`, numbers are
    taken with the COMMIT, so that the lock of their series is not held during a round trip.
    """
    rows, issues, rest = parted(effects)
    ordered = sorted(issues, key=lambda issue: issue.series)
    now, with_the_commit = (ordered, []) if read_again else ([], ordered)
    async with pipeline(connection):
        changed = [
            sent
            for _, alike in groupby(rows, _shape)
            if (sent := await _send_all(connection, list(alike))) is not None
        ]
        waking = [effect for effect in rest if _wakes(effect)]
        for effect in rest:
            if not _wakes(effect):
                await _write(connection, effect, at, verbs)
        await outbox.flush(connection)  # it takes the account's lock, before that of the register
        await _wake_all(connection, waking, at, verbs, own)
        said = await last() if last is not None else None
        if now:
            await write_shared(connection)
        numbered = [await _issue(connection, one, at, verbs) for one in now]
    if numbered:
        await failpoint("invoice.numbered")
    if any(sent.rowcount != 1 for sent in changed):
        raise LookupError("a row that a decision changes is gone")
    for one in with_the_commit:
        with_commit(connection, partial(_issue, issue=one, at=at, verbs=verbs))
    return [await _given(one, sent) for one, sent in zip(now, numbered, strict=True)], said


def parted(
    effects: Sequence[Effect],
) -> tuple[list[Add | Change | Remove], list[Issue], list[Effect]]:
    """Return rows to write, rows to number, and other effects, each in order.

    Consecutive changes of one row are merged. The order is otherwise kept, because unique indexes
    are checked after each statement. A change of a row that awaits its number waits with it.
    """
    rows: list[Add | Change | Remove] = []
    issues: dict[UUID, Issue] = {}
    rest: list[Effect] = []
    for effect in effects:
        match effect:
            case Issue():
                issues[_row_id(effect.row)] = effect
            case Change(_, row_id, _) if row_id in issues:
                before = issues[row_id]
                issues[row_id] = Issue(_joined(before.row, effect) or before.row, before.series)
            case Add() | Change() | Remove():
                if rows and (joined := _joined(rows[-1], effect)) is not None:
                    rows[-1] = joined
                else:
                    rows.append(effect)
            case _:
                rest.append(effect)
    return rows, list(issues.values()), rest


def _row_id(effect: Add | Change) -> UUID:
    return effect.row.id if isinstance(effect, Add) else effect.row_id


def _row_type(effect: Add | Change) -> type[Row]:
    return type(effect.row) if isinstance(effect, Add) else effect.row_type


def _joined(before: Effect, after: Effect) -> Add | Change | None:
    match before, after:
        case Add(row, once), Change(_, row_id, fields) if row.id == row_id:
            return Add(row.model_copy(update=dict(fields)), once)
        case Change(row_type, row_id, fields), Change(_, same_id, more) if row_id == same_id:
            return Change(row_type, row_id, {**fields, **more})
    return None


async def _issue(
    connection: AsyncConnection, issue: Issue, at: datetime, verbs: Mapping[str, Verb]
) -> Sent:
    """Send the row with the next number of the series."""
    sent: Sent = await verbs[ISSUE](connection, row=issue.row, series=issue.series, on=at.date())
    return sent


async def _given(issue: Issue, sent: Sent) -> Change:
    """Return the fields that numbering assigned to a row."""
    fields = await sent.fetchone()
    if fields is None:
        raise LookupError("a row that gets a number is gone")
    return Change(_row_type(issue.row), _row_id(issue.row), fields)


def _shape(effect: Add | Change | Remove) -> object:
    """Return the grouping key: consecutive rows of one shape are added together."""
    match effect:
        case Add(row, None):
            return type(row), row.model_fields_set
        case _:
            return effect


async def _send_all(
    connection: AsyncConnection, effects: Sequence[Add | Change | Remove]
) -> Sent | None:
    added = [one.row for one in effects if isinstance(one, Add)]
    if len(added) < 2:
        return await _send(connection, effects[0])
    await row_writes.send_rows(connection, metadata.tables[added[0].TABLE], added)
    return None


async def _send(connection: AsyncConnection, effect: Add | Change | Remove) -> Sent | None:
    """Send one row; return the answer to a change, which must match a row."""
    match effect:
        case Add(row, once):
            table, values = metadata.tables[row.TABLE], row.model_dump(exclude_unset=True)
            unique = table.c[once] if once is not None else None
            await row_writes.send_add(connection, table, values, unique)
            return None
        case Change(row_type, row_id, fields):
            table = metadata.tables[row_type.TABLE]
            return await row_writes.send_change(connection, table, row_id, **fields)
        case Remove(row_type, row_id):
            return await row_writes.send_removal(
                connection, metadata.tables[row_type.TABLE], row_id
            )


async def _write(
    connection: AsyncConnection, effect: Effect, at: datetime, verbs: Mapping[str, Verb]
) -> None:
    match effect:
        case Announce():
            await outbox.announce(connection, effect, at)
        case Bear():
            await matters.birth(connection, effect, at)
        case Heard(event_id, object_id, until):
            if event_id is not None and until is not None:
                await inbox.mark_looked(connection, event_id, until)
            elif object_id is not None:
                await inbox.mark_object_handled(connection, object_id)
        case Watch():
            await _watch(connection, effect, at)
        case Do(verb, arguments):
            await outbox.flush(connection)  # events keep the order of the decision
            await verbs[verb](connection, **{"at": at, **arguments})
        case Wake() | WakeOpen():
            await _wake(connection, effect, at)
        case Add() | Change() | Remove() | Issue():
            raise TypeError(f"{effect} is a row, which is sent with its neighbours")


def _wakes(effect: Effect) -> TypeGuard[Wake | WakeOpen | Bear]:
    """True if the effect changes rows of the register that were there before."""
    return isinstance(effect, Wake | WakeOpen) or (
        isinstance(effect, Bear) and effect.kind.born_anew
    )


async def _wake(connection: AsyncConnection, effect: Wake | WakeOpen, at: datetime) -> None:
    if isinstance(effect, Wake):
        await matters.wake(connection, effect.workflow_id, at)
    else:
        await matters.send_wake_open(connection, effect.account_id, effect.kinds, at)


async def _wake_all(
    connection: AsyncConnection,
    effects: Sequence[Wake | WakeOpen | Bear],
    at: datetime,
    verbs: Mapping[str, Verb],
    own: str | None,
) -> None:
    """Wake matters. All that are written, the caller's own too, are locked first in one order."""
    names, account_id, kinds = {own} if own is not None else set[str](), None, set[MatterKind]()
    for one in effects:
        match one:
            case Wake():
                names.add(one.workflow_id)
            case Bear():
                names.add(one.kind.workflow_id(one.subject_id))
            case WakeOpen():
                account_id, kinds = one.account_id, kinds | {*one.kinds}
    if effects:
        await matters.take(connection, names, account_id, kinds)
    for effect in effects:
        await _write(connection, effect, at, verbs)


async def _watch(connection: AsyncConnection, effect: Watch, at: datetime) -> None:
    if effect.due is None:
        account_id = effect.account_id
        await matters.write_idle(connection, ACCOUNT, account_id, account_id, at)
    else:
        await matters.send_watch(connection, effect.account_id, due=effect.due, at=at)
