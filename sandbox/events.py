"""Events: a snapshot of an object at the moment something happened to it.

Each is stored in the transaction of the change, together with its deliveries.
"""

from sandbox import clock, deliveries
from sandbox.settings import API_VERSION, Settings, listens
from sandbox.shapes import Json, new_id
from sandbox.store import Store


def emit(
    store: Store,
    settings: Settings,
    kind: str,
    subject: Json,
    *,
    request: Json,
    previous: Json | None = None,
    version: str | None = None,
) -> Json:
    """Store an event of `kind` about `subject` and plan its deliveries; `request` caused it."""
    is_customer = subject.get("object") == "customer"
    customer = subject.get("id") if is_customer else subject.get("customer")
    data: Json = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": version or API_VERSION,
        # Real time, also for a customer on a test clock: clients poll by real time.
        "created": clock.now(store),
        "data": data,
        "livemode": False,
        "pending_webhooks": int(listens(settings, kind)),
        "request": request,
        "type": kind,
    }
    store.insert(event)
    if listens(settings, kind):
        deliveries.plan(store, event, customer)
    return event
