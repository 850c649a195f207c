"""What a claim on an idempotency key can be: granted, answered before, in flight, or misused."""

from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

LIFETIME: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=30)
SUCCESS: Final = frozenset({200, 201, 204})


class KeyedRequest(BaseModel):
    """One request under a key: whose, on which route, and the hash of what it asks."""

    model_config = ConfigDict(frozen=True)

    account_id: UUID | None
    route: str
    key: str
    request_hash: str

    @property
    def scope(self) -> str:
        """The account's id, or `*` where the call belongs to none."""
        return str(self.account_id) if self.account_id else "*"


class Granted(BaseModel):
    """Go ahead under `lease`; `resumed` when an earlier try left without a final answer."""

    model_config = ConfigDict(frozen=True)

    resource_id: UUID
    lease: UUID
    resumed: bool = False


class StoredAnswer(BaseModel):
    """The first answer, to be repeated byte for byte."""

    model_config = ConfigDict(frozen=True)

    status: int
    media_type: str
    body: bytes


class Refused(BaseModel):
    """`reused`: the key stands for another body; `in_flight`: its first request still runs."""

    model_config = ConfigDict(frozen=True)

    reason: Literal["reused", "in_flight"]


MOMENTARY: Final = frozenset({"PAYMENT_PENDING"})
"""Refusals that end by themselves, when a bank or an operator has decided."""

Outcome = Literal["store", "keep", "forget"]


def outcome(status: int, code: str | None = None) -> Outcome:
    """What becomes of the key once the request was answered with `status` (product.md §13).

    `store`: the answer is final for that body. `keep`: the same key rejoins the same resource
    (202, 5xx). `forget`: nothing stands, the same key starts anew (401 to 403, 429, and 502: proven
    not charged, or the refusal's `code` says: not at this moment).
    """
    if status in SUCCESS:
        return "store"
    if code in MOMENTARY:
        return "forget"
    if status in {401, 402, 403, 429, 502}:
        return "forget"
    return "store" if 400 <= status < 500 else "keep"
