"""Batches of uses as one call of the SQL function, written as array texts."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.arrays import plain, sparse, texts
from billing.core.prepared import Prepared
from billing.usage import rules
from billing.usage.schemas import Kind, Recorded, Use

_TYPES: Final = {
    "p_accounts": "uuid", "p_products": "text", "p_services": "text", "p_features": "text",
    "p_operations": "text", "p_models": "text", "p_methods": "text", "p_defers": "boolean",
    "r_account": "integer", "r_kind": "integer", "r_group": "integer", "r_id": "uuid",
    "r_hash": "bigint", "r_event": "text", "r_amount": "numeric", "r_at": "timestamptz",
    "r_user": "text", "r_organization": "text", "r_session": "text", "r_request": "text",
    "r_detail": "jsonb",
}  # fmt: skip
_RECORD: Final = Prepared(
    text(
        "SELECT * FROM usage_record_batch("  # noqa: S608 (constants)
        + ", ".join(f"{name} => CAST(:{name} AS {type_}[])" for name, type_ in _TYPES.items())
        + ", p_all => CAST(:p_all AS boolean), p_new => CAST(:p_new AS boolean))"
    )
)

_HELD_TYPES: Final = {
    name: type_
    for name, type_ in _TYPES.items()
    if name not in ("p_methods", "p_defers", "r_group")
} | {"r_hold": "uuid"}
_RECORD_HELD: Final = Prepared(
    text(
        "SELECT * FROM usage_held_batch("  # noqa: S608 (constants)
        + ", ".join(f"{name} => CAST(:{name} AS {type_}[])" for name, type_ in _HELD_TYPES.items())
        + ")"
    )
)


Owned = Sequence[tuple[int, Sequence[int]]]
"""Accounts, as the numbers of their ids and in that order, each with the places of its uses."""


class Batch:
    """Uses of some accounts side by side, one array text per column.

    The uses of one account lie together, and each record id is there once: `repeats` are the
    places of others with the same id, each with the place of the first. Uses with the same number
    in `groups` are paid together.
    """

    def __init__(self, uses: Sequence[Use], groups: Sequence[int], owned: Owned) -> None:
        self.hashes: list[int] = [0] * len(uses)
        self.ids: list[str] = [""] * len(uses)
        self.repeats: dict[int, int] = {}
        self.places: list[int] = []
        self._kinds: dict[Kind, int] = {}
        self._words: list[str] = []
        hashed: dict[tuple[object, ...], int] = {}  # many uses of a batch share their body
        accounts: list[str] = []
        numbers: list[int] = []
        kinds: list[int] = []
        first: dict[str, int] = {}
        last: Kind | None = None
        kind = 0
        for number, places in owned:
            account = f"{number:032x}"
            accounts.append(account)
            for place in places:
                use = uses[place]
                if use.kind is not last:
                    last = use.kind
                    kind = self._kinds.get(last) or self._new_kind(last)
                body = (kind, use.amount, use[4:11])
                known = hashed.get(body)
                self.hashes[place] = hashed[body] = known or self._hash(kind, use)
                self.ids[place] = key = use.fresh or rules.record_key(account, use.event_id)
                before = first.setdefault(key, place)
                if before != place:
                    self.repeats[place] = before
                    continue
                self.places.append(place)
                numbers.append(len(accounts))
                kinds.append(kind)
        self.values = {
            "p_accounts": plain(accounts),
            "r_account": plain(numbers),
            "r_kind": plain(kinds),
            **self._kind_columns(),
            **self._row_columns([uses[place] for place in self.places], groups),
        }

    def _new_kind(self, kind: Kind) -> int:
        self._words.append(repr(tuple(kind)))
        number = self._kinds[kind] = len(self._words)
        return number

    def _hash(self, kind: int, use: Use) -> int:
        facts = use[2:3] + (use[4:10] if use.hold_id is None else use[4:11])
        return rules.body_hash(self._words[kind - 1], facts)

    def _kind_columns(self) -> dict[str, str | None]:
        kinds = list(self._kinds)
        return {
            "p_products": texts([kind.product_id for kind in kinds]),
            "p_services": texts([kind.service_type for kind in kinds]),
            "p_features": texts([kind.feature_type for kind in kinds]),
            "p_operations": texts([kind.operation for kind in kinds]),
            "p_models": texts([kind.model for kind in kinds]),
            "p_methods": texts([kind.method for kind in kinds]),
            "p_defers": plain(kind.defer for kind in kinds),
        }

    def _row_columns(self, uses: Sequence[Use], groups: Sequence[int]) -> dict[str, str | None]:
        _, _, amounts, events, at, users, organizations, sessions, requests, details, *_ = zip(
            *uses, strict=True
        )
        return {
            "r_group": plain([groups[place] for place in self.places]),
            "r_id": plain([self.ids[place] for place in self.places]),
            "r_hash": plain([self.hashes[place] for place in self.places]),
            "r_event": sparse(events),
            "r_amount": plain(amounts),
            "r_at": sparse([one.isoformat() if one else None for one in at]),
            "r_user": sparse(users),
            "r_organization": sparse(organizations),
            "r_session": sparse(sessions),
            "r_request": sparse(requests),
            "r_detail": sparse(details),
        }

    def hold_values(self, uses: Sequence[Use]) -> dict[str, str | None]:
        """The columns for uses that holds pay."""
        holds = plain(uses[place].hold_id for place in self.places)
        return {name: self.values[name] for name in _HELD_TYPES if name in self.values} | {
            "r_hold": holds
        }


def by_account(uses: Sequence[Use]) -> Owned:
    """The accounts of uses: in the order of their ids, in which neighbours of an index are met."""
    found: dict[int, list[int]] = {}  # by number, for an id makes its hash anew each time
    for place, use in enumerate(uses):
        found.setdefault(use.account_id.int, []).append(place)
    return sorted(found.items())


async def record(
    connection: AsyncConnection,
    uses: Sequence[Use],
    groups: Sequence[int],
    owned: Owned | None = None,
    *,
    full: bool,
    new: bool = False,
) -> dict[int, Recorded]:
    """Record uses, of all accounts or of these; what became of each, by place.

    Without `full` those recorded are left out. With `new` nobody looks for the records first; a
    unique violation when one is there.
    """
    batch = Batch(uses, groups, by_account(uses) if owned is None else owned)
    rows = await _RECORD.tuples(connection, **batch.values, p_all=full, p_new=new)
    return _answers(batch, rows)


async def record_held(connection: AsyncConnection, uses: Sequence[Use]) -> dict[int, Recorded]:
    """Record uses that holds pay, each by its own; what became of each, by place.

    Verdicts beside those of `record`: HOLD_NOT_FOUND, HOLD_RESOLVED, HOLD_EXCEEDED.
    """
    batch = Batch(uses, [1] * len(uses), by_account(uses))
    return _answers(batch, await _RECORD_HELD.tuples(connection, **batch.hold_values(uses)))


def _answers(batch: Batch, rows: Iterable[tuple[Any, ...]]) -> dict[int, Recorded]:
    # The columns after the place are those of `Recorded`.
    answers = {batch.places[place - 1]: Recorded(*answer) for place, *answer in rows}
    for place, first in batch.repeats.items():
        known = answers.get(first) or Recorded("recorded", UUID(hex=batch.ids[first]))
        same = batch.hashes[place] == batch.hashes[first]
        answers[place] = _repeat(known, same=same)
    return answers


def _repeat(first: Recorded, *, same: bool) -> Recorded:
    """The answer for an event that the same batch had before."""
    if not same:
        return Recorded("conflict", first.id)
    return _with_verdict(first, "duplicate") if first.verdict == "recorded" else first


def _with_verdict(answer: Recorded, verdict: str) -> Recorded:
    return Recorded(
        verdict, answer.id, answer.meter, answer.unit_price, answer.total, answer.currency,
        answer.method, answer.status, answer.is_free, answer.is_included,
    )  # fmt: skip
