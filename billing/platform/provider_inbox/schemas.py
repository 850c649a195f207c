"""An event of the card provider, as it comes in and as it waits for somebody to look into it."""

from typing import Any

from pydantic import AwareDatetime

from billing.core.frozen import Frozen


class ProviderEvent(Frozen):
    """A verified event: what happened to which object, and whom we said it belongs to."""

    event_id: str
    type: str
    object_id: str | None
    account: str | None
    workflow_id: str | None
    intent_id: str | None
    customer_id: str | None = None
    created_at: AwareDatetime | None
    payload: dict[str, object]
    livemode: bool = False
    # The reason why nobody can look into it: it is parked.
    fault: str | None = None


class Waiting(Frozen):
    """A stored event that still needs somebody to look at it."""

    event_id: str
    status: str
    workflow_id: str | None
    object_id: str | None
    payload: dict[str, Any]
    received_at: AwareDatetime
