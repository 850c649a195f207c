"""Lives of uses that a card pays at once, without a database: again a bank made of dice."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Final
from uuid import UUID

from billing.matters.agenda import Step, head
from billing.matters.effects import Change, InboxEvent, Rows, Work
from billing.money.card_usage import transitions
from billing.money.card_usage.reading import ENGINE
from billing.money.card_usage.schemas import ChargedUse
from billing.money.card_usage.transitions import ChargeFacts
from billing.money.invoices.schemas import BalanceEntry, Invoice, Line
from billing.money.payment_methods.rules import CardDetails
from billing.money.payments import kept_cards
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import LIVE, Payment
from tests.unit.lives.collections import BIRTH, LONG, Bank, declines

PRICE: Final = 200
OVER: Final = ("succeeded", "canceled")


class Charge:
    """One use and every try to have a card pay it: rows, clock, bank, and people who meddle."""

    def __init__(self, dice: Random, bank: Bank | None = None) -> None:
        self.dice = dice
        self.bank = bank or Bank(dice)
        self.now = BIRTH
        self.ids = count(1)
        self.finished: set[str] = set()
        self.heard = 0
        use = ChargedUse(
            id=self.new_id(), account_id=self.new_id(), billing_method="payment_charge",
            billing_status="pending", total_amount=Decimal(2), currency="USD",
        )  # fmt: skip
        self.rows = Rows([use])
        self.new_card()
        self.begin()

    @property
    def use(self) -> ChargedUse:
        return transitions.use_of(self.rows)

    def new_id(self) -> UUID:
        return UUID(int=next(self.ids))

    def facts(self, rows: Rows, answer: Answer | None = None) -> ChargeFacts:
        return ChargeFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, answer=answer,
            declines=declines(rows), clock_at=self.now,
        )  # fmt: skip

    def work(self) -> Work[ChargeFacts]:
        return Work(self.rows, self.facts(self.rows))

    def next_step(self) -> Step | None:
        return head(ENGINE.rules.plan(self.rows, self.facts(self.rows)), self.now)

    def do(self, step: Step) -> None:
        """As the executor does it."""
        self.now = max(self.now, step.due)
        done = ENGINE.rules.carry_out(self.rows, step, self.facts, self.answer)
        self.rows = done.rows
        if done.result is not None:
            assert step.key not in self.finished, f"{step.key} was done before"
            self.finished.add(step.key)

    def answer(self, call: Call) -> Answer:
        return Answer(call, self.bank.answer(call), self.now)

    def begin(self) -> None:
        """A draft of one line, which the default card is to pay."""
        card = payments.default_card(self.rows)
        line = Line(
            kind="single_use", description="use", unit_amount=Decimal(PRICE), amount_minor=PRICE
        )
        w = self.work()
        assert card is not None
        transitions.begin(w, line, currency=self.use.currency, issuer_id=None, method_id=card.id)

    # -- what people do ------------------------------------------------------------------------

    def meddle(self) -> None:
        self.dice.choice((self.new_card, self.again, self.confirm, self.tell, self.wait))()

    def new_card(self) -> None:
        card = CardDetails(stripe_payment_method_id=f"pm_{next(self.ids)}", brand="visa")
        kept_cards.keep_card(self.work(), self.use.account_id, card, make_default=True)

    def again(self) -> None:
        """The use is processed anew, once its charge has failed."""
        card = payments.default_card(self.rows)
        if self.use.billing_status == "failed" and card is not None and card.barred_at is None:
            self.rows.take(Change(ChargedUse, self.use.id, {"billing_status": "pending"}))
            self.begin()

    def confirm(self) -> None:
        """The payer finishes what waits for him, and nobody tells us."""
        for one in self.rows.of(Payment):
            intent = one.stripe_payment_intent_id
            if intent and self.bank.stands[intent] in ("waiting", "action"):
                self.bank.took[intent] = one.amount_minor
                self.bank.stands[intent] = "succeeded"

    def tell(self) -> None:
        """A webhook comes in for one of the payments."""
        known = [one for one in self.rows.of(Payment) if one.stripe_payment_intent_id]
        if known:
            one, self.heard = self.dice.choice(known), self.heard + 1
            event = InboxEvent(
                f"evt_{self.heard}", 0, one.stripe_payment_intent_id, self.now, one.id
            )
            self.rows.waiting_events = (*self.rows.waiting_events, event)

    def wait(self) -> None:
        """Nobody works for a while."""
        self.now += timedelta(minutes=self.dice.choice((1, 10, 60)))

    # -- what must be true ---------------------------------------------------------------------

    def hold_true(self) -> None:
        use, found = self.use, self.rows.of(Invoice)
        paid = [one for one in found if one.status == "paid"]
        drafts = [one for one in found if one.status == "draft"]
        assert len(paid) == (use.billing_status == "completed"), "paid once, and then completed"
        assert len(drafts) == (use.billing_status == "pending"), "what is pending is being paid"
        assert all(one.status == "void" for one in found if one not in paid + drafts)
        for one in found:
            live = [p for p in Owed(self.rows, one.id).payments if p.status in LIVE]
            assert len(live) <= 1, "one collector per invoice"
        booked = sum(one.received_minor for one in self.rows.of(Payment) if one.settled_at)
        kept = sum(one.amount_minor for one in self.rows.of(BalanceEntry))
        assert booked == PRICE * len(paid) + kept, "money is lost or made"

    def hold_true_at_the_end(self) -> None:
        """The books hold what the bank took, and it can take no more for this use."""
        self.bank.check(self.rows)
        assert set(self.bank.stands.values()) <= set(OVER), self.bank.stands
        assert self.use.billing_status in ("completed", "failed")


def live(dice: Random, steps: int) -> Charge:
    """One life of so many steps and meddlings, held to its promises after each, to its end."""
    life = Charge(dice)
    for _ in range(steps):
        step = life.next_step()
        if step is None or dice.random() < 0.3:
            life.meddle()
        else:
            life.do(step)
        life.hold_true()
    for _ in range(LONG):
        step = life.next_step()
        if step is None:
            life.hold_true_at_the_end()
            return life
        life.do(step)
        life.hold_true()
    raise AssertionError("a charge without an end")
