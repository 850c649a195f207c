"""The facts of collecting an invoice, and its outcome for the debtor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from billing.catalog.plans.schemas import DunningPolicy
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments.calls import Answer


@dataclass(frozen=True, slots=True)
class Refused:
    """A try for a draft brought no money; the draft's owner decides what follows."""

    reason: str


Collected = Literal["paid", "unpaid", "given_up"] | Refused


@dataclass(slots=True)
class CollectFacts(InvoiceFacts):
    """The facts of collecting, in addition to its rows."""

    answer: Answer | None = None
    declines: Mapping[UUID, int] = field(default_factory=dict)
    """The number of declines of each card in the last 30 days, over all its invoices."""
    terms: DunningPolicy = field(default_factory=DunningPolicy)
    """The policy of a case that opens now."""
    all_paused: bool = False
    """An operator has paused all of the account's recovery: a case that opens now is paused too."""
    own_card: UUID | None = None
    """The card named for the payer's subscription or use; None: the account's default."""
    zone: str = "UTC"
