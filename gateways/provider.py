"""The card provider as the rest of the product sees it: verbs, keys in, outcomes out.

Every money verb takes the idempotency key of its business fact. `Unavailable` means the outcome
is unknown: ask again, never with another key. `ProviderFailure` means refused, nothing happened.
The code of an `Unavailable` says what is known of the call: KEY_IN_USE, it still runs there;
SILENT, no answer came and it may still run; FAILURE_KEPT, the provider repeats a failure that it
keeps under the key, and runs no call with it any more; any other, it is over.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from billing.catalog.taxes.schemas import Jurisdiction
from billing.core.frozen import Frozen
from billing.money.payment_methods.rules import CardDetails, SetupOutcome
from billing.money.payments.rules import Charge, CheckoutSession, Order, Outcome
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.taxation.schemas import TaxQuestion, VatAnswer
from billing.platform.provider_inbox.schemas import ProviderEvent

KEY_IN_USE: Final = "PROVIDER_KEY_IN_USE"
SILENT: Final = "PROVIDER_SILENT"
FAILURE_KEPT: Final = "PROVIDER_FAILURE_KEPT"
UNFINISHED: Final = frozenset({KEY_IN_USE, SILENT})
"""Codes of a call that may still have its effect."""
NO_CUSTOMER: Final = "PROVIDER_HAS_NO_CUSTOMER"
"""The code of a `ProviderFailure`: the account's customer was deleted there."""
AMOUNT: Final = "PROVIDER_REFUSES_AMOUNT"
"""The code of a `ProviderFailure`: the sum is too small or too large for it.

Where money is converted its bounds are those of another currency, by the rate of the day.
"""
KEY_REUSED: Final = "PROVIDER_KEY_REUSED"
"""The code of a `ProviderFailure`: an earlier call with this key had other parameters."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some of the provider's events. With `until`, all of up to that second were handed over."""

    events: Sequence[ProviderEvent]
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
    expires_at: datetime | None = None


class OrderRequest(Frozen):
    """An order of one amount; `amount_minor` in ISO minor units."""

    key: str
    amount_minor: int
    currency: str
    description: str
    invoice_id: str
    """Shown to the payer; no two captures of one seller have the same."""
    custom_id: str
    """Comes back with every event: the matter that waits for the money."""
    return_url: str


class RefundRequest(Frozen):
    """Money of one intent to give back; `amount_minor` in ISO minor units."""

    key: str
    intent_id: str
    amount_minor: int
    currency: str
    metadata: dict[str, str]


class VatRegister(Protocol):
    """A register of VAT ids; what it cannot answer now is `is_valid=None`."""

    async def check(self, vat_id: str) -> VatAnswer:
        """Its word on a VAT id such as DE136695976."""
        ...


class TaxProvider(Protocol):
    """A service that knows the taxes of an address; what it cannot answer now is None."""

    async def jurisdictions(self, asked: TaxQuestion) -> tuple[Jurisdiction, ...] | None:
        """Those that ask tax there and that it collects for, with their rates by category."""
        ...


class Refunding(Protocol):
    """The verbs that give money back, which every provider has."""

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Give money back."""
        ...

    async def taken_back(self, intent_id: str) -> Taken:
        """Every refund and dispute of the intent, whoever made it."""
        ...


class OrderProvider(Refunding, Protocol):
    """A provider whose payers approve an order on its page; no money moves before the capture.

    Every call may raise Unavailable or ProviderFailure. A refund names the capture as its intent.
    """

    async def create_order(self, request: OrderRequest) -> Order:
        """An order that waits for its payer; the same key answers the same order."""
        ...

    async def retrieve_order(self, order_id: str) -> Order:
        """The order as it stands now."""
        ...

    async def capture_order(self, order_id: str, key: str) -> Order:
        """Take the money of an approved order, which can be done once; a refusal is an outcome."""
        ...

    async def close(self) -> None:
        """Return every connection."""
        ...


class PaymentProvider(Refunding, Protocol):
    """Every call may raise Unavailable (unknown outcome) or ProviderFailure (refused)."""

    async def create_customer(self, account_id: UUID, key: str, metadata: dict[str, str]) -> str:
        """The provider's customer id."""
        ...

    async def create_intent(self, request: IntentRequest) -> Outcome:
        """An unconfirmed intent: moves no money."""
        ...

    async def confirm_intent(
        self, intent_id: str, key: str, payment_method: str, *, off_session: bool, is_card: bool
    ) -> Outcome:
        """Try to charge what is saved already; a decline is an outcome."""
        ...

    async def keep_next_card(self, intent_id: str) -> None:
        """Ask that the card which pays the intent next is kept, where it may still be paid."""
        ...

    async def retrieve_intent(self, intent_id: str) -> Outcome:
        """The intent's current outcome."""
        ...

    async def find_intent(self, customer_id: str, payment: str, since: datetime) -> Outcome | None:
        """The intent made for `metadata.payment`, when its creation's answer was lost.

        Those made before `since` may be tens of thousands, and are not looked through.
        """
        ...

    async def cancel_intent(self, intent_id: str, key: str) -> Outcome:
        """Cancel, and say what the intent is afterwards (it may have succeeded before)."""
        ...

    async def charges(self, intent_id: str) -> list[Charge]:
        """Every charge of the intent, newest first."""
        ...

    async def intent_card(self, intent_id: str) -> CardDetails | None:
        """The card an intent was paid with, when it was saved for later."""
        ...

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """Open a hosted page."""
        ...

    async def retrieve_checkout(self, session_id: str) -> CheckoutSession:
        """The page's current state."""
        ...

    async def expire_checkout(self, session_id: str, key: str) -> CheckoutSession:
        """Close the page; says what it is afterwards (it may be complete)."""
        ...

    async def create_setup_intent(
        self, customer_id: str, key: str, metadata: dict[str, str]
    ) -> SetupOutcome:
        """Start saving a card without a charge."""
        ...

    async def retrieve_setup_intent(self, setup_intent_id: str) -> SetupOutcome:
        """The setup's current outcome, with the card once it succeeded."""
        ...

    async def open_portal(self, customer_id: str, key: str, return_url: str) -> str:
        """Open the provider's own pages for one customer; answers their address."""
        ...

    async def retrieve_method(self, customer_id: str, payment_method: str) -> CardDetails:
        """The current details of a card of this customer; refused where it has no such one."""
        ...

    async def detach_method(self, payment_method: str) -> None:
        """Forget a card; one already forgotten is fine."""
        ...

    def events_between(self, since: datetime, until: datetime) -> AsyncIterator[EventPage]:
        """Whatever happened from one second to another that a matter acts on, page by page from
        the oldest on: the net under lost webhooks.
        """
        ...

    async def close(self) -> None:
        """Return every connection."""
        ...
