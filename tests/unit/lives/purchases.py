"""Lives of purchases without a database: every flow, a bank made of dice, answers that get lost."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Final, get_args
from uuid import UUID

from billing.core.errors import Conflict
from billing.matters.agenda import Step, head
from billing.matters.effects import Do, InboxEvent, Rows, Work
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import CheckoutSession, Decline, Outcome
from billing.money.payments.schemas import LIVE, Payment
from billing.money.purchases import canceling, outcomes
from billing.money.purchases.outcomes import EndedUnpaid, PurchaseFacts
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from tests.unit.lives.collections import BIRTH, LONG, Bank

PRICE: Final = 999
ENDED_UNPAID: Final = get_args(EndedUnpaid)
FLOWS: Final = ("card", "saved_card", "checkout", "paypal", "manual")


@dataclass
class Till(Bank):
    """A bank that gives each key its first answer again, and tells a repeat what it knows."""

    made: dict[str, str] = field(default_factory=dict)
    """The intent of each key."""
    said: dict[str, Outcome] = field(default_factory=dict)
    """The result of the newest try of each intent."""

    def ask(self, call: Call) -> tuple[Outcome | None, CheckoutSession | None]:
        payment = call.payment
        if call.what in ("open", "open_page"):
            return self.open(call)
        intent = payment.stripe_payment_intent_id or ""
        if call.what == "try_card" and call.again and intent in self.said:
            tried = self.said[intent]
            return (tried if tried.kind == "declined" else self.word(payment, intent)), None
        if call.what == "call_back" and self.stands[intent] == "processing":
            return Outcome(kind="processing", intent_id=intent), None
        outcome = self.answer(call)
        if call.what == "try_card":
            self.said[intent] = outcome
        return outcome, None

    def open(self, call: Call) -> tuple[Outcome | None, CheckoutSession | None]:
        intent = self.made.get(call.payment.intent_key)
        if intent is None:
            opened = self.answer(Call("open", call.payment))
            intent = self.made[call.payment.intent_key] = opened.intent_id or ""
        if call.what == "open":
            secret = f"{intent}_secret"
            return Outcome(kind="waiting", intent_id=intent, client_secret=secret), None
        page = CheckoutSession(session_id=f"cs_{intent}", url="u", status="open", intent_id=intent)
        return None, page


class Buying:
    """One purchase: its rows, its clock, its bank, and people who meddle at any time."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.bank = Till(dice)
        self.now = BIRTH
        self.ids = count(1)
        self.finished: set[str] = set()
        self.grants = 0
        self.heard = 0
        self.restored = False
        self.rows = Rows()
        self.purchase_id, flow = self.new_id(), dice.choice(FLOWS)
        row = {
            "id": self.purchase_id, "account_id": self.new_id(), "pack": "small",
            "pack_name": "Small", "tax_category": "standard", "credits": Decimal(100),
            "amount_minor": PRICE,
            "currency": "EUR", "platform": "stripe", "flow": flow, "status": "pending",
            "payment_method_id": self.new_id() if flow == "saved_card" else None,
            "created_at": BIRTH, "expires_at": BIRTH + timedelta(hours=24),
        }  # fmt: skip
        outcomes.start(self.work(), row, None)

    @property
    def purchase(self) -> Purchase:
        return self.rows.get(Purchase, self.purchase_id)

    def new_id(self) -> UUID:
        return UUID(int=next(self.ids))

    def facts(self, answer: Answer | None = None) -> PurchaseFacts:
        return PurchaseFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, answer=answer,
            purchase_id=self.purchase_id, clock_at=self.now,
        )  # fmt: skip

    def work(self) -> Work[PurchaseFacts]:
        return Work(self.rows, self.facts())

    def next_step(self) -> Step | None:
        return head(ENGINE.rules.plan(self.rows, self.facts()), self.now)

    # -- what time does ------------------------------------------------------------------------

    def do(self, step: Step, *, calm: bool = False) -> None:
        """As the executor does it; between its decisions people go on, and workers die."""
        self.now = max(self.now, step.due)
        live = Owed(self.rows, self.purchase.invoice_id).live
        decides = live is not None and live.status == "processing"
        assert not (decides and step.name == "expire"), "it expires while a bank decides"
        answer = None
        while True:
            facts = self.facts(answer)
            planned = ENGINE.rules.planned(self.rows, facts, step)
            if planned is None:
                assert answer is not None, f"{step.key} heads the agenda and is not due"
                return
            work = Work(self.rows.copy(), facts)
            ENGINE.rules.transition(work, planned)
            self.rows = work.rows
            self.grants += sum(isinstance(one, Do) and one.verb == "grant" for one in work.effects)
            if work.call is None:
                break
            asked = canceling.is_asked(work)
            assert not (asked and work.call.charges), "a purchase to be canceled is charged"
            answer = self.answer(work.call, calm=calm)
            if not calm and self.dice.random() < 0.1:
                return  # the worker dies with the answer
            if not calm and self.dice.random() < 0.2:
                self.meddle()
        if work.result is not None:
            assert step.key not in self.finished, f"{step.key} was done before"
            self.finished.add(step.key)

    def answer(self, call: Call, *, calm: bool) -> Answer:
        opens = call.what in ("open", "open_page")
        if opens and call.refusable and not calm and self.dice.random() < 0.05:
            return Answer(
                call,
                None,
                self.now,
                refusal=Decline(code="provider_refused", message="no such currency"),
            )
        outcome, page = self.bank.ask(call)
        return Answer(call, outcome, self.now, session=page)

    # -- what people do ------------------------------------------------------------------------

    def meddle(self) -> None:
        verbs = (
            self.confirm, self.confirm, self.decline, self.tell, self.tell, self.submit,
            self.approve, self.approve, self.reject, self.wait, self.restore, self.cancel,
            self.record,
        )  # fmt: skip
        self.dice.choice(verbs)()

    def confirm(self) -> None:
        """The payer pays what he was shown, and nobody tells us."""
        for one in self.rows.of(Payment):
            intent = one.stripe_payment_intent_id
            if intent and self.bank.stands[intent] in ("waiting", "action"):
                paid = self.dice.random() < 0.7
                self.bank.stands[intent] = "succeeded" if paid else "processing"
                if paid:
                    self.bank.took[intent] = one.amount_minor

    def decline(self) -> None:
        """The payer's card is declined in the browser, and we hear of it."""
        live = Owed(self.rows, self.purchase.invoice_id).live
        if live is not None and live.opened and live.stripe_payment_intent_id:
            intent = live.stripe_payment_intent_id
            if self.bank.stands[intent] in ("waiting", "action"):
                payments.record(self.work(), live, self.bank.declined(intent))

    def tell(self) -> None:
        """A webhook comes in for one of the payments."""
        known = [one for one in self.rows.of(Payment) if one.opened]
        if known:
            self.notify(self.dice.choice(known))

    def notify(self, one: Payment) -> None:
        self.heard += 1
        named = one.stripe_payment_intent_id
        event = InboxEvent(f"evt_{self.heard}", 0, named, self.now, one.id)
        self.rows.waiting_events = (*self.rows.waiting_events, event)

    def submit(self) -> None:
        """The payer pays by hand instead."""
        owed, w = Owed(self.rows, self.purchase.invoice_id), self.work()
        by_hand = any(one.flow == "manual" and one.status in LIVE for one in owed.payments)
        busy = owed.live is not None and owed.live.status == "processing"
        if self.purchase.status == "pending" and not by_hand and not busy:
            payments.open_flow(w, owed, "manual", None)
            payments.send_waiting_to_approval(w, owed)

    def approve(self) -> None:
        """An operator sees the money, all of it or not, perhaps after the purchase has ended."""
        for one in self.rows.of(Payment):
            if one.flow == "manual" and one.status in ("pending_approval", "canceled"):
                received = self.dice.choice((PRICE, 300, PRICE + 500))
                self.work().change(
                    one, status="completed", received_minor=received, paid_at=self.now,
                    closed_at=self.now,
                )  # fmt: skip

    def record(self) -> None:
        """An operator records money that came, all of it or not, beside whatever is open."""
        if self.purchase.status == "pending":
            w, owed = self.work(), Owed(self.rows, self.purchase.invoice_id)
            received = self.dice.choice((PRICE, 300))
            w.change(
                payments.open_flow(w, owed, "manual", None), status="completed",
                received_minor=received, paid_at=self.now, closed_at=self.now,
            )  # fmt: skip

    def reject(self) -> None:
        for one in self.rows.of(Payment):
            if one.flow == "manual" and one.status == "pending_approval":
                said = {"status": "failed", "closed_at": self.now, "decided_by": "admin:1"}
                self.work().change(one, **said)

    def cancel(self) -> None:
        """The buyer wants it no more; what is refused leaves no request behind."""
        with suppress(Conflict):
            canceling.ask(self.work())

    def wait(self) -> None:
        """Nobody works for a while."""
        self.now += timedelta(minutes=self.dice.choice((1, 10, 60, 60 * 24)))

    def restore(self) -> None:
        """A backup that says "expired" while the bank still takes money."""
        live = Owed(self.rows, self.purchase.invoice_id).live
        if self.purchase.status != "pending" or live is None or self.dice.random() < 0.7:
            return
        self.restored, w = True, self.work()
        w.change(self.rows.get(Invoice, self.purchase.invoice_id), status="void")
        w.change(live, status="canceled")
        w.change(self.purchase, status="expired", closed_at=self.now)

    # -- what must be true ---------------------------------------------------------------------

    def hold_true(self) -> None:
        found, status = self.rows.of(Invoice), self.purchase.status
        paid = [one for one in found if one.status == "paid"]
        assert len(paid) == self.grants == (status == "completed"), "granted once, iff it is paid"
        if paid:
            assert paid[0].id == self.purchase.invoice_id
        refused = (one for one in self.rows.of(Payment) if one.status == "failed")
        reports = [one for one in refused if one.flow == "manual"]
        assert all(one.decided_by for one in reports), "a report that no operator has rejected"
        for one in found:
            live = [p for p in Owed(self.rows, one.id).payments
                    if p.status in LIVE and not p.waits_for_its_turn]  # fmt: skip
            assert len(live) <= 1, "one collector per invoice"
        booked = sum(one.received_minor for one in self.rows.of(Payment) if one.settled_at)
        kept = sum(one.amount_minor for one in self.rows.of(BalanceEntry))
        on_invoices = sum(one.amount_paid_minor + one.balance_applied_minor for one in found
                          if one.status != "void")  # fmt: skip
        lost = sum(one.amount_paid_minor for one in found if self.restored and one.voided_at is None
                   and one.status == "void")  # fmt: skip
        assert booked == on_invoices + kept + lost, "money is lost or made"

    def hold_true_after_ending(self) -> None:
        """Ended unpaid means: the bank took nothing, and cannot take anything later."""
        for one in self.rows.of(Payment):
            intent = one.stripe_payment_intent_id
            if intent and not self.restored:
                assert self.bank.stands[intent] == "canceled", self.bank.stands
                assert intent not in self.bank.took
        if not self.restored:
            assert Owed(self.rows, self.purchase.invoice_id).undecided is None

    def hold_true_at_the_end(self) -> None:
        """The bank's money is on the books, once."""
        assert not any(one.is_unbooked for one in self.rows.of(Payment))
        self.bank.check(self.rows)

    def go_on(self, step: Step, *, calm: bool = False) -> None:
        before = self.purchase.status
        self.do(step, calm=calm)
        self.hold_true()
        if before == "pending" and self.purchase.status in ENDED_UNPAID:
            self.hold_true_after_ending()


def live(dice: Random, steps: int) -> Buying:
    """One life of so many steps and meddlings, held to its promises after each, to its end."""
    life = Buying(dice)
    for _ in range(steps):
        step = life.next_step()
        if step is None or dice.random() < 0.3:
            life.meddle()
            life.hold_true()
        else:
            life.go_on(step)
    for one in life.rows.of(Payment):
        if one.opened:
            life.notify(one)  # every webhook comes in the end
    for _ in range(LONG):
        step = life.next_step()
        if step is None:
            life.hold_true_at_the_end()
            assert life.purchase.status != "pending"
            break
        life.go_on(step, calm=True)
    return life
