"""Events as the API lists them: what happened, and whether it reached its receiver.

GET /v1/events and /v1/events/{id}.
"""

from typing import Any

from sandbox import deliveries, listing, problems
from sandbox.calls import Call, Routes
from sandbox.parameters import CREATED, PAGE, boolean, list_of, text
from sandbox.shapes import Json

routes = Routes()


@routes.get(
    "/v1/events",
    {
        **PAGE,
        "created": CREATED,
        "delivery_success": boolean(),
        "type": text(),
        "types": list_of(text(), 20),
    },
)
def index(call: Call) -> Json:
    """Events, newest first; `type` may end in `.*`; `delivery_success` filters by delivery."""
    params = call.params
    if "type" in params and "types" in params:
        message = "You may only specify one of these parameters: type, types."
        raise problems.invalid(message, code="parameters_exclusive")
    filters: dict[str, Any] = {"type": params.get("types")}
    wanted = params.get("type", "")
    if wanted.endswith(".*"):
        filters = {"type": listing.Prefix(wanted[:-1])}
    elif wanted:
        filters = {"type": wanted}
    if "delivery_success" in params:
        filters["id"] = listing.Delivered(params["delivery_success"])
    found = listing.page(call, "event", "/v1/events", filters)
    found["data"] = [_counted(call, event) for event in found["data"]]
    return found


@routes.get("/v1/events/{id}")
def retrieve(call: Call) -> Json:
    """One event."""
    return _counted(call, call.load("event", call.path["id"]))


def _counted(call: Call, event: Json) -> Json:
    return {**event, "pending_webhooks": deliveries.open_count(call.store, event["id"])}
