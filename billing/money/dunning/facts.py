"""The facts with which the dunning case of an invoice begins."""

from dataclasses import dataclass, field

from billing.catalog.plans.schemas import DunningPolicy
from billing.money.invoices.transitions import InvoiceFacts


@dataclass(slots=True)
class DunningFacts(InvoiceFacts):
    """The facts of a case that opens now, in addition to the rows."""

    terms: DunningPolicy = field(default_factory=DunningPolicy)
    """Its policy."""
    all_paused: bool = False
    """An operator has paused all of the account's recovery: the case is paused too."""
    zone: str = "UTC"
    """The zone of its days."""
