"""Stripe's test cards and test bank accounts: what each token is and how it behaves.

`tok_…` names of the same cards are read too; real card numbers are refused everywhere.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

Authentication = Literal["never", "always", "until_set_up", "on_session"]


@dataclass(frozen=True)
class TestCard:
    """One test card."""

    __test__ = False  # pytest would take the name for a test case

    token: str
    label: str
    """Name of the card on the hosted page."""
    last4: str
    charge: str = "succeed"
    """Result of a charge: succeed, or a name from the table of declines."""
    attaches: bool = True
    """True if it can be saved to a customer."""
    authentication: Authentication = "never"
    """always; until_set_up: off-session charges pass after a set-up with authentication;
    on_session: counts as set up already, so only a present customer is asked."""
    refund: Literal["succeeded", "pending", "failed"] = "succeeded"
    dispute: str | None = None
    """The reason of the dispute that follows a charge; `inquiry` stays a warning."""
    debit: Literal["us_bank_account", "sepa_debit"] | None = None
    """A bank account instead of a card: a debit is processing until it is settled."""
    is_link: bool = False
    """Stripe's wallet: what is behind it is not shown, not even a number."""
    settles: str = "succeed"
    """Result of a debit, unless whoever settles it says another."""
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"

    @property
    def kind(self) -> str:
        """The type of its payment methods, which is also the name of their one part."""
        return "link" if self.is_link else self.debit or "card"

    @property
    def fingerprint(self) -> str:
        """The fingerprint that all payment methods of one card share."""
        return hashlib.sha256(self.token.encode()).hexdigest()[:16]

    def must_authenticate(self, *, off_session: bool, set_up: bool) -> bool:
        """True if a charge asks for 3-D Secure first."""
        if self.authentication == "always":
            return True
        if self.authentication == "until_set_up":
            return not (off_session and set_up)
        return self.authentication == "on_session" and not off_session

    @property
    def authenticates_set_up(self) -> bool:
        """True if saving the card by a SetupIntent asks for 3-D Secure."""
        return self.authentication in ("always", "until_set_up")


def _declines(name: str, last4: str, charge: str, label: str) -> TestCard:
    return TestCard(f"pm_card_{name}", label, last4, charge, attaches=False)


def _american(name: str, last4: str, settles: str, label: str) -> TestCard:
    return TestCard(
        f"pm_usBankAccount_{name}", label, last4, "processing", debit="us_bank_account",
        settles=settles,
    )  # fmt: skip


def _disputed(name: str, last4: str, reason: str) -> TestCard:
    return TestCard(f"pm_card_{name}", f"Paid, then disputed ({reason})", last4, dispute=reason)


_ALL = (
    TestCard("pm_card_visa", "Visa, pays", "4242"),
    TestCard("pm_card_visa_debit", "Visa debit, pays", "5556", funding="debit"),
    TestCard("pm_card_mastercard", "Mastercard, pays", "4444", brand="mastercard"),
    TestCard(
        "pm_card_mastercard_debit", "Mastercard debit, pays", "8210", brand="mastercard",
        funding="debit",
    ),
    TestCard(
        "pm_card_mastercard_prepaid", "Mastercard prepaid, pays", "5100", brand="mastercard",
        funding="prepaid",
    ),
    TestCard("pm_card_amex", "American Express, pays", "8431", brand="amex"),
    TestCard("pm_card_discover", "Discover, pays", "1117", brand="discover"),
    TestCard("pm_card_diners", "Diners Club, pays", "3237", brand="diners"),
    TestCard("pm_card_jcb", "JCB, pays", "3530", brand="jcb"),
    TestCard("pm_card_unionpay", "UnionPay, pays", "5556", brand="unionpay"),
    TestCard("pm_card_de", "Visa from Germany, pays", "0016", country="DE"),
    TestCard("pm_card_bypassPending", "Visa, pays, money available at once", "0077"),
    _declines("visa_chargeDeclined", "0002", "generic_decline", "Declined"),
    _declines("chargeDeclined", "0002", "generic_decline", "Declined (older name)"),
    _declines(
        "visa_chargeDeclinedInsufficientFunds", "9995", "insufficient_funds",
        "Declined: insufficient funds",
    ),
    _declines("visa_chargeDeclinedLostCard", "9987", "lost_card", "Declined: lost card"),
    _declines("visa_chargeDeclinedStolenCard", "9979", "stolen_card", "Declined: stolen card"),
    _declines(
        "visa_chargeDeclinedVelocityLimitExceeded", "6975", "card_velocity_exceeded",
        "Declined: too often",
    ),
    _declines("chargeDeclinedExpiredCard", "0069", "expired_card", "Declined: expired"),
    _declines("chargeDeclinedIncorrectCvc", "0127", "incorrect_cvc", "Declined: wrong CVC"),
    _declines("chargeDeclinedProcessingError", "0119", "processing_error", "Processing error"),
    TestCard(
        "pm_card_chargeCustomerFail", "Saves, then every charge fails", "0341", "generic_decline"
    ),
    TestCard(
        "pm_card_authenticationRequired", "3-D Secure always", "3184", authentication="always"
    ),
    TestCard(
        "pm_card_authenticationRequiredOnSetup", "3-D Secure until set up", "3155",
        authentication="until_set_up",
    ),
    TestCard(
        "pm_card_authenticationRequiredSetupForOffSession", "3-D Secure, already set up", "0446",
        authentication="on_session",
    ),
    TestCard(
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "3-D Secure, then insufficient funds", "3178", "insufficient_funds",
        authentication="until_set_up",
    ),
    TestCard("pm_card_threeDSecure2Required", "3-D Secure 2", "3220", authentication="always"),
    TestCard("pm_card_threeDSecureRequired", "3-D Secure", "3063", authentication="always"),
    TestCard(
        "pm_card_threeDSecureRequiredChargeDeclined", "3-D Secure, then declined", "1629",
        "generic_decline", authentication="always",
    ),
    TestCard(
        "pm_card_threeDSecureRequiredProcessingError", "3-D Secure, then an error", "1280",
        "processing_error", authentication="always",
    ),
    TestCard("pm_card_threeDSecureOptional", "3-D Secure supported, not asked for", "3055"),
    _disputed("createDispute", "0259", "fraudulent"),
    _disputed("createDisputeProductNotReceived", "2685", "product_not_received"),
    _disputed("createDisputeInquiry", "1976", "inquiry"),
    TestCard("pm_card_pendingRefund", "Pays; refunds are pending first", "7726", refund="pending"),
    TestCard("pm_card_refundFail", "Pays; refunds fail later", "5126", refund="failed"),
    _american("success", "6789", "succeed", "US bank account, pays after days"),
    _american("insufficientFunds", "2227", "insufficient_funds", "US bank account, too little"),
    _american("accountClosed", "1113", "account_closed", "US bank account, closed"),
    TestCard(
        "pm_sepaDebit_success", "SEPA account, pays after days", "3000", "processing",
        debit="sepa_debit", country="DE",
    ),
    TestCard(
        "pm_sepaDebit_failed", "SEPA account, refuses after days", "3002", "processing",
        debit="sepa_debit", settles="debit_not_authorized", country="DE",
    ),
    TestCard("pm_link", "Link, pays", "", is_link=True),
)  # fmt: skip

CARDS: dict[str, TestCard] = {card.token: card for card in _ALL}


def named(token: str) -> TestCard | None:
    """Return the card of a `pm_card_…`, `pm_…` or `tok_…` name; None for any other."""
    if token.startswith("tok_"):
        token = "pm_card_" + token.removeprefix("tok_")
    if token in CARDS:
        return CARDS[token]
    return CARDS.get(token.replace("pm_", "pm_card_", 1)) if token.startswith("pm_") else None
