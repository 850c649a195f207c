"""The search queries: one statement per kind of object that can have the name, by index."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.insight.search.kinds import KINDS, Kind, Row
from billing.insight.search.schemas import Found

MOST: Final = 50
# Maximum of objects with one name that are sorted to find the newest. The limit also keeps the
# planner from scanning a whole table in order of time.
_MOST_LOOKED_AT: Final = 1000
_MATCHED: Final = "matched "


async def search(connection: AsyncConnection, name: str) -> list[Found]:
    """Return the newest objects that have this name, newest first."""
    found = []
    for kind in KINDS:
        query = finding(kind, name)
        if query is not None:
            rows = (await connection.execute(query)).mappings()
            found += [_show(kind, row) for row in rows]
    return sorted(found, key=lambda one: one.at, reverse=True)[:MOST]


def finding(kind: Kind, name: str) -> Select[Any] | None:
    """Query the newest rows of a kind that have the name; None if the kind cannot have it."""
    tests = _tests(kind, name)
    if not tests:
        return None
    shown = [column for column in kind.table.c if not isinstance(column.type, JSONB)]
    hits = select(*shown, *(test.label(_MATCHED + field) for field, test in tests.items()))
    hits = hits.where(or_(*tests.values())).limit(_MOST_LOOKED_AT)
    if kind.only is not None:
        hits = hits.where(kind.only)
    hit = hits.subquery()
    newest = hit.c[kind.at or kind.key].desc()
    return select(hit).order_by(newest).limit(MOST)


def _tests(kind: Kind, name: str) -> dict[str, ColumnElement[bool]]:
    """Return the fields that may have the name, each with its condition."""
    row_id = ids.parse(kind.prefix, name) if kind.prefix and kind.is_found_by_id else None
    found = {} if row_id is None else {"id": kind.table.c.id == row_id}
    found |= {field: column == name for field, column in kind.names.items()}
    same = func.lower(literal(name))
    return found | {field: func.lower(column) == same for field, column in kind.any_case.items()}


def _show(kind: Kind, row: Row) -> Found:
    key = row[kind.key]
    matched = (field for field in row if field.startswith(_MATCHED) and row[field])
    return Found(
        kind=kind.name,
        id=ids.encode(kind.prefix, key) if kind.prefix else key,
        account_id=row[kind.account] if kind.account else None,
        words=kind.words(row),
        status=row[kind.status] if kind.status else None,
        at=row[kind.at] if kind.at else ids.born_at(key),
        matched=next(matched).removeprefix(_MATCHED),
    )
