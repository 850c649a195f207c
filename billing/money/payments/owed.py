"""In-memory view of one invoice under collection with all its payments and tries. Pure."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from billing.matters.agenda import CLOCK_SKEW
from billing.matters.effects import Rows
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.rules import names_of
from billing.money.payment_methods.schemas import Method
from billing.money.payments.rules import BROUGHT_NO_MONEY, OVERTAKEN, Decline, Outcome
from billing.money.payments.schemas import LIVE, Attempt, Payment

# A decline, or an intent that waits or asks for 3-D Secure, may belong to an older try while the
# newest is still under way; the newest try's own step finds its result.
_DECIDES_ATTEMPTS: Final = frozenset({"succeeded", "processing", "canceled"})


class Owed:
    """The rows of one invoice; each property reads their current state."""

    __slots__ = ("_rows", "invoice_id")

    def __init__(self, rows: Rows, invoice_id: UUID) -> None:
        self._rows = rows
        self.invoice_id = invoice_id

    @property
    def invoice(self) -> Invoice:
        """The invoice itself."""
        return self._rows.get(Invoice, self.invoice_id)

    def may_capture(self, payment: Payment) -> bool:
        """True while a card that is to be tried, or an order that its payer approves, may take
        money: the invoice is neither settled nor void and owes just that, its purchase is still
        wanted, and no transfer was reported or recorded.
        """
        by_hand = self.submission or self.unsettled
        given_up = self.invoice.cancel_asked_at or by_hand or self.is_stale(payment)
        return self.invoice.outstanding_minor > 0 and not given_up

    def is_stale(self, payment: Payment) -> bool:
        """True if the payment has another amount than is owed, or its payer wants another flow."""
        is_other = payment.amount_minor != self.invoice.remaining_minor
        return is_other or payment.superseded_at is not None

    @property
    def payments(self) -> list[Payment]:
        """Every flow, oldest first."""
        return self._rows.having(Payment, "invoice_id", self.invoice_id)

    @property
    def attempts(self) -> list[Attempt]:
        """Every try, oldest first."""
        return self._rows.having(Attempt, "invoice_id", self.invoice_id)

    @property
    def live(self) -> Payment | None:
        """The one collector that may still bring money."""
        found = (one for one in self.payments if one.status in LIVE)
        return next((one for one in found if not one.waits_for_its_turn), None)

    @property
    def submission(self) -> Payment | None:
        """A manual payment that takes over when the live one has been called back."""
        return next((one for one in self.payments if one.waits_for_its_turn), None)

    @property
    def unsettled(self) -> Payment | None:
        """A payment whose money is in and not booked yet."""
        return next((one for one in self.payments if one.is_unbooked), None)

    @property
    def undecided(self) -> Attempt | None:
        """The try whose result is not known."""
        return next((one for one in self.attempts if one.status == "pending"), None)

    @property
    def is_being_captured(self) -> bool:
        """True while the result of the capture of its order is not known."""
        return self.live is not None and self.live.capture_asked_at is not None

    def is_refused_for_good(self, card: Method) -> bool:
        """True if the last try with this card since it was chosen or given was a hard decline."""
        return is_refused_for_good(self.attempts, card)

    def paid_try(self, payment_id: UUID) -> Attempt | None:
        """The newest try of one payment that succeeded or that its payer had to confirm."""
        tries = reversed(self._tries_of(payment_id))
        return next((one for one in tries if one.status in ("succeeded", "action")), None)

    def asks_payer(self, payment_id: UUID) -> Attempt | None:
        """The newest try of one payment, if its payer must confirm it."""
        last = self.last_try(payment_id)
        return last if last is not None and last.status == "action" else None

    def answered_by_payer(self, payment_id: UUID, outcome: Outcome) -> Attempt | None:
        """The try that its payer was asked to confirm, if this outcome ends it: it was declined, or
        paid with the card that the try names.
        """
        asked = self.asks_payer(payment_id)
        if asked is None or outcome.kind != "succeeded":
            return asked if outcome.kind == "declined" else None
        return None if self.is_of_another(asked, outcome) else asked

    def is_of_another(self, attempt: Attempt, outcome: Outcome) -> bool:
        """True if the provider's answer tells that another card than the try's pays, or may."""
        card = self._rows.find(Method, attempt.payment_method_id)
        if card is None or outcome.card is None or outcome.kind not in ("succeeded", "processing"):
            return False
        return outcome.card not in names_of(self._rows.of(Method), card)

    def result_of(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """The result of a try by the provider's answer about its payment.

        A bank that was deciding brought no money if the payment goes on, or ends, without it.
        """
        is_another = self.is_of_another(attempt, outcome)
        if attempt.status != "processing":
            return OVERTAKEN if is_another else outcome
        brought_none = is_another or outcome.kind in BROUGHT_NO_MONEY
        return _without_money(outcome) if brought_none else outcome

    def decided_by(self, payment_id: UUID, outcome: Outcome) -> list[Attempt]:
        """The tries of one payment that the provider's answer decides."""
        return [one for one in self._tries_of(payment_id) if _is_decided(one, outcome)]

    def is_old_decline(self, payment_id: UUID, outcome: Outcome) -> bool:
        """True if the declined charge belongs to an earlier try.

        The provider refused the newest try before any charge, so it still reports the earlier one.
        """
        last, charge = self.last_try(payment_id), outcome.charge_id
        if outcome.kind != "declined" or charge is None or last is None:
            return False
        is_refused = last.status == "declined" and "charge_id" not in last.detail
        return is_refused and any(one.detail.get("charge_id") == charge for one in self.attempts)

    def last_try(self, payment_id: UUID) -> Attempt | None:
        """The newest try of one payment."""
        tries = self._tries_of(payment_id)
        return tries[-1] if tries else None

    def declined_try(self, payment_id: UUID, proof: dict[str, str]) -> Attempt | None:
        """The newest declined try of one payment; with a proof, the one that it tells."""
        found = (one for one in reversed(self._tries_of(payment_id)) if one.status == "declined")
        return next((one for one in found if proof.items() <= one.detail.items()), None)

    def _tries_of(self, payment_id: UUID) -> list[Attempt]:
        return [one for one in self.attempts if one.payment_id == payment_id]


def is_refused_for_good(attempts: Iterable[Attempt], card: Method) -> bool:
    """True if the last of these tries with a card, oldest first, was a hard decline since it was
    chosen or given.
    """
    tries = [one for one in attempts if one.payment_method_id == card.id]
    last = tries[-1] if tries else None
    return last is not None and last.decline_class == "hard" and not is_before_choice(last, card)


def is_before_choice(attempt: Attempt, card: Method) -> bool:
    """True if the try began before this card was chosen or given, by more than clocks differ: a
    try that follows a choice must not seem to come before it.
    """
    return attempt.started_at < card.chosen_at - CLOCK_SKEW


def _is_decided(attempt: Attempt, outcome: Outcome) -> bool:
    if attempt.status == "pending":
        return outcome.kind in _DECIDES_ATTEMPTS or outcome.is_over
    is_end = outcome.kind == "succeeded" or outcome.kind in BROUGHT_NO_MONEY
    return attempt.status == "processing" and is_end


def _without_money(outcome: Outcome) -> Outcome:
    """Return the outcome of a debit that ended without a decline, as one that was canceled."""
    if outcome.decline is not None:
        return outcome
    code = outcome.kind if outcome.kind == "canceled" else "declined"
    why = Decline(code=code, message="the debit brought no money")
    return Outcome(kind="declined", decline=why)
