"""Deliveries: which event goes out when, how often and in what order.

By default each event is sent once, at once and in order per customer; plans change that.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass

from sandbox import clock, plans
from sandbox.shapes import Json
from sandbox.store import Store

FAST_STEP_SECONDS = 0.2
FAST_CAP_SECONDS = 5.0
FAST_FOR_SECONDS = 300.0
SLOW_STEP_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 3 * 86_400.0
MAX_COPIES = 50


@dataclass(frozen=True)
class Delivery:
    """One posting of one event that is due."""

    id: int
    event: str
    lane: str
    """Deliveries of one lane go out one after the other: the customer, or the event itself."""
    attempts: int
    first_at: float


@dataclass
class _Fate:
    """Effect of the webhook plans on one new event."""

    state: str
    due_at: float
    position: float
    copies: int = 1

    def bend(self, order: plans.Plan, now: float) -> None:
        """Apply one plan on top of the earlier ones."""
        body = order.body
        match body["action"]:
            case "drop":
                self.state = "dropped"
            case "hold":
                self.state = "held"
            case "duplicate":
                self.copies = min(self.copies + body["copies"], MAX_COPIES)
            case "delay":
                self.due_at = now + body["seconds"]
            case "shuffle":
                shift = random.Random(f"{body['seed']}/{order.seen}").random() * body["seconds"]
                self.due_at = self.position = now + shift
            case other:
                raise ValueError(f"no plan of webhooks does {other!r}")


def plan(store: Store, event: Json, customer: str | None) -> None:
    """Insert the deliveries of a new event, as the webhook plans require."""
    now = clock.real()
    fate = _Fate("pending", now, now)
    for order in plans.all_of(store, "webhook"):
        body = order.body
        fits = plans.matches_any(body.get("types"), event["type"])
        if not fits or not plans.concerns(body, [event["data"]["object"]]):
            continue
        acts = body.get("times") is None or order.hits < body["times"]
        plans.count(store, order, hit=acts)
        if acts:
            fate.bend(order, now)
    for _ in range(fate.copies):
        _insert(store, event, customer, fate.state, fate.due_at, fate.position)


def again(store: Store, event: Json, customer: str | None, copies: int) -> None:
    """Deliver an old event once more, regardless of its earlier deliveries."""
    now = clock.real()
    for _ in range(copies):
        _insert(store, event, customer, "pending", now, now)


def _insert(
    store: Store,
    event: Json,
    customer: str | None,
    state: str,
    due_at: float,
    position: float,
) -> None:
    store.run(
        "INSERT INTO deliveries (event, type, customer, state, position, due_at, first_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        event["id"], event["type"], customer, state, position, due_at, due_at,
    )  # fmt: skip


def release(store: Store, chosen: Json) -> int:
    """Release held deliveries in the requested order; return how many.

    `chosen` may have customer, types, `events` (their order is the order of delivery),
    `order` (created | reverse | shuffle) and `seed`.
    """
    held = [
        row
        for row in store.rows("SELECT * FROM deliveries WHERE state = 'held' ORDER BY id")
        if chosen.get("customer") in (None, row["customer"])
        and plans.matches_any(chosen.get("types"), row["type"])
        and (chosen.get("events") is None or row["event"] in chosen["events"])
    ]
    if chosen.get("events") is not None:
        held.sort(key=lambda row: chosen["events"].index(row["event"]))
    elif chosen.get("order") == "reverse":
        held.reverse()
    elif chosen.get("order") == "shuffle":
        random.Random(chosen.get("seed", 0)).shuffle(held)
    now = clock.real()
    for place, row in enumerate(held):
        # A microsecond apart: the position alone decides who goes first.
        store.run(
            "UPDATE deliveries SET state = 'pending', position = ?, due_at = ?, first_at = ?"
            " WHERE id = ?",
            now + place * 1e-6, now, now, row["id"],
        )  # fmt: skip
    return len(held)


def due(store: Store, now: float, busy: Collection[str], limit: int) -> list[Delivery]:
    """Return the deliveries that may go out now, in order, without busy lanes."""
    marks = ", ".join("?" * len(busy))
    found = store.rows(
        "SELECT id, event, coalesce(customer, event) AS lane, attempts, first_at FROM deliveries"  # noqa: S608
        f" WHERE state = 'pending' AND due_at <= ? AND coalesce(customer, event) NOT IN ({marks})"
        " ORDER BY position, id LIMIT ?",
        now,
        *busy,
        limit,
    )
    return [Delivery(*row) for row in found]


def next_due(store: Store) -> float | None:
    """Return the time at which the earliest open delivery is due."""
    found = store.row("SELECT min(due_at) AS due FROM deliveries WHERE state = 'pending'")
    return found["due"] if found else None


def delivered(store: Store, delivery: Delivery, answer: str) -> None:
    """Record that the receiver answered 2xx."""
    store.run(
        "UPDATE deliveries SET state = 'delivered', attempts = attempts + 1, last_answer = ?"
        " WHERE id = ?",
        answer,
        delivery.id,
    )


def failed(store: Store, delivery: Delivery, answer: str) -> None:
    """Record a failed delivery: retry later, or give up after three days."""
    now = clock.real()
    age = now - delivery.first_at
    wait = min(FAST_STEP_SECONDS * 2 ** min(delivery.attempts, 10), FAST_CAP_SECONDS)
    if age > FAST_FOR_SECONDS:
        wait = SLOW_STEP_SECONDS
    state = "failed" if age > GIVE_UP_AFTER_SECONDS else "pending"
    store.run(
        "UPDATE deliveries SET state = ?, due_at = ?, attempts = attempts + 1, last_answer = ?"
        " WHERE id = ?",
        state,
        now + wait,
        answer,
        delivery.id,
    )


def open_count(store: Store, event: str) -> int:
    """Return the number of an event's postings without a 2xx so far."""
    found = store.row(
        "SELECT count(*) AS n FROM deliveries WHERE event = ? AND state <> 'delivered'", event
    )
    return int(found["n"]) if found else 0
