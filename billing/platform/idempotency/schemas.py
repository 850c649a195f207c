"""The results of a claim on an idempotency key: granted, answered before, in flight, or misused."""

from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from billing.core.frozen import Frozen

LIFETIME: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=30)
SUCCESS: Final = frozenset({200, 201, 204})


class KeyedRequest(Frozen):
    """One request under a key: whose, on which route, and the hash of what it asks."""

    account_id: UUID | None
    route: str
    key: str
    request_hash: str

    @property
    def scope(self) -> str:
        """The account's id, or `*` where the call belongs to none."""
        return str(self.account_id) if self.account_id else "*"


class Granted(Frozen):
    """Go ahead under `lease`; `resumed` when an earlier try left without a final answer."""

    resource_id: UUID
    lease: UUID
    resumed: bool = False


class StoredAnswer(Frozen):
    """The first answer, to be repeated byte for byte."""

    status: int
    media_type: str
    body: bytes


class Refused(Frozen):
    """`reused`: the key stands for another body; `in_flight`: its first request still runs."""

    reason: Literal["reused", "in_flight"]


DECLINED: Final = "CARD_DECLINED"
"""The one 402 that is final: the card was asked, and a new try is a new request."""
MOMENTARY: Final = frozenset({"CHANGE_PENDING", "PAYMENT_PENDING"})
"""Refusals that end by themselves, when a bank or an operator has decided."""

Outcome = Literal["store", "keep", "forget"]


def outcome(status: int, code: str | None = None) -> Outcome:
    """The fate of the key once the request was answered with `status` (docs/rules.md#api).

    `store`: the answer is final for that body, a card's decline too. `keep`: the same key rejoins
    the same resource (202, 5xx). `forget`: nothing stands, the same key starts anew (401, missing
    credits, 403, 429, and 502: proven not charged, or the refusal's `code` says: not now).
    """
    if status in SUCCESS or code == DECLINED:
        return "store"
    if code in MOMENTARY:
        return "forget"
    if status in {401, 402, 403, 429, 502}:
        return "forget"
    return "store" if 400 <= status < 500 else "keep"
