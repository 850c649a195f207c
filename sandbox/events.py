"""Events: a snapshot of an object at the moment something happened to it.

Each is stored in the transaction of the change and handed to the deliveries in the same breath.
"""

from typing import TYPE_CHECKING

from sandbox import deliveries
from sandbox.settings import API_VERSION, listens
from sandbox.shapes import Json, new_id

if TYPE_CHECKING:
    from sandbox.calls import Call


def emit(
    call: "Call", kind: str, subject: Json, previous: Json | None = None, version: str | None = None
) -> Json:
    """Store an event of `kind` about `subject` and plan its deliveries."""
    is_customer = subject.get("object") == "customer"
    customer = subject.get("id") if is_customer else subject.get("customer")
    data: Json = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": version or API_VERSION,
        # Real time, also for a customer on a test clock: whoever polls asks by real time.
        "created": call.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": int(listens(call.settings, kind)),
        "request": {"id": call.request, "idempotency_key": call.key},
        "type": kind,
    }
    call.store.insert(event)
    if listens(call.settings, kind):
        deliveries.plan(call.store, event, customer)
    return event
