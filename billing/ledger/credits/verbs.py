"""The credit operations that decisions ask for (`billing.matters.effects.Do`)."""

from datetime import datetime
from decimal import Decimal
from typing import Final, NotRequired, TypedDict
from uuid import UUID

from billing.ledger.credits.rules import LotKind
from billing.ledger.credits.schemas import Kept
from billing.matters.effects import Operation


class NewGrant(TypedDict):
    """Credits to grant as one lot, once per `key`."""

    account_id: UUID
    amount: Decimal
    kind: LotKind
    key: str
    is_paid: bool
    reason: str
    subject: str | None
    expires_at: NotRequired[datetime | None]
    kept: NotRequired[Kept | None]
    """The part that lasts beyond its cycle."""


class NewClawback(TypedDict):
    """Credits of one grant to take back, once per `key`."""

    account_id: UUID
    grant_key: str
    amount: Decimal
    key: str
    reason: str
    subject: NotRequired[str | None]


class ReturnedClawback(TypedDict):
    """A clawback whose credits come back, once per `key`."""

    account_id: UUID
    grant_key: str
    clawback_key: str
    key: str
    subject: str | None


class ExpiredLot(TypedDict):
    """A lot that ends now."""

    account_id: UUID
    grant_key: str
    reason: str


class RolledOver(TypedDict):
    """A cycle to which kept credits are adapted."""

    account_id: UUID
    subject: str
    before: datetime
    start: datetime
    end: datetime
    until: datetime | None
    begins: bool
    at: datetime


CLAWBACK: Final = Operation[NewClawback]("clawback")
RETURN_CLAWBACK: Final = Operation[ReturnedClawback]("return_clawback")
EXPIRE_LOT: Final = Operation[ExpiredLot]("expire_lot")
GRANT: Final = Operation[NewGrant]("grant")
ROLL_OVER: Final = Operation[RolledOver]("roll_over")
