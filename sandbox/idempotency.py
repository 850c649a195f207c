"""Idempotency keys as Stripe keeps them: the first answer once execution began, for a day.

Errors are kept too; refused parameters, conflicts and rate limits are not kept.
"""

import hashlib
import json
from dataclasses import dataclass

from sandbox import clock, problems
from sandbox.shapes import Json
from sandbox.store import Store, dump

KEPT_SECONDS = 24 * 3600
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Stored:
    """The answer first given under a key."""

    status: int
    body: Json


def fingerprint(endpoint: str, raw: Json) -> str:
    """The identity of a request: the endpoint and its parameters in any order."""
    text = json.dumps([endpoint, raw], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check(key: str) -> None:
    """Refuse a key that is too long with a 400."""
    if len(key) > MAX_KEY_LENGTH:
        raise problems.invalid(f"Idempotency keys have at most {MAX_KEY_LENGTH} characters.")


def lookup(store: Store, key: str, endpoint: str, print_: str) -> Stored | None:
    """Return the kept answer, if any; raise a 400 for another request under the same key."""
    found = store.row("SELECT * FROM idempotency WHERE key = ?", key)
    if found is None:
        return None
    if found["stored_at"] < clock.real() - KEPT_SECONDS:
        store.run("DELETE FROM idempotency WHERE key = ?", key)
        return None
    if found["fingerprint"] != print_:
        other = found["endpoint"] if found["endpoint"] != endpoint else None
        raise problems.key_reused(key, f"'{endpoint}' vs '{other}'" if other else None)
    return Stored(found["status"], json.loads(found["body"]))


def keep(store: Store, key: str, endpoint: str, print_: str, status: int, body: Json) -> None:
    """Keep the first answer; a later one never replaces it."""
    store.run(
        "INSERT OR IGNORE INTO idempotency (key, endpoint, fingerprint, status, body, stored_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        key, endpoint, print_, status, dump(body), clock.real(),
    )  # fmt: skip


def age(store: Store, hours: float) -> int:
    """Make every kept key older, so that a test sees what happens after pruning."""
    moved = store.run("UPDATE idempotency SET stored_at = stored_at - ?", hours * 3600)
    return moved.rowcount
