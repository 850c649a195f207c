"""Test clocks: the frozen time of the customers made with them.

Advancing answers `advancing` and becomes `ready` a moment later, with its events.
"""

from sandbox import jobs, listing, problems
from sandbox.calls import Call, Routes
from sandbox.parameters import PAGE, integer, required, text
from sandbox.resources import checkout_sessions, customers
from sandbox.shapes import Json, new_id

routes = Routes()

KIND = "test_helpers.test_clock"
KEPT_SECONDS = 30 * 86_400
READY_AFTER_SECONDS = 0.02


@routes.post(
    "/v1/test_helpers/test_clocks", {"frozen_time": required(integer(0)), "name": text(300)}
)
def create(call: Call) -> Json:
    """A clock standing at `frozen_time` (seconds)."""
    return _new(call, call.params["frozen_time"], call.params.get("name"))


def _new(call: Call, frozen_time: int, name: str | None) -> Json:
    now = call.now()
    clock: Json = {
        "id": new_id("clock"),
        "object": KIND,
        "created": now,
        "deletes_after": now + KEPT_SECONDS,
        "frozen_time": frozen_time,
        "livemode": False,
        "name": name,
        "status": "ready",
        "status_details": {},
    }
    call.store.insert(clock)
    call.emit("test_helpers.test_clock.created", clock)
    return clock


@routes.get("/v1/test_helpers/test_clocks", PAGE)
def index(call: Call) -> Json:
    """Clocks, newest first."""
    return listing.page(call, KIND, "/v1/test_helpers/test_clocks")


@routes.get("/v1/test_helpers/test_clocks/{test_clock}")
def retrieve(call: Call) -> Json:
    """One clock."""
    return call.load(KIND, call.path["test_clock"])


@routes.post(
    "/v1/test_helpers/test_clocks/{test_clock}/advance", {"frozen_time": required(integer(0))}
)
def advance(call: Call) -> Json:
    """Move a clock forward; sessions of its customers expire on the way."""
    clock = call.load(KIND, call.path["test_clock"])
    target = call.params["frozen_time"]
    if clock["status"] != "ready":
        raise problems.ApiError(
            429, "The test clock is advancing; wait until it is ready.", code="lock_timeout"
        )
    if target <= clock["frozen_time"]:
        raise problems.invalid(
            "The new frozen_time must be after the clock's current frozen_time.", "frozen_time"
        )
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": target}}
    call.store.save(clock)
    call.emit("test_helpers.test_clock.advancing", clock)
    jobs.later(call.store, READY_AFTER_SECONDS, "test_clock.ready", clock["id"])
    return clock


@jobs.verb("test_clock.ready")
def become_ready(call: Call, clock_id: str) -> None:
    """Make an advancing clock ready at its target time."""
    clock = call.store.get(KIND, clock_id)
    if clock is None or clock["status"] != "advancing":
        return
    _arrive(call, clock, clock["status_details"]["advancing"]["target_frozen_time"])


def _arrive(call: Call, clock: Json, frozen_time: int) -> None:
    clock |= {"frozen_time": frozen_time, "status": "ready", "status_details": {}}
    call.store.save(clock)
    for customer in _customers(call, clock["id"]):
        checkout_sessions.expire_overdue(call, customer["id"])
    call.emit("test_helpers.test_clock.ready", clock)


def put_on(call: Call, customer_id: str, frozen_time: int) -> Json:
    """Give a customer a clock, or move its clock; return the clock, ready at once."""
    customer = call.load("customer", customer_id)
    clock_id = customer["test_clock"]
    if clock_id is None:
        clock = _new(call, frozen_time, None)
        customer["test_clock"] = clock["id"]
        call.store.save(customer)
        return clock
    clock = call.load(KIND, clock_id)
    if frozen_time < clock["frozen_time"]:
        raise problems.invalid("A test clock moves forward only.", "frozen_time")
    _arrive(call, clock, frozen_time)
    return clock


@routes.delete("/v1/test_helpers/test_clocks/{test_clock}")
def delete(call: Call) -> Json:
    """Remove a clock and every customer on it."""
    clock = call.load(KIND, call.path["test_clock"])
    for customer in _customers(call, clock["id"]):
        customers.delete_customer(call, customer)
    call.emit("test_helpers.test_clock.deleted", clock)
    return call.store.delete(KIND, clock["id"])


def _customers(call: Call, clock_id: str) -> list[Json]:
    return call.store.select("customer", "AND json_extract(body, '$.test_clock') = ?", (clock_id,))
