"""The journal: every request, and every movement of money, in the order they happened.

It is the oracle for "charged once": append-only, and written in the transaction of the effect.
"""

import json
import sqlite3
from typing import Any

from sandbox import clock
from sandbox.shapes import Json
from sandbox.store import Store, dump

MAX_ROWS = 10_000


def write(
    store: Store,
    entry: str,
    name: str,
    subject: Json,
    *,
    request: str | None = None,
    key: str | None = None,
    details: Json | None = None,
) -> None:
    """Add one row. `subject` lends its id, customer, intent, amount, currency and metadata."""
    is_customer = subject.get("object") == "customer"
    is_intent = subject.get("object") == "payment_intent"
    store.run(
        "INSERT INTO journal (at, entry, request, name, object, customer, payment_intent, key,"
        " amount, currency, metadata, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        clock.real(),
        entry,
        request,
        name,
        subject.get("id"),
        _plain(subject.get("id") if is_customer else subject.get("customer")),
        _plain(subject.get("id") if is_intent else subject.get("payment_intent")),
        key,
        subject.get("amount") if isinstance(subject.get("amount"), int) else None,
        _plain(subject.get("currency")),
        dump(subject.get("metadata") or {}),
        dump(details or {}),
    )


def read(store: Store, query: Json) -> list[Json]:
    """Return matching rows, oldest first.

    `query` may have entry, name, object, customer, payment_intent, key, request (equal),
    `since` (rows after that seq), `limit` or `last` (how many from the start or the end), and
    `metadata` (a map, every pair must match).
    """
    where, arguments = ["1"], []
    for column in ("entry", "name", "object", "customer", "payment_intent", "key", "request"):
        if query.get(column):
            where.append(f"{column} = ?")
            arguments.append(query[column])
    if query.get("since"):
        where.append("seq > ?")
        arguments.append(int(query["since"]))
    for key, value in (query.get("metadata") or {}).items():
        where.append("EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ? AND value = ?)")
        arguments += [key, value]
    newest_first = "DESC" if query.get("last") else "ASC"
    limit = min(int(query.get("last") or query.get("limit") or MAX_ROWS), MAX_ROWS)
    statement = (
        f"SELECT * FROM journal WHERE {' AND '.join(where)}"  # noqa: S608
        f" ORDER BY seq {newest_first} LIMIT ?"
    )
    found = [_row(row) for row in store.rows(statement, *arguments, limit)]
    return found[::-1] if query.get("last") else found


def _row(found: sqlite3.Row) -> Json:
    row = dict(found)
    row["metadata"] = json.loads(row["metadata"])
    return {**row, **json.loads(row.pop("details"))}


def _plain(value: Any) -> str | None:
    """Return the id, even of an expanded object."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None
