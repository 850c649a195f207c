"""Standing orders a test gives the sandbox: faults, webhook plans, card scripts.

They live in one table, so they survive a restart; each counts what it saw and what it hit.
"""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sandbox.shapes import Json
from sandbox.store import Store, dump


@dataclass(frozen=True)
class Plan:
    """One standing order."""

    id: int
    body: Json
    seen: int
    """Requests or events that matched it so far."""
    hits: int
    """Times that it acted."""


def add(store: Store, kind: str, body: Json) -> int:
    """Store an order; return its number."""
    made = store.run("INSERT INTO plans (kind, body) VALUES (?, ?)", kind, dump(body))
    return int(made.lastrowid or 0)


def all_of(store: Store, kind: str) -> list[Plan]:
    """Return orders of one kind, oldest first."""
    found = store.rows("SELECT * FROM plans WHERE kind = ? ORDER BY id", kind)
    return [Plan(row["id"], json.loads(row["body"]), row["seen"], row["hits"]) for row in found]


def count(store: Store, plan: Plan, *, hit: bool) -> None:
    """Note that an order matched, and whether it acted."""
    store.run("UPDATE plans SET seen = seen + 1, hits = hits + ? WHERE id = ?", int(hit), plan.id)


def remove(store: Store, kind: str, number: int | None = None) -> int:
    """Delete one order, or all of a kind; return how many."""
    if number is None:
        return store.run("DELETE FROM plans WHERE kind = ?", kind).rowcount
    return store.run("DELETE FROM plans WHERE kind = ? AND id = ?", kind, number).rowcount


def concerns(match: Json, subjects: list[Json]) -> bool:
    """True if the `customer` and `metadata` of a match belong to one of the subjects."""
    customer, metadata = match.get("customer"), match.get("metadata") or {}
    if not customer and not metadata:
        return True
    return any(_concerns(customer, metadata, subject) for subject in subjects)


def _concerns(customer: str | None, metadata: Json, subject: Json) -> bool:
    owner = subject["id"] if subject.get("object") == "customer" else subject.get("customer")
    if customer and owner != customer:
        return False
    carried = subject.get("metadata") or {}
    return all(carried.get(key) == value for key, value in metadata.items())


def matches_any(patterns: list[str] | None, word: str) -> bool:
    """True if a word fits one of the patterns (`charge.*`); an empty list fits everything."""
    return not patterns or any(fnmatchcase(word, pattern) for pattern in patterns)
