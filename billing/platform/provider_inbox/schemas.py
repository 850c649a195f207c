"""Events of a payment provider, as received and as waiting to be handled."""

from typing import Any

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class ProviderEvent(Frozen):
    """A verified event: what happened to which object, and the owner from our metadata."""

    event_id: str
    type: str
    object_id: str | None
    account: str | None
    workflow_id: str | None
    intent_id: str | None
    customer_id: str | None = None
    created_at: AwareDatetime | None
    payload: dict[str, object]
    # The reason why it cannot be handled; it is parked.
    fault: str | None = None


class Waiting(Frozen):
    """A stored event that is not handled yet."""

    event_id: str
    status: str
    workflow_id: str | None
    object_id: str | None
    payload: dict[str, Any]
    received_at: AwareDatetime
