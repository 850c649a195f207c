"""Results of claiming an idempotency key: granted, already answered, in flight, or misused."""

from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from billing.core.frozen import Frozen

LIFETIME: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=30)
SUCCESS: Final = frozenset({200, 201, 204})


class KeyedRequest(Frozen):
    """One request under a key: its account, route, and the hash of its body."""

    account_id: UUID | None
    route: str
    key: str
    request_hash: str

    @property
    def scope(self) -> str:
        """The account's id, or `*` if the call belongs to none."""
        return str(self.account_id) if self.account_id else "*"


class Granted(Frozen):
    """Permission to proceed under `lease`; `resumed`: an earlier try ended without an answer."""

    resource_id: UUID
    lease: UUID
    resumed: bool = False


class StoredAnswer(Frozen):
    """The first answer, to repeat byte for byte."""

    status: int
    media_type: str
    body: bytes


class Refused(Frozen):
    """`reused`: the key was used with another body; `in_flight`: its first request still runs."""

    reason: Literal["reused", "in_flight"]


DECLINED: Final = "CARD_DECLINED"
"""The only final 402: the card was charged and declined; a new try is a new request."""
MOMENTARY: Final = frozenset(
    {
        "CHANGE_PENDING", "MIGRATION_REQUEST_LIMIT", "PAYMENT_METHOD_IN_USE", "PAYMENT_OVERDUE",
        "PAYMENT_PENDING", "PAYMENT_STATE", "SETUP_INTENT_INCOMPLETE",
    }
)  # fmt: skip
"""Refusals that end without another request, once a bank, an operator or the payer has acted."""

NOT_BEGUN: Final = "TEMPORAL_UNAVAILABLE"
"""A request is refused with it only before anything is committed under its key."""

Outcome = Literal["store", "keep", "forget"]


def outcome(status: int, code: str | None = None) -> Outcome:
    """Return what to do with the key after an answer with `status` (docs/rules/api.md).

    `store`: the answer is final for that body, including a card's decline. `keep`: the same key
    rejoins the same resource (202, 5xx). `forget`: nothing was done, the same key starts again
    (401, missing credits, 403, 429, 502: proven not charged, and by `code` momentary refusals and
    what was not begun).
    """
    if status in SUCCESS or code == DECLINED:
        return "store"
    if code in MOMENTARY or code == NOT_BEGUN:
        return "forget"
    if status in {401, 402, 403, 429, 502}:
        return "forget"
    return "store" if 400 <= status < 500 else "keep"
