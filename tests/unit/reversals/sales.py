"""One pack, everybody who pays for it, the provider of its card, and where all the money is."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from billing.core import ids
from billing.core.errors import Conflict
from billing.matters.agenda import Step
from billing.matters.effects import Rows, Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoice_requests import corrections
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments import transitions as payments
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Payment
from billing.money.purchases import outcomes
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.schemas import Purchase
from billing.money.refunds import transitions as refunds
from billing.money.refunds.calls import RefundAnswer, RefundCall
from billing.money.refunds.remaining import all_reversals
from billing.money.refunds.rules import DisputeOutcome, RefundOutcome, Taken
from billing.money.refunds.schemas import Refund
from billing.money.reversals import transitions
from billing.money.reversals.facts import ReversalFacts
from tests.unit.reversals.story import AFTER_ALL, AT, ME

PRICE: Final = 1000
PACK: Final = UUID(int=5)


class Sale:
    """A pack whose buyer has a card's payment under way, or pays by hand alone. Each act takes a
    second.
    """

    def __init__(self, flow: str = "card") -> None:
        self.numbers = count(10)
        self.now = AT
        self.rows = Rows()
        self.made: dict[str, RefundOutcome] = {}
        self.disputes: dict[str, DisputeOutcome] = {}
        self.asked: list[tuple[Refund, str]] = []
        self.spent = 0
        row = {
            "id": PACK, "account_id": ME, "pack": "small", "pack_name": "Small",
            "tax_category": "standard", "credits": Decimal(100), "amount_minor": PRICE,
            "currency": "EUR", "platform": "stripe", "flow": flow, "status": "pending",
            "payment_method_id": None, "created_at": AT, "expires_at": AT,
        }  # fmt: skip
        outcomes.start(self.buying(), row, None)
        (self.draft,) = self.rows.of(Invoice)
        opened = {"stripe_payment_intent_id": "pi_1", "status": "processing"}
        for one in self.rows.of(Payment):
            self.buying().change(one, **opened)

    @property
    def pack(self) -> Purchase:
        return self.rows.get(Purchase, PACK)

    @property
    def card(self) -> Payment | None:
        """The payment at the provider."""
        return next((one for one in self.rows.of(Payment) if one.flow != "manual"), None)

    @property
    def came(self) -> list[Payment]:
        """The payments that brought money, oldest first."""
        found = [one for one in self.rows.of(Payment) if one.settled_at is not None]
        return sorted(found, key=lambda one: (one.settled_at or AT, one.id))

    @property
    def balance(self) -> int:
        return sum(one.amount_minor for one in self.rows.of(BalanceEntry))

    @property
    def noted(self) -> int:
        return sum(one.amount_minor for one in self.rows.of(CreditNote))

    def new_id(self) -> UUID:
        return UUID(int=next(self.numbers))

    def buying(self) -> Work[PurchaseFacts]:
        facts = PurchaseFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, purchase_id=PACK, clock_at=self.now
        )
        return Work(self.rows, facts)

    def reversing(self, payment: Payment, answer: Any = None) -> Work[ReversalFacts]:
        facts = ReversalFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, answer=answer, payment_id=payment.id
        )
        return Work(self.rows, facts)

    # -- who pays ------------------------------------------------------------------------------

    def pay(self, amount: int) -> None:
        """An operator records money that came by hand, for as long as the pack is not paid."""
        if self.pack.status not in ("completed", "refunded"):
            w = self.buying()
            sent = payments.open_flow(w, Owed(self.rows, self.draft.id), "manual", None)
            self._fulfil(sent, "completed", amount)

    def come(self) -> None:
        """The card's money is seen."""
        if self.card is not None and self.card.settled_at is None:
            self._fulfil(self.card, "succeeded", PRICE)

    def end(self) -> None:
        """It expires, as far as we know."""
        if self.pack.status == "pending":
            outcomes.end_unpaid(self.buying(), "expired")

    def spend(self, amount: int) -> None:
        """The customer pays something else from the money balance."""
        amount = min(amount, self.balance)
        if amount > 0:
            self.spent += amount
            self.buying().add(
                BalanceEntry(
                    id=self.new_id(), account_id=ME, key=f"spent-{self.spent}", kind="applied",
                    amount_minor=-amount, currency="EUR", at=self.now,
                )
            )  # fmt: skip

    def _fulfil(self, payment: Payment, status: str, amount: int) -> None:
        w = self.buying()
        paid = {"status": status, "received_minor": amount, "paid_at": self.now}
        outcomes.fulfil(w, w.change(payment, **paid))

    # -- who takes it back ---------------------------------------------------------------------

    @property
    def room(self) -> int:
        """The provider gives back no more than the charge."""
        gone = sum(one.amount_minor for one in self.made.values() if one.status != "failed")
        held = ("needs_response", "lost", "appeal_under_review")
        away = sum(one.amount_minor for one in self.disputes.values() if one.status in held)
        return max(0, PRICE - gone - away) if self.card is not None else 0

    def dashboard(self, amount: int, status: str = "succeeded") -> None:
        """A refund is made at the provider, perhaps before we see the money."""
        if amount <= self.room:
            name = f"re_{next(self.numbers)}"
            self.made[name] = RefundOutcome(
                refund_id=name, status=status, amount_minor=amount,  # type: ignore[arg-type]
            )  # fmt: skip
            self.hear()

    def settle(self, fate: str, number: int = -1) -> None:
        """One of the refunds gets its final status, the newest by default."""
        for name, one in list(self.made.items())[number:][:1]:
            if one.status != "failed":
                self.made[name] = one.model_copy(update={"status": fate})
                self.hear()

    def dispute(self, status: str, part: int | None = None) -> None:
        """A bank takes the card's money, or a part of it."""
        if self.card is not None:
            name = f"dp_{next(self.numbers)}"
            self.disputes[name] = DisputeOutcome(
                dispute_id=name, status=status, amount_minor=part or PRICE, currency="EUR",
                reason="general",
            )  # fmt: skip
            self.hear()

    def decide(self, status: str) -> None:
        """The bank decides on the newest dispute."""
        for name, one in list(self.disputes.items())[-1:]:
            if one.status == "needs_response" or (one.status, status) in AFTER_ALL:
                self.disputes[name] = one.model_copy(update={"status": status})
                self.hear()

    def refund(self, number: int, amount: int | None = None, fate: str = "succeeded") -> int | None:
        """An operator refunds one of the payments that brought money, the way it came. Return what
        was left of it if that is refused.
        """
        payment = self.came[number % len(self.came)] if self.came else None
        if payment is None:
            return None
        by_hand = payment.flow == "manual"
        try:
            row = refunds.ask(
                self.reversing(payment), payment, refund_id=self.new_id(), amount_minor=amount,
                reason="r", way="outside" if by_hand else "provider", reference=None,
            )  # fmt: skip
        except Conflict as refused:
            return int(refused.fields["left_cents"])
        if by_hand:
            self._step(payment, row, None)
        else:
            self.asked.append((row, fate))
            self.tell()
        return None

    def tell(self) -> None:
        """The provider answers what it was asked for."""
        for row, fate in self.asked:
            payment = self.rows.get(Payment, row.payment_id)
            call = RefundCall(payment, row)
            outcome = RefundOutcome(
                refund_id=f"re_{row.id.int}", status=fate, amount_minor=row.amount_minor,  # type: ignore[arg-type]
                name=ids.encode("ref", row.id),
            )  # fmt: skip
            if row.amount_minor > self.room:
                self._step(payment, row, RefundAnswer(call, None, self.now, "too much"))
            else:
                self.made[outcome.refund_id] = outcome
                self._step(payment, row, RefundAnswer(call, outcome, self.now))
        self.asked = []

    def note(self, amount: int | None = None) -> None:
        """An operator credits what was paid to the money balance, all of it by default."""
        for one in self.rows.of(Invoice):
            w, named = self.buying(), f"note-{next(self.numbers)}"
            left = corrections.left_of(w, one.id, to="balance") if one.status == "paid" else 0
            if left:
                corrections.credit(
                    w, one.id, amount=min(amount or left, left), lines=(), reason="goodwill",
                    to="balance", suffix=named, tries=True,
                )  # fmt: skip

    def _step(self, payment: Payment, row: Refund, answer: Any) -> None:
        step = Step(name="refund", due=AT, key=row.key)
        transitions.transition(self.reversing(payment, answer), step)

    def hear(self) -> None:
        """We look at all that the provider knows."""
        if self.card is not None:
            taken = Taken(refunds=tuple(self.made.values()), disputes=tuple(self.disputes.values()))
            transitions.take_in(self.reversing(self.card), taken)

    # -- what must be true ---------------------------------------------------------------------

    def act(self, name: str, *args: Any) -> None:
        """One act, and what follows from it."""
        self.now += timedelta(seconds=1)
        getattr(self, name)(*args)
        for payment in self.rows.of(Payment):
            self.book(payment)
        self.hold_true()

    def book(self, payment: Payment) -> None:
        """Book all that went back, as the matter of its payment does."""
        done = set[str]()
        while True:
            w = self.reversing(payment)
            state = transitions.RULES.view(self.rows, w.facts)
            steps = [one for one in transitions.RULES.agenda(state) if one.name == "book"]
            if not steps:
                return
            assert steps[0].key not in done, "a step is done once"
            done.add(steps[0].key)
            transitions.transition(w, steps[0])

    def hold_true(self) -> None:
        """Every cent that came is on an invoice, on the money balance, spent, or away, once."""
        came = sum(one.received_minor for one in self.came)
        billed = sum(
            one.amount_paid_minor + one.balance_applied_minor
            for one in self.rows.of(Invoice)
            if one.status != "void"
        )
        here = self.balance + self.spent + billed - self.noted
        assert came == here + sum(_away(one) for one in all_reversals(self.rows) if one.takes_room)
        for payment in self.came:
            mine = [one for one in all_reversals(self.rows) if one.payment_id == payment.id]
            booked = sum(one.own_minor for one in mine if one.takes_room and one.booked_at)
            assert payment.refunded_minor == min(payment.received_minor, booked)
        back = sum(one.amount_refunded_minor for one in self.rows.of(Invoice))
        assert back == sum(one.refunded_minor for one in self.came)


def _away(one: Refund | Dispute) -> int:
    """The money that is with its payer or a bank; a note that is not written yet is on its invoice
    still.
    """
    return one.balance_minor if one.booked_at is None else one.own_minor
