"""The one executor: lock, read, decide, write, in the caller's transaction.

A kind of matter says how its rows are read and seen, what it plans and what its steps change;
everything else about doing a step at most once stands here.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.errors import Conflict
from billing.matters import store as matters
from billing.matters.agenda import State, Step, head
from billing.matters.deciding import Rules
from billing.matters.effects import Bear, Facts, Rows, Wake, WakeOpen, Work
from billing.matters.schemas import Matter, Named
from billing.platform.decisions import writer
from billing.platform.outbox import service as outbox

S = TypeVar("S", bound=State)
F = TypeVar("F", bound=Facts)
T = TypeVar("T")
# The rows in memory are held against those in the database after every decision.
_ORACLE: Final = os.environ.get("BILLING_PROFILE") == "test"


@dataclass(frozen=True, slots=True)
class Read:
    """The subject to read, and whether to lock it for a decision."""

    subject_id: UUID
    deciding: bool = False
    answer: Any = None
    step: Step | None = None
    """The step to decide; None: a command, or a look."""
    locked: bool = True
    """A look of the matter's own takes its row; one of a timeline takes nothing."""
    about: Any = None
    """The object of a command, where more is to be read for it."""
    known: frozenset[UUID] = frozenset()
    """Rows to read although nothing can happen to them any more: the oracle compares them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Rules[S, F]):
    """The rules of one kind of matter, with the functions that read and write its rows."""

    read: Callable[[AsyncConnection, Read], Awaitable[tuple[Rows, F]]]
    asking: frozenset[str] = frozenset()
    """The steps that mostly begin with a question to the provider."""
    goes_on: Mapping[str, str] = field(default_factory=dict)
    """Steps after which the next one begins in the same transaction, by name: a renewal writes the
    attempt of its charge."""
    verbs: Mapping[str, writer.Verb] = field(default_factory=dict)
    """Effects of its decisions in SQL."""

    @classmethod
    def of(
        cls,
        rules: Rules[S, F],
        read: Callable[[AsyncConnection, Read], Awaitable[tuple[Rows, F]]],
        **verbs: writer.Verb,
    ) -> "Engine[S, F]":
        """The engine of these rules."""
        return cls(
            view=rules.view,
            agenda=rules.agenda,
            transition=rules.transition,
            begun=rules.begun,
            read=read,
            verbs=verbs,
        )


@dataclass(frozen=True, slots=True)
class Done(Generic[S]):
    """State of the matter after a decision."""

    state: S
    step: Step | None = None
    """The step that was decided, with its facts; None: it was not due any more."""
    call: Any = None
    """The provider call to make now, after the commit; then decide again."""
    lateness: timedelta | None = None
    """Delay of the step behind its time, in real time; None: it is not done."""
    born: tuple[Matter, ...] = ()
    """Matters that begin with it: to be started after the commit."""
    woken: tuple[Matter, ...] = ()
    """Other matters whose rows it changed: to be told after the commit."""
    begun: Step | None = None
    """The next step, begun in the same transaction: the call is its."""


async def look(connection: AsyncConnection, engine: Engine[S, F], matter: Named) -> S:
    """Read, and mirror the head in the register."""
    rows, facts = await engine.read(connection, Read(matter.subject_id))
    state = engine.view(rows, facts)
    await _save_head(connection, engine, matter, state, facts.at)
    return state


async def decide(
    connection: AsyncConnection,
    engine: Engine[S, F],
    matter: Named,
    step: Step,
    answer: Any = None,
    may_call: Callable[[F], bool] = lambda _: True,
) -> Done[S]:
    """Do a step once, if it is the due head; with `answer` go on with one that was begun.

    `may_call` says whether the provider may be asked by a step that this one goes on with.
    """
    if answer is None and step.name in engine.asking:
        asked = await _ask(connection, engine, matter, step)
        if asked is not None:
            return asked
    read = Read(matter.subject_id, deciding=True, answer=answer, step=step)
    rows, facts = await engine.read(connection, read)
    planned = engine.planned(rows, facts, step)
    if planned is None:
        state = engine.view(rows, facts)
        await _save_head(connection, engine, matter, state, facts.at)
        return Done(state)
    work = Work(rows, facts)
    engine.transition(work, planned)
    is_done = work.result is not None and work.call is None
    begun = _go_on(engine, work, planned, may_call) if is_done else None
    await _write(connection, engine, read, work, read_again=_ORACLE)
    state = engine.view(work.rows, facts)
    if work.result is not None and is_done:
        await _finish(connection, engine, matter, planned, work.result, state, facts.at)
    elif work.call is None:  # else the step stays the head, until it is decided again
        await _save_head(connection, engine, matter, state, facts.at)
    late = max(timedelta(), facts.real_at - planned.due) if work.result is not None else None
    woken = await _woken_by(connection, matter, work)
    return Done(state, planned, work.call, late, born_by(work), woken, begun)


def _go_on(
    engine: Engine[S, F], work: Work[F], done: Step, may_call: Callable[[F], bool]
) -> Step | None:
    """Begin what follows a step that is done, where it begins with a call: the work is then both.

    None, and the work as it was, for anything else, which is a decision of its own.
    """
    name, at = engine.goes_on.get(done.name), work.facts.at
    step = head(engine.plan(work.rows, work.facts), at) if name else None
    if step is None or step.name != name or step.due > at or not may_call(work.facts):
        return None
    both = Work(work.rows.copy(), work.facts)
    engine.transition(both, step)
    if both.call is None:
        return None
    work.rows, work.call = both.rows, both.call
    work.effects += both.effects
    return step


def born_by(work: Work[Any]) -> tuple[Matter, ...]:
    """The matters that a decision has brought into being."""
    return tuple(matters.of_birth(one) for one in work.effects if isinstance(one, Bear))


async def _woken_by(
    connection: AsyncConnection, matter: Named, work: Work[Any]
) -> tuple[Matter, ...]:
    names = {one.workflow_id for one in work.effects if isinstance(one, Wake)}
    found = [await matters.find(connection, name) for name in sorted(names)]
    for one in work.effects:
        if isinstance(one, WakeOpen):
            found += await matters.still_open(connection, one.account_id, one.kinds)
    return tuple(one for one in found if one is not None and one.workflow_id != matter.workflow_id)


async def _ask(
    connection: AsyncConnection, engine: Engine[S, F], matter: Named, step: Step
) -> Done[S] | None:
    """The step's question where it changes no row, so nothing is locked; None: decide it."""
    rows, facts = await engine.read(connection, Read(matter.subject_id, locked=False))
    planned = engine.planned(rows, facts, step)
    if planned is None:
        return None
    work = Work(rows, facts)
    engine.transition(work, planned)
    if work.call is None or work.effects:
        return None
    return Done(engine.view(rows, facts), planned, work.call)


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
) -> tuple[T, Work[F]]:
    """Decide a command, asked of a matter beside its steps; with `dry_run` it is only thought out.

    Answers what the verb answers, and the work with its rows and effects. What is written is
    `locked`, unless the caller holds the account's lock of a matter that nothing else changes any
    more; what is thought out only if it is asked for. `known` rows are read whatever their state.
    """
    locked = not dry_run if locked is None else locked
    read = Read(subject_id, deciding=True, locked=locked, about=about, known=known)
    rows, facts = await engine.read(connection, read)
    work = Work(rows, facts)
    answer = verb(work)
    if not dry_run:
        await _write(connection, engine, read, work)
    return answer, work


async def _write(
    connection: AsyncConnection,
    engine: Engine[S, F],
    read: Read,
    work: Work[F],
    *,
    read_again: bool = True,
) -> None:
    """Write a decision; the rows in memory are what is written, numbers too where `read_again`."""
    written = await writer.write(
        connection, work.effects, work.facts.at, engine.verbs, read_again=read_again
    )
    for numbered in written:
        work.rows.take(numbered)
    if _ORACLE:
        await _compare(connection, engine, read, work.rows)


async def _finish(
    connection: AsyncConnection,
    engine: Engine[S, F],
    matter: Named,
    step: Step,
    result: str,
    state: S,
    at: datetime,
) -> None:
    """The step's key and the new head, in one statement; a taken key undoes everything."""
    await outbox.flush(connection)  # it takes the account's lock, before that of the register
    fresh = await matters.finish_step(
        connection,
        matter,
        step,
        result=result,
        head=head(engine.agenda(state), at),
        words=state.words,
        at=at,
    )
    if not fresh:
        raise Conflict("STEP_DONE", f"{step.key} is done, but was planned again")


async def _save_head(
    connection: AsyncConnection, engine: Engine[S, F], matter: Named, state: S, at: datetime
) -> None:
    await outbox.flush(connection)
    first = head(engine.agenda(state), at)
    await matters.save_head(connection, matter, first, state.words, at)


async def _compare(
    connection: AsyncConnection, engine: Engine[S, F], read: Read, rows: Rows
) -> None:
    """The fold of the effects must be what the writer made of them."""
    written, _ = await engine.read(connection, replace(read, known=rows.ids()))
    if written != rows:
        raise AssertionError(f"rows differ: {written.by_type()} is written, not {rows.by_type()}")


def now_facts(clock_at: datetime | None) -> dict[str, Any]:
    """The instants of a decision."""
    real_at = real_now()
    return {"at": clock_at or real_at, "real_at": real_at}
