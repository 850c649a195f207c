"""The effects of a decision, shaped like rows, and the rows in memory they apply to. Pure.

A transition never writes: it appends effects to its Work, and each is applied to the rows at once.
So the rows after a decision are the fold of its effects, and later lines see what earlier ones did.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from billing.core.frozen import Frozen
from billing.matters.agenda import Step
from billing.matters.kinds import MatterKind


class Row(Frozen):
    """A row of TABLE; a default here is the column's default there."""

    TABLE: ClassVar[str]

    id: UUID


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Add:
    """Insert a row with the fields that were set, unless another has its `once` value."""

    row: Row
    once: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Overwrite fields of one row."""

    row_type: type[Row]
    row_id: UUID
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete one row."""

    row_type: type[Row]
    row_id: UUID


@dataclass(frozen=True, slots=True)
class Issue:
    """Write a row with the next number of a series, whose lock is taken last.

    The number is known only when all is written: no later line of the decision may need it.
    """

    row: Add | Change
    series: str


@dataclass(frozen=True, slots=True)
class Bear:
    """A new matter about this subject, with the head of its agenda."""

    kind: MatterKind
    account_id: UUID
    subject_id: UUID
    head: Step | None
    status: str | None = None
    """For the search attribute, if its kind is not always born with the same status."""
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake a matter whose rows changed outside its own steps: its workflow looks again."""

    workflow_id: str


@dataclass(frozen=True, slots=True)
class WakeOpen:
    """Wake every open matter of these kinds that the account has."""

    account_id: UUID
    kinds: tuple[MatterKind, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """One fact for the outside: an audit row and its event, `evt.billing.<action>`."""

    account_id: UUID
    action: str
    subject: str
    facts: Mapping[str, Any]
    type: str | None = None
    """The event's type, if it is not `evt.billing.<action>`."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Mark events as handled: the provider was queried after `until`, so they add nothing."""

    event_id: str | None = None
    """This event, and all others for its object until then."""
    object_id: str | None = None
    """All events for this object."""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Have the account's own matter exist for events about its cards, and look by `due`."""

    account_id: UUID
    due: datetime | None = None


A = TypeVar("A")


class Operation(str, Generic[A]):
    """The name of a verb, with the type of its arguments: `Operation[Grant]("grant")`."""


@dataclass(frozen=True, slots=True)
class Do(Generic[A]):
    """A verb carried out in SQL, such as a grant; no later line may need its result."""

    verb: Operation[A]
    arguments: A
    leaves: Change | None = None
    """The verb's change of a row in memory; only the verb writes it."""


Effect = Add | Change | Remove | Issue | Bear | Wake | WakeOpen | Announce | Heard | Watch | Do[Any]


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """A provider event that waits in the inbox."""

    id: str
    replays: int
    object_id: str | None
    received_at: datetime
    about: UUID | None
    """The payment that it concerns."""


class Rows:
    """The rows of a matter in memory, by type, oldest first; and the events that wait for it."""

    __slots__ = ("_grouped", "_of", "waiting_events")

    def __init__(self, rows: Iterable[Row] = (), waiting_events: Iterable[InboxEvent] = ()) -> None:
        self._of: dict[type[Row], dict[UUID, Row]] = {}
        # Kept until a row of the type changes: a subscription may have invoices by the thousand.
        self._grouped: dict[type[Row], dict[str, dict[object, list[Row]]]] = {}
        self.waiting_events = tuple(waiting_events)
        for row in rows:
            self._put(row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.by_type() == other.by_type()

    __hash__ = None  # type: ignore[assignment]

    def of(self, row_type: type[R]) -> list[R]:
        """All rows of a type."""
        return list(self._of.get(row_type, {}).values())  # type: ignore[arg-type]

    def having(self, row_type: type[R], field: str, value: object) -> list[R]:
        """All rows of a type with this value in a field."""
        of_type = self._grouped.setdefault(row_type, {})
        if field not in of_type:
            of_type[field] = defaultdict(list)
            for row in self.of(row_type):
                of_type[field][getattr(row, field)].append(row)
        return list(of_type[field].get(value, ()))  # type: ignore[arg-type]

    def get(self, row_type: type[R], row_id: UUID) -> R:
        """Return a row that must exist."""
        found = self.find(row_type, row_id)
        if found is None:
            raise LookupError(f"no {row_type.__name__} {row_id} among the rows")
        return found

    def find(self, row_type: type[R], row_id: UUID | None) -> R | None:
        """The row, if it is here."""
        if row_id is None:
            return None
        return self._of.get(row_type, {}).get(row_id)  # type: ignore[return-value]

    def by_type(self) -> dict[str, dict[UUID, Row]]:
        """Return the rows by the table's name, for comparison."""
        return {kind.TABLE: rows for kind, rows in self._of.items() if rows}

    def all(self) -> list[Row]:
        """Every row."""
        return [row for rows in self._of.values() for row in rows.values()]

    def ids(self) -> frozenset[UUID]:
        """The ids of all rows."""
        return frozenset(row_id for rows in self._of.values() for row_id in rows)

    def copy(self) -> "Rows":
        """Return a copy, to continue in memory only."""
        return Rows(self.all(), self.waiting_events)

    def take(self, effect: Effect) -> None:
        """Apply one effect; effects that change no row leave everything as it is."""
        match effect:
            case Add(row, once):
                if once is None or not self._has(row, once):
                    self._put(row)
            case Change(row_type, row_id, fields):
                row = self.get(row_type, row_id)
                self._put(row.model_copy(update=dict(fields)))
            case Remove(row_type, row_id):
                self._of[row_type].pop(row_id)
                self._grouped.pop(row_type, None)
            case Issue(row, _):
                self.take(row)
            case Do(_, _, Change() as left):
                self.take(left)
            case Heard():
                self.waiting_events = tuple(
                    one for one in self.waiting_events if not self._is_handled(effect, one)
                )
            case Bear() | Wake() | WakeOpen() | Announce() | Watch() | Do():
                pass

    def _is_handled(self, heard: Heard, event: InboxEvent) -> bool:
        if heard.event_id is None:
            return event.object_id == heard.object_id
        asked = next((one for one in self.waiting_events if one.id == heard.event_id), None)
        return event.id == heard.event_id or (
            asked is not None
            and event.object_id == asked.object_id
            and heard.until is not None
            and event.received_at <= heard.until
        )

    def _has(self, row: Row, once: str) -> bool:
        value = getattr(row, once)
        return any(getattr(one, once) == value for one in self.of(type(row)))

    def _put(self, row: Row) -> None:
        self._of.setdefault(type(row), {})[row.id] = row
        self._grouped.pop(type(row), None)


@dataclass(slots=True)
class Facts:
    """The facts of a decision beside its rows; a kind adds its own."""

    at: datetime
    """The account's now; for a step, not before it is due."""
    real_at: datetime
    new_id: Callable[[], UUID]
    """Ids are not pure, so they are handed in: a counter in tests, UUIDv7 in the product."""
    clock_at: datetime | None = None
    """The account's frozen test clock."""
    answer: Any = None
    """The provider's answer to the decision's own call; None before it was made."""
    database_at: datetime | None = None
    """The real time by the database, if it was asked: what another worker compares is noted by it,
    because their clocks may differ.
    """
    revision: int | None = None
    """Rises whenever the matter is woken; None: not read. With the same nobody changed its rows."""

    @property
    def looked_at(self) -> datetime:
        """The instant up to which the decision covers received events: before its call, if any."""
        asked_at: datetime | None = self.answer.asked_at if self.answer is not None else None
        return asked_at or self.database_at or self.real_at


F_co = TypeVar("F_co", bound=Facts, covariant=True)


class LostUpdate(Exception):
    """A decision would overwrite a value that it has written itself since it read the row."""


@dataclass(slots=True)
class Work(Generic[F_co]):
    """One decision in the making."""

    rows: Rows
    facts: F_co
    effects: list[Effect] = field(default_factory=list)
    call: Any = None
    """The call to make at the provider; the same decision is then made again with its answer."""
    result: str | None = None
    """The result of the step; None leaves its key free, for another try."""

    def do(self, effect: Effect) -> None:
        """Append an effect, and apply it."""
        self.effects.append(effect)
        self.rows.take(effect)

    def do_first(self, effect: Do[Any]) -> None:
        """Have a verb carried out before all others of the decision; rows are written before it."""
        self.effects.insert(0, effect)
        self.rows.take(effect)

    def add(self, row: R, once: str | None = None) -> R:
        """Insert a row."""
        self.do(Add(row, once))
        return row

    def change(self, row: R, **fields: Any) -> R:
        """Overwrite fields of a row as it was read; return the changed row. Errors: LostUpdate."""
        self._demand_fresh(row, fields)
        self.do(Change(type(row), row.id, fields))
        return self.rows.get(type(row), row.id)

    def remove(self, row: Row) -> None:
        """Delete a row."""
        self.do(Remove(type(row), row.id))

    def issue(self, row: R, series: str, **fields: Any) -> R:
        """Overwrite fields of a row together with the next number of a series. Errors:
        LostUpdate.
        """
        self._demand_fresh(row, fields)
        self.do(Issue(Change(type(row), row.id, fields), series))
        return self.rows.get(type(row), row.id)

    def _demand_fresh(self, read: R, fields: Mapping[str, Any]) -> None:
        """Refuse to reckon with what was read before an earlier effect changed it."""
        now = self.rows.get(type(read), read.id)
        if now is read:
            return
        for name, value in fields.items():
            if getattr(now, name) not in (getattr(read, name), value):
                raise LostUpdate(f"{type(read).__name__}.{name} of {read.id}")

    def announce(
        self,
        account_id: UUID,
        action: str,
        subject: str,
        facts: Mapping[str, Any],
        type: str | None = None,
    ) -> None:
        """Announce one fact as audit row and event."""
        self.do(Announce(account_id, action, subject, facts, type))
