"""The fault plan: what goes wrong with which request, before or after its effect.

A fault is an order with a match (method, path, customer, metadata), a count and a kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sandbox import plans
from sandbox.shapes import Json
from sandbox.store import Store

FaultKind = Literal[
    "timeout_before",
    "timeout_after",
    "reset",
    "reset_after",
    "error_400_stored",
    "error_403",
    "error_404_missing",
    "error_429",
    "conflict_409",
    "error_500_unstored",
    "error_500_stored",
    "error_500_after",
    "slow",
    "hang",
    "malformed",
]
DEFAULT_HANG_SECONDS = 15.0


@dataclass(frozen=True)
class Fault:
    """The fault of one request."""

    kind: str
    seconds: float
    """Seconds for which `slow` waits, `hang` works, and the timeouts hold the connection."""


def match(store: Store, method: str, path: str, subjects: Callable[[], list[Json]]) -> Fault | None:
    """Return the first order that acts on this request; every matching order counts it.

    `subjects` gives the request's parameters and the object its path names.
    """
    chosen: Fault | None = None
    orders = plans.all_of(store, "fault")
    known = subjects() if orders else []
    for order in orders:
        if not _fits(order.body["match"], method, path, known):
            continue
        acts = chosen is None and _turn(order)
        with store.transaction():
            plans.count(store, order, hit=acts)
        if acts:
            seconds = order.body.get("seconds")
            default = 1.0 if order.body["kind"] == "slow" else DEFAULT_HANG_SECONDS
            chosen = Fault(order.body["kind"], default if seconds is None else seconds)
    return chosen


def _fits(match: Json, method: str, path: str, subjects: list[Json]) -> bool:
    if match.get("method") not in (None, method):
        return False
    wanted = match.get("path")
    if wanted and not (path.startswith(wanted) or plans.matches_any([wanted], path)):
        return False
    return plans.concerns(match, subjects)


def _turn(order: plans.Plan) -> bool:
    """True from the nth match on, for the requested number of times."""
    if order.seen + 1 < order.body.get("nth", 1):
        return False
    times = order.body.get("times")
    return times is None or order.hits < times
