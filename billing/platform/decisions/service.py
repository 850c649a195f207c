"""The one executor: lock, read, decide, write, in the caller's transaction.

Each kind of matter defines how its rows are read, what it plans and what its steps change; this
module does each step at most once.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import now_by
from billing.core.errors import Conflict
from billing.core.prepared import Sent
from billing.core.profile import TEST_PROFILE
from billing.matters import store as matters
from billing.matters.agenda import State, Step, head
from billing.matters.deciding import Rules
from billing.matters.effects import Bear, Facts, Rows, Wake, WakeOpen, Work
from billing.matters.kinds import KINDS
from billing.matters.schemas import Matter, Named
from billing.platform.decisions import writer
from billing.platform.outbox import service as outbox

S = TypeVar("S", bound=State)
F = TypeVar("F", bound=Facts)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read:
    """The subject to read, for whom, and with which locks."""

    subject_id: UUID
    deciding: bool = False
    """Read what a decision needs, and lock it; some kinds lock it only if `locked`, too."""
    answer: Any = None
    step: Step | None = None
    """The step to decide; None: a command, or a read without a decision."""
    locked: bool = True
    """Lock the matter's own row; a timeline and a first question to the provider do not."""
    about: Any = None
    """The object of a command, if more must be read for it."""
    known: frozenset[UUID] = frozenset()
    """Rows to read even if they are final: the oracle compares them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Generic[S, F]):
    """The rules of one kind of matter, with the functions that read and write its rows."""

    rules: Rules[S, F]
    read: Callable[[AsyncConnection, Read], Awaitable[tuple[Rows, F]]]
    asking: frozenset[str] = frozenset()
    """The steps that usually begin with a query to the provider."""
    goes_on: Mapping[str, str] = field(default_factory=dict)
    """Steps whose named successor begins in the same transaction: a renewal writes the attempt of
    its charge."""
    verbs: Mapping[str, writer.Verb] = field(default_factory=dict)
    """SQL implementations of its decisions' effects, by verb."""


@dataclass(frozen=True, slots=True)
class Done(Generic[S]):
    """State of the matter after a decision."""

    state: S
    call: Any = None
    """The provider call to make now, after the commit; then decide again."""
    read_at: datetime | None = None
    """The database's time at which the rows were read, which is before the call."""
    lateness: timedelta | None = None
    """The delay of the finished step, in real time; None: it is not done."""
    born: tuple[Matter, ...] = ()
    """New matters, to start after the commit, or to wake if they were there."""
    woken: tuple[Matter, ...] = ()
    """Other matters whose rows changed, to notify after the commit."""
    successor: Step | None = None
    """The next step, begun in the same transaction; `call` belongs to it."""


async def look(connection: AsyncConnection, engine: Engine[S, F], matter: Named) -> S:
    """Read the matter, and save its head in the register, unless it was woken meanwhile: a look
    does not take all locks of those who wake it.
    """
    revision = await matters.revision(connection, matter.workflow_id)
    rows, facts = await engine.read(connection, Read(matter.subject_id))
    state, first = _view(engine, matter, rows, facts)
    await _save_head(connection, matter, first, state, facts.at, revision=revision)
    return state


async def decide(
    connection: AsyncConnection,
    engine: Engine[S, F],
    matter: Named,
    step: Step,
    answer: Any = None,
    *,
    may_call: Callable[[F], bool],
) -> Done[S]:
    """Do a step once, if it is the due head; with `answer`, continue one that was begun.

    `may_call` decides whether a successor step may call the provider.
    """
    read = Read(matter.subject_id, deciding=True, answer=answer, step=step)
    rows, facts = await engine.read(connection, read)
    decided = engine.rules.decide(rows, facts, step)
    if decided is None:
        state, first = _view(engine, matter, rows, facts)
        await _save_head(connection, matter, first, state, facts.at)
        return Done(state)
    planned, work = decided
    result = work.result if work.call is None else None  # with a call it is not done
    successor = _go_on(engine, work, planned, may_call) if result is not None else None
    state, first = _view(engine, matter, work.rows, work.facts)
    finish = None if result is None else partial(
        matters.send_finish, connection, matter, planned,
        result=result, head=first, words=state.words, at=work.facts.at,
    )  # fmt: skip
    finished = await _write(
        connection, engine, read, work,
        own=matter.workflow_id, read_again=TEST_PROFILE, last=finish,
    )  # fmt: skip
    if finished is not None:
        if not await matters.is_first(finished):
            raise Conflict("STEP_DONE", f"{planned.key} is done, but was planned again")
    elif work.call is None:  # else the step stays the head, until it is decided again
        await _save_head(connection, matter, first, state, work.facts.at)
    late = facts.real_at - planned.due if result is not None else None
    born = await born_by(connection, work)
    woken = await _woken_by(connection, matter, work)
    return Done(
        state, call=work.call, read_at=facts.database_at, lateness=late,
        born=born, woken=woken, successor=successor,
    )  # fmt: skip


def _view(engine: Engine[S, F], matter: Named, rows: Rows, facts: F) -> tuple[S, Step | None]:
    """Return the state, with the verdict of rest that the register is given at the same time, and
    the head of its agenda.
    """
    state, kind = engine.rules.view(rows, facts), KINDS[matter.kind]
    first = head(engine.rules.agenda(state), facts.at)
    if kind.rests_beyond is None:
        return state, first
    rests = kind.verdict(first.due if first else None, facts.at)
    return state.model_copy(update={"rests": rests}), first


def _go_on(
    engine: Engine[S, F], work: Work[F], done: Step, may_call: Callable[[F], bool]
) -> Step | None:
    """Begin the successor of a finished step if it begins with a call; `work` then contains both.

    Otherwise return None and leave `work` unchanged; the successor is a decision of its own.
    """
    name, at = engine.goes_on.get(done.name), work.facts.at
    step = head(engine.rules.plan(work.rows, work.facts), at) if name else None
    if step is None or step.name != name or step.due > at or not may_call(work.facts):
        return None
    both = Work(work.rows.copy(), work.facts)
    engine.rules.transition(both, step)
    if both.call is None:
        return None
    work.rows, work.call = both.rows, both.call
    work.effects += both.effects
    return step


async def born_by(connection: AsyncConnection, work: Work[Any]) -> tuple[Matter, ...]:
    """Return the matters that a decision created, or found there and woke: these as they are now,
    because a halted one must be freed.
    """
    born = [one for one in work.effects if isinstance(one, Bear)]
    return tuple([await _born(connection, one) for one in born])


async def _born(connection: AsyncConnection, born: Bear) -> Matter:
    new = matters.of_birth(born)
    there = await matters.find(connection, new.workflow_id) if born.kind.born_anew else None
    return there or new


async def _woken_by(
    connection: AsyncConnection, matter: Named, work: Work[Any]
) -> tuple[Matter, ...]:
    names = {one.workflow_id for one in work.effects if isinstance(one, Wake)}
    found = [await matters.find(connection, name) for name in sorted(names)]
    for one in work.effects:
        if isinstance(one, WakeOpen):
            found += await matters.still_open(connection, one.account_id, one.kinds)
    return tuple(one for one in found if one is not None and one.workflow_id != matter.workflow_id)


async def ask(
    connection: AsyncConnection,
    engine: Engine[S, F],
    matter: Named,
    step: Step,
    may_call: Callable[[F], bool],
) -> Done[S] | None:
    """Return the provider call with which a step begins if it changes no row, read without a lock
    in one round trip (`Database.glancing`); None: decide it.
    """
    rows, facts = await engine.read(connection, Read(matter.subject_id, locked=False))
    decided = engine.rules.decide(rows, facts, step)
    if decided is None:
        return None
    _, work = decided
    if work.call is None or work.effects or not may_call(facts):
        return None
    state = engine.rules.view(rows, work.facts)
    return Done(state, call=work.call, read_at=facts.database_at)


async def command(
    connection: AsyncConnection,
    engine: Engine[S, F],
    subject_id: UUID,
    verb: Callable[[Work[F]], T],
    *,
    locked: bool | None = None,
    dry_run: bool = False,
    about: Any = None,
    known: frozenset[UUID] = frozenset(),
    numbered: bool = True,
) -> tuple[T, Work[F]]:
    """Decide a command to a matter, outside its steps; with `dry_run` nothing is written. Unless
    `numbered`, rows that get a number are left to the COMMIT: whoever rolls back takes none.

    Returns the verb's result, and the work with its rows and effects. By default a write is
    `locked` and a dry run is not; a caller that holds the account's lock of a matter that nothing
    else changes may skip it. `known` rows are read in any state.
    """
    locked = not dry_run if locked is None else locked
    read = Read(subject_id, deciding=True, locked=locked, about=about, known=known)
    rows, facts = await engine.read(connection, read)
    work = Work(rows, facts)
    answer = verb(work)
    if not dry_run:
        await _write(connection, engine, read, work, read_again=numbered)
    return answer, work


async def _write(
    connection: AsyncConnection,
    engine: Engine[S, F],
    read: Read,
    work: Work[F],
    *,
    own: str | None = None,
    read_again: bool = True,
    last: Callable[[], Awaitable[Sent]] | None = None,
) -> Sent | None:
    """Write a decision, then `last`; with `read_again` the rows in memory get numbers, too."""
    numbers, said = await writer.write(
        connection, work.effects, work.facts.at, engine.verbs,
        own=own, read_again=read_again, last=last,
    )  # fmt: skip
    for numbered in numbers:
        work.rows.take(numbered)
    # In tests, rows in memory are compared with the database after every decision.
    if TEST_PROFILE and read_again:
        await _compare(connection, engine, read, work.rows)
    return said


async def _save_head(
    connection: AsyncConnection,
    matter: Named,
    first: Step | None,
    state: S,
    at: datetime,
    *,
    revision: int | None = None,
) -> None:
    await outbox.flush(connection)
    await matters.save_head(connection, matter, first, state.words, at, revision=revision)


async def _compare(
    connection: AsyncConnection, engine: Engine[S, F], read: Read, rows: Rows
) -> None:
    """Raise if the rows in memory differ from the rows that the writer wrote."""
    written, _ = await engine.read(connection, replace(read, known=rows.ids()))
    if written != rows:
        raise AssertionError(f"rows differ: {written.by_type()} is written, not {rows.by_type()}")


def now_facts(clock_at: datetime | None, real_at: datetime) -> dict[str, Any]:
    """Return the instants of a decision on an account with this clock."""
    return {"at": now_by(clock_at, real_at), "real_at": real_at, "clock_at": clock_at}
