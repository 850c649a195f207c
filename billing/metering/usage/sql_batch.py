"""Record a batch of uses in one call of a SQL function, with arrays of rows as text."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import field, plain, record_texts
from billing.core.clock import real_now
from billing.core.prepared import Prepared, Row
from billing.metering.usage import rules
from billing.metering.usage.schemas import Recorded, Use, UseKind

_ANSWER: Final = ", ".join(["place", *(one.name for one in fields(Recorded))])
_BATCH: Final = (
    "p_accounts => CAST(:accounts AS uuid[]), p_kinds => CAST(:kinds AS usage_kind[]),"
    " p_uses => CAST(:uses AS usage_input[])"
)
_HOW: Final = "p_all => CAST(:full AS boolean), p_new => CAST(:new AS boolean)"
Wait = Literal["no", "soon", "until one is free", "until all are free"]
_FUNCTIONS: Final[dict[Wait, str]] = {
    "no": "usage_record_where_free",
    "soon": "usage_record_soon",
    "until one is free": "usage_record_once_free",
    "until all are free": "usage_record_with_top_ups",
}
_RECORD: Final = {
    wait: Prepared(text(f"SELECT {_ANSWER} FROM {function}({_BATCH}, {_HOW})"))  # noqa: S608 (constants)
    for wait, function in _FUNCTIONS.items()
}
_RECORD_ON_HOLDS: Final = Prepared(
    text(f"SELECT {_ANSWER} FROM usage_record_on_holds({_BATCH})")  # noqa: S608 (constants)
)

Owned = Sequence[tuple[int, Sequence[int]]]
"""Accounts by id (as an integer), in that order, each with the places of its uses."""
_TOP_UP: Final = "top_up"
"""The verdict of a row that is not a use: the account with this id needs a top-up."""
LOCKED: Final = "locked"
"""The verdict on a use whose account is locked elsewhere: nothing was done."""


class How(NamedTuple):
    """Ways to record uses."""

    full: bool = True
    """False omits recorded uses from the answers."""
    new: bool = False
    """True skips the look-up of existing records; an existing one is a unique violation."""
    wait: Wait = "until all are free"
    """The treatment of accounts locked elsewhere. `no`: skip their uses, answered `LOCKED`; `soon`:
    fail all uses with lock_not_available after a moment; `until one is free`: wait for any one
    account, and skip those that are locked then.
    """


AS_A_RULE: Final = How()


class Outcomes(NamedTuple):
    """Outcomes of uses, by place; after the commit the matters of `asking` must be woken."""

    answers: dict[int, Recorded]
    asking: Sequence[UUID] = ()
    """Accounts that these uses left below their top-up threshold."""


class Batch:
    """Uses of several accounts as arrays of the types `usage_kind` and `usage_input`.

    The uses of one account are adjacent, and each record id occurs once: `repeats` maps the places
    of others with the same id to the place of the first. Uses with the same number in `groups`
    (`share` in SQL) are paid together.
    """

    def __init__(self, uses: Sequence[Use], groups: Sequence[int], owned: Owned) -> None:
        self.hashes: list[int] = [0] * len(uses)
        self.ids: list[str] = [""] * len(uses)
        self.repeats: dict[int, int] = {}
        self.places: list[int] = []
        self._kinds: dict[UseKind, int] = {}
        self._names: list[str] = []
        self._hashed: dict[tuple[object, ...], int] = {}  # many uses of a batch share their body
        accounts: list[str] = []
        found: list[str] = []
        first: dict[str, int] = {}
        now = real_now()
        last: UseKind | None = None
        kind = 0
        for number, places in owned:
            account = f"{number:032x}"
            accounts.append(account)
            for place in places:
                use = uses[place]
                if use.kind is not last:
                    last = use.kind
                    kind = self._kinds.get(last) or self._new_kind(last)
                self.hashes[place] = self._hash(kind, use)
                key = use.record_id or rules.record_key(account, use.event_id, now)
                self.ids[place] = key
                before = first.setdefault(key, place)
                if before != place:
                    self.repeats[place] = before
                    continue
                self.places.append(place)
                found.append(
                    f"{len(self.places)},{len(accounts)},{kind},{groups[place]},{key},"
                    f"{self.hashes[place]},{_fields(use)}"
                )
        self.values = {
            "accounts": plain(accounts),
            "kinds": record_texts([_kind_fields(kind) for kind in self._kinds]),
            "uses": record_texts(found),
        }

    def _new_kind(self, kind: UseKind) -> int:
        self._names.append(repr(tuple(kind)))
        number = self._kinds[kind] = len(self._names)
        return number

    def _hash(self, kind: int, use: Use) -> int:
        body = use.body()
        known = self._hashed.get((kind, body))
        if known is None:
            known = self._hashed[kind, body] = rules.body_hash(self._names[kind - 1], body)
        return known


def _fields(use: Use) -> str:
    """Format the use's own fields of the type `usage_input`, in its order."""
    return (
        f"{field(use.event_id)},{use.amount},{field(use.at.isoformat()) if use.at else ''},"
        f"{field(use.user_id)},{field(use.organization_id)},{field(use.session_id)},"
        f"{field(use.request_id)},{field(use.detail)},{use.hold_id or ''}"
    )


def _kind_fields(kind: UseKind) -> str:
    """Format the fields of the type `usage_kind`, in its order."""
    names = (
        kind.product_id, kind.service_type, kind.feature_type, kind.operation, kind.model,
        kind.method,
    )  # fmt: skip
    return f"{','.join(map(field, names))},{kind.defer}"


def by_account(uses: Sequence[Use]) -> Owned:
    """Group uses by account, in the order of ids: neighbours share index pages."""
    found: dict[int, list[int]] = {}  # by integer, because a UUID recomputes its hash each time
    for place, use in enumerate(uses):
        found.setdefault(use.account_id.int, []).append(place)
    return sorted(found.items())


async def record(
    connection: AsyncConnection,
    uses: Sequence[Use],
    groups: Sequence[int],
    owned: Owned | None = None,
    how: How = AS_A_RULE,
) -> Outcomes:
    """Record uses, of all accounts or those in `owned`; return the outcome of each."""
    batch = Batch(uses, groups, by_account(uses) if owned is None else owned)
    found = await _RECORD[how.wait].all(connection, **batch.values, full=how.full, new=how.new)
    asking = [row["id"] for row in found if row["verdict"] == _TOP_UP]
    answers = _answers(batch, found[: len(found) - len(asking)])
    return Outcomes(answers, asking)


async def record_on_holds(connection: AsyncConnection, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record uses that are paid by holds, each by its own; return the outcomes by place.

    Verdicts besides those of `record`: HOLD_NOT_FOUND, HOLD_RESOLVED, HOLD_EXCEEDED,
    HOLD_SCOPE.
    """
    batch = Batch(uses, [1] * len(uses), by_account(uses))
    return _answers(batch, await _RECORD_ON_HOLDS.all(connection, **batch.values))


def _answers(batch: Batch, found: Iterable[Row]) -> dict[int, Recorded]:
    answers = {batch.places[row.pop("place") - 1]: Recorded(**row) for row in found}
    for place, first in batch.repeats.items():
        known = answers.get(first) or Recorded("recorded", UUID(hex=batch.ids[first]))
        same = batch.hashes[place] == batch.hashes[first]
        answers[place] = _repeat(known, same=same)
    return answers


def _repeat(first: Recorded, *, same: bool) -> Recorded:
    """Return the answer for an event that occurs again in the same batch."""
    if first.verdict == LOCKED:
        return first
    if not same:
        return Recorded("conflict", first.id)
    return replace(first, verdict="duplicate") if first.verdict == "recorded" else first
