"""Payment rules: models of the provider's answers, and the payer's next action.

Pure: the gateway fills these models, activities store them, workflows and routes read them.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime

from billing.core.frozen import Frozen
from billing.money.payments.declines import BARRING, DeclineClass, classify
from billing.money.payments.schemas import MONEY_IN

# When no webhook came: ask after 1 min, 10 min, 1 h, then daily (docs/rules/payments.md).
CHECK_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
LATER_CHECKS_EVERY: Final = timedelta(days=1)
NOT_ASKED: Final = "nothing to ask about"
"""The result of checking a payment that the provider does not know."""
PROVIDER_REFUSED: Final = "provider_refused"
"""The reason of a payment that the provider did not open."""
NOT_OPENED: Final = "the payment provider did not open a payment"
"""The words for its payer, as the provider's own may be of our account."""
CHARGE_REFUSED: Final = "charge_refused"
"""The reason of a try that the provider refused before it reached the card."""
PAID_OTHERWISE: Final = "paid_otherwise"
"""The reason of a try that came after its payer had used another card."""
CUSTOMER_GONE: Final = "customer_gone"
"""The reason of a try whose account's customer was deleted at the provider, with its cards."""
CARDS_GONE: Final = (
    "the account's customer was deleted at the payment provider, and its cards with it: save a card"
    " again"
)
LINK_LIFETIME: Final = timedelta(days=30)
"""A payer's link to a page lasts as long as dunning including its last term; settling the invoice
ends it earlier.
"""
PAGE_LIFETIMES: Final = {"paypal": timedelta(hours=3), "checkout": timedelta(hours=24)}
"""The time for which the provider keeps a page open for its payer, by flow."""
ORDER_OFFERED_FOR: Final = timedelta(hours=2)
"""The time for which payers are sent to the same order at PayPal; the rest is for approving it."""
PAYERS_OWN: Final = ("card", "paypal")
"""Flows of an invoice that its payer finishes, in a browser."""
OutcomeKind = Literal[
    "succeeded",
    "declined",
    "action",  # the customer must finish 3-D Secure
    "processing",
    "waiting",  # nothing was tried yet: the intent waits for a card
    "canceled",
    "unreached",  # proven: the try never reached the card
]
BROUGHT_NO_MONEY: Final = ("declined", "canceled", "waiting", "action")
"""Outcomes of a payment that the bank was deciding on which mean that it brought no money."""
FINAL_PAYMENT = frozenset({"succeeded", "completed", "failed", "refunded", "canceled"})


def next_check(opened_at: datetime, checks: int, last_check_at: datetime | None) -> datetime:
    """Return when to query the provider next, unless a webhook comes first."""
    if checks < len(CHECK_AFTER):
        return opened_at + CHECK_AFTER[checks]
    return (last_check_at or opened_at) + LATER_CHECKS_EVERY


def next_action(
    *,
    owed: bool,
    payment_status: str | None,
    client_secret: str | None,
    redirect_url: str | None,
) -> dict[str, str]:
    """The payer's next action: none | confirm_card | redirect | wait [E4]."""
    if not owed or payment_status is None:
        return {"type": "none"}
    if payment_status in ("processing", "pending_approval") or payment_status in MONEY_IN:
        return {"type": "wait"}
    if redirect_url:
        return {"type": "redirect", "url": redirect_url}
    if client_secret and payment_status == "pending":
        return {"type": "confirm_card", "client_secret": client_secret}
    return {"type": "wait"} if payment_status == "pending" else {"type": "none"}


class Decline(Frozen):
    """A refusal by the bank or the provider; `code` is for programs, `message` for people."""

    code: str
    decline_code: str | None = None
    message: str
    advice: str | None = None
    unconfirmed: str | None = None
    """Its identity where there was no charge: the provider's id of the card whose
    payer failed 3-D Secure, or the order with what it was refused for.
    """

    @property
    def decline_class(self) -> DeclineClass:
        """hard, soft, action or config."""
        return classify(self.decline_code, self.code)

    @property
    def reason(self) -> str:
        """The most specific code available."""
        return self.decline_code or self.code

    @property
    def bars_card(self) -> bool:
        """The bank asked never to try this card again."""
        if self.decline_class == "config":  # no bank was asked: our account or its settings refuse
            return False
        return self.advice in BARRING or self.reason in BARRING


CARD_GONE: Final = Decline(code="card_gone", message="the card was removed: save a card again")
"""The decline of a card that its customer no longer has, here or at the provider."""


class GivenBack(Frozen):
    """Current state of money that the provider gave, or gives, back to a payer."""

    refund_id: str
    status: Literal["processing", "succeeded", "failed"]
    amount_minor: int = 0
    reason: str | None = None


class Outcome(Frozen):
    """State of one PaymentIntent, as the provider says now. Amounts in ISO minor units."""

    kind: OutcomeKind
    intent_id: str | None = None
    client_secret: str | None = None
    received_minor: int = 0
    charge_id: str | None = None
    card: str | None = None
    """Provider id of the method that the newest try used; None: unknown, or the try failed."""
    decline: Decline | None = None
    redirect_url: str | None = None
    keeps_card: bool = False
    """The provider keeps the card that pays it next for later charges."""
    is_over: bool = False
    """The intent is canceled or its page done: it brings no more money, whatever its tries did."""
    is_approved: bool = False
    """It waits for our capture: its payer has approved the order."""
    given_back: tuple[GivenBack, ...] = ()
    """Money that came and went back, where the same answer says so."""


OVERTAKEN: Final = Outcome(
    kind="unreached",
    decline=Decline(code=PAID_OTHERWISE, message="its payer had used another card"),
)
"""The outcome of a try whose payment is made with another card."""


class CheckoutSession(Frozen):
    """A hosted page: its address, and the intent behind it once there is one."""

    session_id: str
    url: str | None
    status: Literal["open", "complete", "expired"]
    intent_id: str | None = None


class Order(Frozen):
    """An order that its payer approves on a page of the provider, and which is then captured.

    `approved`: it may be captured now; `captured`: it was, and `capture` is the result; `gone`: it
    brings no more money.
    """

    order_id: str
    approve_url: str | None = None
    status: Literal["open", "approved", "captured", "gone"]
    capture: Outcome | None = None
    """The capture, or the refusal of one."""


class Charge(Frozen):
    """One charge behind an intent: the proof of whether a try reached the card."""

    charge_id: str
    created_at: AwareDatetime
    paid: bool
    payment_method_id: str | None = None
    decline: Decline | None = None


def provider_of(flow: str) -> str:
    """Return who moves a payment's money: stripe, paypal, or the payer by hand (manual)."""
    return flow if flow in ("paypal", "manual") else "stripe"


def type_of(flow: str, manual_method: str | None, saved: str | None) -> str | None:
    """Return the kind of method that pays [K14]; `saved` is the kind of the saved one.

    None: an unsaved card or bank account; the provider has not reported which.
    """
    if flow == "manual":
        word = (manual_method or "").strip().lower().replace(" ", "_")
        return word if word == "bank_transfer" else "other"
    return "other" if flow == "paypal" else saved
