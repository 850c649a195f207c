"""One SQLite file holds every object, plan, delivery and journal row of the sandbox.

Calls are synchronous and take microseconds; one connection and one thread make every
transaction serial, so nothing here needs a lock.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.shapes import Json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    customer TEXT,
    payment_intent TEXT,
    source TEXT,
    body TEXT NOT NULL,
    hidden TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, created, seq);
CREATE INDEX IF NOT EXISTS objects_by_customer ON objects (customer, kind, created, seq)
    WHERE customer IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_intent ON objects (payment_intent, kind)
    WHERE payment_intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_source ON objects (source, kind) WHERE source IS NOT NULL;

CREATE TABLE IF NOT EXISTS deleted (id TEXT PRIMARY KEY, kind TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    stored_at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    type TEXT NOT NULL,
    customer TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'held', 'delivered', 'dropped', 'failed')),
    position REAL NOT NULL,
    due_at REAL NOT NULL,
    first_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_answer TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (position, id)
    WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);

CREATE TABLE IF NOT EXISTS plans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('fault', 'webhook', 'script')),
    body TEXT NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0,
    hits INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due_at REAL NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS violations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    place TEXT NOT NULL,
    problem TEXT NOT NULL,
    UNIQUE (place, problem)
);

CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    entry TEXT NOT NULL CHECK (entry IN ('request', 'effect', 'note')),
    request TEXT,
    name TEXT NOT NULL,
    object TEXT,
    customer TEXT,
    payment_intent TEXT,
    key TEXT,
    amount INTEGER,
    currency TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    details TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS journal_by_customer ON journal (customer, entry, seq)
    WHERE customer IS NOT NULL;
CREATE INDEX IF NOT EXISTS journal_by_key ON journal (key) WHERE key IS NOT NULL;
"""

_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS journal_keeps_rows BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS journal_keeps_words BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""

_TABLES = (
    "objects", "deleted", "idempotency", "deliveries", "plans", "jobs", "violations", "journal",
)  # fmt: skip


def dump(value: Any) -> str:
    """Return compact JSON, as it is stored and sent."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Store:
    """The open database and the objects in it."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a kill -9 loses no committed row, a power cut may."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Built in one thread and served in another is fine: only one of them ever uses it.
        self._db = sqlite3.connect(
            path, isolation_level=None, cached_statements=512, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-65536"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA + _APPEND_ONLY)

    def close(self) -> None:
        """Close the file; an open transaction is lost."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction, all or nothing; never await inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        """Execute one prepared statement."""
        return self._db.execute(statement, arguments)

    def rows(self, statement: str, *arguments: Any) -> list[sqlite3.Row]:
        """Return every row of a query."""
        return self._db.execute(statement, arguments).fetchall()

    def row(self, statement: str, *arguments: Any) -> sqlite3.Row | None:
        """Return the first row of a query, if any."""
        found: sqlite3.Row | None = self._db.execute(statement, arguments).fetchone()
        return found

    # Objects

    def insert(self, body: Json, **hidden: Any) -> Json:
        """Add an object. `hidden` is what only the sandbox knows about it."""
        self.run(
            "INSERT INTO objects (id, kind, created, customer, payment_intent, source, body,"
            " hidden) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            body["id"], body["object"], body["created"], *_links(body), dump(body), dump(hidden),
        )  # fmt: skip
        return body

    def save(self, body: Json) -> Json:
        """Write an object's new state."""
        self.run(
            "UPDATE objects SET customer = ?, payment_intent = ?, source = ?, body = ?"
            " WHERE id = ?",
            *_links(body), dump(body), body["id"],
        )  # fmt: skip
        return body

    def get(self, kind: str, object_id: str) -> Json | None:
        """Return an object by its id, or None."""
        found = self.row("SELECT body FROM objects WHERE id = ? AND kind = ?", object_id, kind)
        return json.loads(found["body"]) if found else None

    def find(self, object_id: str) -> Json | None:
        """Return an object of any kind; the stub of a deleted one."""
        found = self.row("SELECT body FROM objects WHERE id = ?", object_id)
        if found:
            body: Json = json.loads(found["body"])
            return body
        gone = self.row("SELECT kind FROM deleted WHERE id = ?", object_id)
        return {"id": object_id, "object": gone["kind"], "deleted": True} if gone else None

    def delete(self, kind: str, object_id: str) -> Json:
        """Delete an object; only its stub is left."""
        self.run("DELETE FROM objects WHERE id = ? AND kind = ?", object_id, kind)
        self.run("INSERT OR IGNORE INTO deleted (id, kind) VALUES (?, ?)", object_id, kind)
        return {"id": object_id, "object": kind, "deleted": True}

    def hidden(self, object_id: str) -> Json:
        """Return the fields of an object that only the sandbox knows."""
        found = self.row("SELECT hidden FROM objects WHERE id = ?", object_id)
        return json.loads(found["hidden"]) if found else {}

    def hide(self, object_id: str, **changes: Any) -> None:
        """Change what only the sandbox knows about an object."""
        merged = {**self.hidden(object_id), **changes}
        self.run("UPDATE objects SET hidden = ? WHERE id = ?", dump(merged), object_id)

    def select(self, kind: str, where: str = "", arguments: Sequence[Any] = ()) -> list[Json]:
        """Return objects of one kind, oldest first; `where` begins with AND."""
        statement = f"SELECT body FROM objects WHERE kind = ? {where} ORDER BY seq"  # noqa: S608
        return [json.loads(found["body"]) for found in self.rows(statement, kind, *arguments)]

    # Forgetting

    def reset(self) -> None:
        """Forget everything, the journal too."""
        with self.transaction():
            self.run("DROP TRIGGER journal_keeps_rows")
            for table in _TABLES:
                self.run(f"DELETE FROM {table}")  # noqa: S608
        self._db.executescript(_APPEND_ONLY)

    def reset_customer(self, customer: str) -> None:
        """Forget one customer's objects and deliveries; the journal keeps its rows."""
        self.run("DELETE FROM objects WHERE customer = ?", customer)
        self.run("DELETE FROM deliveries WHERE customer = ?", customer)
        self.run(
            "DELETE FROM plans WHERE kind = 'script' AND json_extract(body, '$.target') = ?",
            customer,
        )


def _links(body: Json) -> tuple[str | None, str | None, str | None]:
    """Return the ids an object is listed by: its customer, its intent, its source."""
    kind = body["object"]
    if kind == "customer":
        return body["id"], None, None
    if kind == "event":
        subject = body["data"]["object"]
        is_customer = subject.get("object") == "customer"
        return (
            subject.get("id") if is_customer else subject.get("customer"),
            None,
            subject.get("id"),
        )
    source = body.get("source") if kind == "balance_transaction" else body.get("charge")
    return body.get("customer"), body.get("payment_intent"), source
