"""Things at the provider that a restored database may not know, and what is known of them here."""

from typing import Literal

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.money.payments.rules import Outcome

Verdict = Literal[
    "foreign",  # not made by this product
    "known",  # its payment is here, with it
    "bound",  # its payment is here, and did not know it yet
    "remade",  # its invoice is here and unpaid: its payment is made anew
    "kept",  # its invoice is gone: its money is the customer's, on the money balance
    "called_back",  # its invoice is gone, and nothing was paid: it is canceled
    "under_way",  # its invoice is gone, and nobody knows yet whether money comes
    "over",  # it brought no money and never will
    "nobodys",  # its account is gone too
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


class FoundObject(Frozen):
    """A customer or a setup intent, with the metadata that we set."""

    object_id: str
    metadata: dict[str, str]


class Known(Frozen):
    """The rows that an intent's metadata name."""

    has_account: bool = False
    has_payment: bool = False
    intent_id: str | None = None
    """The intent that its payment knows."""
    wants_payment: bool = False
    """Its invoice is unpaid, and nothing else collects it."""


class Placed(Frozen):
    """One intent, and what became of it, in words for an operator."""

    verdict: Verdict
    words: str
