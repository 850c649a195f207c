"""Provider objects that a restored database may not know, and what it knows of them."""

from typing import Literal

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.money.payments.rules import CheckoutSession, Outcome

Verdict = Literal[
    "foreign",  # not made by this product
    "known",  # its payment exists and has this intent
    "bound",  # its payment exists and has no intent yet
    "remade",  # its invoice exists and is unpaid: its lost payment is recreated
    "kept",  # no payment here is its: its money goes to the money balance
    "kept_before",  # an earlier run has put its money there
    "called_back",  # no payment here is its, and nothing was paid: it is canceled
    "left_open",  # the same, but its account is not here, or the provider does not cancel it
    "under_way",  # no payment here is its, and the bank has not decided yet
    "over",  # it brought no money and never will
    "nobodys",  # it was paid, and its account is not here
]


class FoundIntent(Frozen):
    """One PaymentIntent with the metadata that we set; amounts in ISO minor units."""

    intent_id: str
    outcome: Outcome
    amount_minor: int
    currency: str
    description: str
    metadata: dict[str, str]
    created_at: AwareDatetime


class FoundPage(Frozen):
    """A hosted page on which somebody may still pay, with the metadata that we set."""

    page: CheckoutSession
    metadata: dict[str, str]


class FoundObject(Frozen):
    """A customer or a setup intent, with the metadata that we set."""

    object_id: str
    metadata: dict[str, str]


class Known(Frozen):
    """The rows that an intent's metadata name."""

    has_account: bool = False
    has_payment: bool = False
    intent_id: str | None = None
    """The intent on record for its payment."""
    is_owed: bool = False
    """Its invoice takes money."""
    is_collected: bool = False
    """Another payment may still bring money for its invoice."""
    is_kept: bool = False
    """Its money is on the money balance by an earlier run."""


class Placed(Frozen):
    """One intent and what was done about it, described for an operator."""

    verdict: Verdict
    words: str
    kept_minor: int = 0
    """The money that was put on the money balance."""
