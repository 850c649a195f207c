"""The state of a dispute, from the provider's word for it. Pure."""

from typing import Final

from billing.money.disputes.schemas import DisputeState

_STATES: Final[dict[str, DisputeState]] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "warning_closed": "closed",
    "prevented": "closed",
    "won": "won",
    "lost": "lost",
}
"""Every other status of the provider means an open dispute."""


ANSWERED: Final = ("warning_under_review", "under_review")
"""Statuses of a dispute that the seller has answered: the bank decides."""


def state_of(status: str, *, is_withdrawn: bool) -> DisputeState:
    """Return a dispute's state. One that is closed while its money is withdrawn is lost: the
    provider gave it to the payer.
    """
    state = _STATES.get(status, "open")
    return "lost" if state == "closed" and is_withdrawn else state
