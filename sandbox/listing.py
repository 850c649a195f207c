"""Lists: newest first, by pages that start after or end before an object.

One function serves every resource; a resource only says which filters it takes.
"""

import json
from dataclasses import dataclass
from typing import Any

from sandbox import problems
from sandbox.calls import Call
from sandbox.shapes import Json

DEFAULT_LIMIT = 10

_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
ABSENT = object()
"""As a filter: the field must be null."""


@dataclass(frozen=True)
class Prefix:
    """A filter: the field begins with this text."""

    text: str


@dataclass(frozen=True)
class Delivered:
    """A filter on events: every posting was answered with 2xx, or some were not."""

    success: bool


_COLUMNS = ("id", "customer", "payment_intent", "source")


def page(call: Call, kind: str, url: str, filters: dict[str, Any] | None = None) -> Json:
    """Return one page of a kind. `filters` maps a link column or a body field to the value wanted.

    The call's limit, starting_after, ending_before and created are applied; a filter of None
    is left out.
    """
    where, arguments = _conditions(call, kind, filters or {})
    limit = call.params.get("limit", DEFAULT_LIMIT)
    backwards = "ending_before" in call.params
    order = "ASC" if backwards else "DESC"
    found = call.store.rows(
        f"SELECT body FROM objects WHERE {' AND '.join(where)}"  # noqa: S608
        f" ORDER BY created {order}, seq {order} LIMIT ?",
        *arguments,
        limit + 1,
    )
    data = [json.loads(row["body"]) for row in found[:limit]]
    if backwards:
        data.reverse()
    return {"object": "list", "data": data, "has_more": len(found) > limit, "url": url}


def _conditions(call: Call, kind: str, filters: dict[str, Any]) -> tuple[list[str], list[Any]]:
    where, arguments = ["kind = ?"], [kind]
    for name, value in filters.items():
        if value is not None:
            condition, values = _condition(name, value)
            where.append(condition)
            arguments += values
    created = call.params.get("created")
    if isinstance(created, int):
        created = {"gte": created, "lte": created}
    for bound, instant in (created or {}).items():
        where.append(f"created {_BOUNDS[bound]} ?")
        arguments.append(instant)
    _edge(call, kind, where, arguments)
    return where, arguments


def _condition(name: str, value: Any) -> tuple[str, list[Any]]:
    column = name if name in _COLUMNS else f"json_extract(body, '$.{name}')"
    if value is ABSENT:
        return f"{column} IS NULL", []
    if isinstance(value, Prefix):
        return f"substr({column}, 1, {len(value.text)}) = ?", [value.text]
    if isinstance(value, Delivered):
        some_open = (
            "EXISTS (SELECT 1 FROM deliveries AS posting WHERE posting.event = objects.id"
            " AND posting.state <> 'delivered')"
        )
        return ("NOT " if value.success else "") + some_open, []
    values = value if isinstance(value, list) else [value]
    return f"{column} IN ({', '.join('?' * len(values))})", values


def _edge(call: Call, kind: str, where: list[str], arguments: list[Any]) -> None:
    """Start after, or end before, one object of the list."""
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after and before:
        message = "You may only specify one of these parameters: starting_after, ending_before."
        raise problems.invalid(message, code="parameters_exclusive")
    for object_id, param, sign in ((after, "starting_after", "<"), (before, "ending_before", ">")):
        if not object_id:
            continue
        found = call.store.row(
            "SELECT created, seq FROM objects WHERE id = ? AND kind = ?", object_id, kind
        )
        if found is None:
            raise problems.no_such(kind, object_id, param)
        where.append(f"(created, seq) {sign} (?, ?)")
        arguments += [found["created"], found["seq"]]
