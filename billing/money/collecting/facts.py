"""The facts of collecting an invoice, and its outcome for the debtor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from billing.money.dunning.facts import DunningFacts
from billing.money.payments.calls import Answer


@dataclass(frozen=True, slots=True)
class Refused:
    """A try for a draft brought no money; the draft's owner decides what follows."""

    reason: str


Collected = Literal["paid", "unpaid", "given_up"] | Refused


@dataclass(slots=True)
class CollectFacts(DunningFacts):
    """The facts of collecting, in addition to its rows."""

    answer: Answer | None = None
    declines: Mapping[UUID, int] = field(default_factory=dict)
    """The number of declines of each card in the last 30 days, over all its invoices."""
    own_card: UUID | None = None
    """The card named for the payer's subscription or use; None: the account's default."""
