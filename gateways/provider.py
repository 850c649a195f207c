"""The payment provider's interface: requests with idempotency keys in, outcomes out.

Every call that moves money takes the idempotency key of its business fact. `Unavailable` means the
outcome is unknown: retry, never with another key. `ProviderFailure` means refused without effect.
The code of an `Unavailable` says what is known: KEY_IN_USE, the call still runs at the provider;
SILENT, no answer came and it may still run; FAILURE_KEPT, the provider repeats a failure stored
under the key and runs no call with that key any more; KEY_REFUSED, it did not run the call, because
of our own key at the provider; any other, the call is over.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from billing.catalog.taxes.schemas import Jurisdiction
from billing.core.frozen import Frozen
from billing.money.payment_methods.rules import CardDetails, SetupOutcome
from billing.money.payments.rules import Charge, CheckoutSession, Order, Outcome
from billing.money.reconciliations.schemas import AtStripe, MoneyPage, ObjectKind
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.taxation.schemas import TaxQuestion, VatAnswer

CALL_SECONDS: Final = 8.0
"""The longest wait for the answer of one call."""
KEY_IN_USE: Final = "PROVIDER_KEY_IN_USE"
SILENT: Final = "PROVIDER_SILENT"
FAILURE_KEPT: Final = "PROVIDER_FAILURE_KEPT"
KEY_REFUSED: Final = "PROVIDER_KEY"
UNFINISHED: Final = frozenset({KEY_IN_USE, SILENT})
"""Codes of a call that may still have its effect."""
NO_CUSTOMER: Final = "PROVIDER_HAS_NO_CUSTOMER"
"""The code of a `ProviderFailure`: the account's customer was deleted at the provider."""
AMOUNT: Final = "PROVIDER_REFUSES_AMOUNT"
"""The code of a `ProviderFailure`: the amount is below or above the provider's limits.

If money is converted, the limits are those of another currency, at the day's rate.
"""
KEY_REUSED: Final = "PROVIDER_KEY_REUSED"
"""The code of a `ProviderFailure`: an earlier call with this key had other parameters."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some of the provider's events, as its JSON: `gateways.events.readable` parses those that are
    new. `until`: all events up to this second have been returned.
    """

    events: Sequence[dict[str, Any]]
    until: datetime | None = None


class IntentRequest(Frozen):
    """A payment intent to create; `amount_minor` in ISO minor units."""

    key: str
    amount_minor: int
    currency: str
    customer_id: str
    description: str
    metadata: dict[str, str]
    save_card: bool = False


class CheckoutRequest(IntentRequest):
    """A hosted page for one payment."""

    return_url: str


class OrderRequest(Frozen):
    """An order for one amount; `amount_minor` in ISO minor units."""

    key: str
    amount_minor: int
    currency: str
    description: str
    invoice_id: str
    """Shown to the payer; unique among a seller's captures."""
    custom_id: str
    """The matter that waits for the money; every event includes it."""
    return_url: str


class RefundRequest(Frozen):
    """A refund of one intent; `amount_minor` in ISO minor units."""

    key: str
    intent_id: str
    amount_minor: int
    currency: str
    metadata: dict[str, str]


class VatRegister(Protocol):
    """A register of VAT ids; `is_valid=None` if it cannot answer now."""

    async def check(self, vat_id: str) -> VatAnswer:
        """Return the register's answer for a VAT id such as DE136695976."""
        ...


class TaxProvider(Protocol):
    """A service that knows the taxes of an address; None if it cannot answer now."""

    async def jurisdictions(self, asked: TaxQuestion) -> tuple[Jurisdiction, ...] | None:
        """Return the jurisdictions that tax the address and that it collects for, with rates."""
        ...


class Refunding(Protocol):
    """The refund calls, which every provider has."""

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Make a refund."""
        ...

    async def taken_back(self, intent_id: str) -> Taken:
        """Return every refund and dispute of the intent, whoever made it."""
        ...


class OrderProvider(Refunding, Protocol):
    """A provider whose payers approve an order on its page; no money moves before the capture.

    Every call may raise Unavailable or ProviderFailure. A refund's `intent_id` is the capture.
    """

    async def create_order(self, request: OrderRequest) -> Order:
        """Create an order that waits for its payer; the same key returns the same order."""
        ...

    async def retrieve_order(self, order_id: str) -> Order:
        """Return the order's current state."""
        ...

    async def capture_order(self, order_id: str, key: str) -> Order:
        """Capture an approved order, which works once; a refusal is an outcome."""
        ...

    async def close(self) -> None:
        """Return every connection."""
        ...


class PaymentProvider(Refunding, Protocol):
    """A provider that charges cards and bank accounts.

    Every call may raise Unavailable (unknown outcome) or ProviderFailure (refused).
    """

    async def create_customer(self, account_id: UUID, key: str, metadata: dict[str, str]) -> str:
        """Create a customer; return the provider's id."""
        ...

    async def customer_is_deleted(self, customer_id: str) -> bool:
        """True if the provider says so; False also if our key knows no such customer."""
        ...

    async def create_intent(self, request: IntentRequest) -> Outcome:
        """Create an unconfirmed intent; no money moves."""
        ...

    async def confirm_intent(
        self, intent_id: str, key: str, payment_method: str, *, off_session: bool, is_card: bool
    ) -> Outcome:
        """Charge a saved payment method; a decline is an outcome."""
        ...

    async def keep_next_card(self, intent_id: str) -> None:
        """Have the card saved that pays the intent next, if it can still be paid."""
        ...

    async def retrieve_intent(self, intent_id: str) -> Outcome:
        """Return the intent's current outcome."""
        ...

    async def find_intent(self, customer_id: str, payment: str, since: datetime) -> Outcome | None:
        """Return the intent made for `metadata.payment`, if the answer to its creation was lost.

        Search only from `since`: earlier intents may be tens of thousands.
        """
        ...

    async def cancel_intent(self, intent_id: str, key: str) -> Outcome:
        """Cancel the intent; return its outcome (it may have succeeded before)."""
        ...

    async def charges(self, intent_id: str) -> list[Charge]:
        """Return every charge of the intent, newest first."""
        ...

    async def intent_card(self, intent_id: str) -> CardDetails | None:
        """Return the card an intent was paid with, if it was saved."""
        ...

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """Open a hosted page."""
        ...

    async def retrieve_checkout(self, session_id: str) -> CheckoutSession:
        """Return the page's current state."""
        ...

    async def expire_checkout(self, session_id: str, key: str) -> CheckoutSession:
        """Close the page; return its state afterwards (it may be complete)."""
        ...

    async def create_setup_intent(
        self, customer_id: str, key: str, metadata: dict[str, str]
    ) -> SetupOutcome:
        """Start saving a card without a charge."""
        ...

    async def retrieve_setup_intent(self, setup_intent_id: str) -> SetupOutcome | None:
        """Return the setup's current outcome, with the card once it succeeded; None if it is not
        known there.
        """
        ...

    async def open_portal(self, customer_id: str, key: str, return_url: str) -> str:
        """Open the provider's portal for one customer; return its URL."""
        ...

    async def retrieve_method(self, customer_id: str, payment_method: str) -> CardDetails | None:
        """Return a card's current details; None if the customer has no such card."""
        ...

    async def method_is_detached(self, payment_method: str) -> bool:
        """True if the provider says so; False also if our key knows no such payment method."""
        ...

    async def detach_method(self, payment_method: str) -> None:
        """Detach a card; a card already detached is no error. Any other refusal is a doubt: the key
        may be another account's. Errors: PROVIDER_KEY.
        """
        ...

    async def default_method(self, customer_id: str) -> str | None:
        """Return the card that is the customer's default at the provider; None: there is none, or
        the customer was deleted. Errors: PROVIDER_KEY.
        """
        ...

    def events_between(self, since: datetime, until: datetime) -> AsyncIterator[EventPage]:
        """Yield pages of the events that matters act on, from one second to another, oldest first.

        They replace lost webhooks.
        """
        ...

    async def money_page(
        self, kind: ObjectKind, since: datetime, until: datetime, after: str | None
    ) -> MoneyPage:
        """Return the objects of one kind that were created in [since, until), newest first, those
        behind `after`.
        """
        ...

    async def money(self, kind: ObjectKind, object_id: str) -> AtStripe | None:
        """Return this object, whatever became of it; None if the provider does not know it."""
        ...

    async def close(self) -> None:
        """Return every connection."""
        ...
