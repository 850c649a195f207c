"""The calls a decision makes at the card provider, and their answers. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from billing.money.payment_methods.rules import CardDetails
from billing.money.payments.rules import CheckoutSession, Decline, Outcome
from billing.money.payments.schemas import Attempt, AttemptCard, Payment

What = Literal[
    "open",  # make the intent, before anything is tried on it
    "open_page",  # make the hosted page
    "try_card",
    "look",  # read the payment's status
    "capture",  # take the money of an order that its payer has approved
    "call_back",  # cancel a payment that may still bring money
]


@dataclass(frozen=True, slots=True)
class Call:
    """One provider call for one payment; the records it needs are committed first."""

    what: What
    payment: Payment
    attempt: Attempt | None = None
    on_session: bool = False
    """The payer is present and can complete 3-D Secure."""
    again: bool = False
    """The attempt already existed: the card may have been tried with it."""
    description: str | None = None
    """Text shown to the payer; None: the invoice's id."""
    save_card: bool = True
    """The card that pays it is kept for later charges."""
    return_url: str | None = None
    """The address that a hosted page leads back to; None: the product's own."""
    tried: Outcome | None = None
    """The result of the try whose intent is called back."""
    refusable: bool = False
    """The decision goes on when the provider refuses; else the step fails."""
    revision: int | None = None
    """The matter's, when it decided to open a payment for a saved card: unless it was woken since,
    the card is tried as soon as the payment is open.
    """
    card: AttemptCard | None = None
    """The card to try, if it was just read; None: it is read before the try."""

    @property
    def charges(self) -> bool:
        """True for a call that leads to a new charge."""
        return self.what in ("open", "open_page", "try_card")


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider's answer to a call; it is booked on that call's payment only."""

    call: Call
    outcome: Outcome | None
    """None: there was nothing to ask about."""
    asked_at: datetime
    card: CardDetails | None = None
    """The card that the payer confirmed with, if it may be kept."""
    session: CheckoutSession | None = None
    """The hosted page that was made."""
    refusal: Decline | None = None
    """The provider's reason to refuse a call that may be refused."""
    pay_url: str | None = None
    """The page on which the payer may finish the payment."""
