"""Lives of collections without a database: the product's own decisions, a bank made of dice."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, ClassVar, Final
from uuid import UUID

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import ids
from billing.matters.agenda import Step, head
from billing.matters.deciding import Course, Rules
from billing.matters.effects import InboxEvent, Rows, Work
from billing.money.collecting.collection import RULES, CollectionFacts
from billing.money.collecting.facts import CollectFacts
from billing.money.dunning.rules import FINAL_ACTION_GAP, for_collection
from billing.money.dunning.schemas import DunningCase
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payment_methods.rules import CardDetails
from billing.money.payment_methods.schemas import Method
from billing.money.payments import kept_cards
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Decline, Outcome
from billing.money.payments.schemas import Attempt, Payment

BIRTH: Final = datetime(2027, 3, 1, 9, 0, tzinfo=UTC)
SUMMER: Final = timedelta(hours=1)
"""By so much a day is longer when the clocks are set back."""
LONG: Final = 300
"""Steps after which a life has ended, or only asks its bank every day."""
SENT: Final[dict[str, Any]] = {
    "collection": "send_invoice", "due_at": BIRTH + timedelta(days=30),
}  # fmt: skip
REASONS: Final = ("insufficient_funds", "do_not_honor", "stolen_card", "authentication_required")


@dataclass
class Bank:
    """The provider: money moves here once per intent, and nowhere else."""

    dice: Random
    took: dict[str, int] = field(default_factory=dict)
    """Money that each intent brought."""
    stands: dict[str, str] = field(default_factory=dict)
    payers: dict[str, str] = field(default_factory=dict)
    """The card that each intent's payer has confirmed with."""
    numbers: Iterator[int] = field(default_factory=count)

    def answer(self, call: Call) -> Outcome:
        payment = call.payment
        if call.what == "open":
            if self.dice.random() < 0.05 and call.attempt is not None:
                return Outcome(kind="unreached")
            intent = f"pi_{next(self.numbers)}"
            self.stands[intent] = "waiting"
            return Outcome(kind="waiting", intent_id=intent, client_secret=f"{intent}_secret")
        intent = payment.stripe_payment_intent_id or ""
        match call.what:
            case "try_card":
                return self.tried(payment, intent, on_session=call.on_session)
            case "call_back" if self.stands.get(intent, "waiting") in ("waiting", "action"):
                self.stands[intent] = "canceled"
        return self.word(payment, intent)

    def tried(self, payment: Payment, intent: str, *, on_session: bool) -> Outcome:
        """Nothing paid is confirmed again; a bank may ask even a payer who is not there."""
        if intent in self.payers:
            return self.word(payment, intent)
        if self.stands.get(intent) not in ("waiting", "action"):
            return Outcome(kind="unreached", intent_id=intent)
        kinds = ["succeeded", "declined", "declined", "processing", "unreached"]
        asks = on_session or self.dice.random() < 0.2
        kind = self.dice.choice(kinds + ["action"] * asks)
        if kind == "succeeded":
            self.took[intent] = payment.amount_minor
        if kind in ("succeeded", "processing", "action"):
            self.stands[intent] = kind
        if kind == "declined":
            return self.declined(intent)
        return self.word(payment, intent, kind)

    def declined(self, intent: str) -> Outcome:
        self.stands[intent] = "waiting"
        self.payers.pop(intent, None)
        reason = self.dice.choice(REASONS)
        advice = "do_not_try_again" if self.dice.random() < 0.05 else None
        decline = Decline(code="card_declined", decline_code=reason, message="no", advice=advice)
        charge = f"ch_{next(self.numbers)}"
        return Outcome(kind="declined", intent_id=intent, decline=decline, charge_id=charge)

    def word(self, payment: Payment, intent: str, kind: str | None = None) -> Outcome:
        stands = kind or self.stands.get(intent, "canceled")
        if stands == "processing" and kind is None:
            return self.decided(payment, intent)
        received = self.took.get(intent, 0) if stands == "succeeded" else 0
        return Outcome.model_validate(
            {
                "kind": stands, "intent_id": intent or None, "received_minor": received,
                "card": self.payers.get(intent),
            }
        )  # fmt: skip

    def decided(self, payment: Payment, intent: str) -> Outcome:
        """A bank that was processing says yes or no some day, or lets the payment go."""
        luck = self.dice.random()
        if luck < 0.1:
            self.stands[intent] = self.dice.choice(("canceled", "waiting"))
            self.payers.pop(intent, None)
            return self.word(payment, intent)
        if luck < 0.4:
            card = self.payers.get(intent)
            return Outcome(kind="processing", intent_id=intent, card=card)
        if luck < 0.7:
            return self.declined(intent)
        self.took[intent], self.stands[intent] = payment.amount_minor, "succeeded"
        return self.word(payment, intent)

    def check(self, rows: Rows) -> None:
        """The books hold all that it took, once."""
        booked = {
            one.stripe_payment_intent_id: one.received_minor
            for one in rows.of(Payment)
            if one.status == "succeeded"
        }
        assert booked == self.took, "the bank and the books differ"
        paid_by = {one.id: self.payers.get(one.stripe_payment_intent_id or "")
                   for one in rows.of(Payment)}  # fmt: skip
        ours = [one for one in rows.of(Attempt) if one.status in ("succeeded", "processing")]
        taken = [one for one in ours if one.payment_id and paid_by[one.payment_id]]
        assert taken == [], "a try took another's money"


class Life:
    """One collection: its rows, its clock, its bank, and people who meddle."""

    rules: ClassVar[Rules[Any, Any]] = RULES

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.bank = Bank(self.dice)
        self.now = BIRTH
        self.ids: Iterator[int] = count(1)
        self.finished: set[str] = set()
        self.put_off: dict[UUID, datetime] = {}
        self.heard = 0
        invoice = Invoice(
            id=self.new_id(), account_id=self.new_id(), workflow_id="collection/inv",
            fact_key="sub_1/period-1", status="open", number="INV-000001", currency="EUR",
            subtotal_minor=4900, total_minor=4900, amount_due_minor=4900,
            finalized_at=BIRTH, created_at=BIRTH,
        )  # fmt: skip
        self.invoice_id = invoice.id
        self.rows = Rows([invoice])
        if self.dice.random() < 0.8:
            self.new_card()
        if self.dice.random() < 0.3:
            self.work().change(invoice, **SENT)

    @property
    def account_id(self) -> UUID:
        return self.invoice.account_id

    @property
    def invoice(self) -> Invoice:
        return self.rows.get(Invoice, self.invoice_id)

    @property
    def workflow_id(self) -> str:
        """The matter that hears of its payments."""
        return self.invoice.workflow_id

    def new_id(self) -> UUID:
        return UUID(int=next(self.ids))

    def facts(self, rows: Rows, answer: Answer | None = None) -> CollectFacts:
        return CollectionFacts(
            at=self.now, real_at=self.now, new_id=self.new_id, answer=answer,
            terms=for_collection(DunningPolicy()), declines=declines(rows),
            invoice_id=self.invoice_id, clock_at=self.now,
        )  # fmt: skip

    def next_step(self) -> Step | None:
        return head(self.rules.plan(self.rows, self.facts(self.rows)), self.now)

    # -- what time does ------------------------------------------------------------------------

    def do(self, step: Step) -> Course[Any]:
        """As the executor does it: the same rules, asked again with each answer."""
        self.now = max(self.now, step.due)
        self.ends_in_time(step)
        done = self.rules.carry_out(self.rows, step, self.facts, self.answer)
        self.rows = done.rows
        if done.result is not None:
            assert step.key not in self.finished, f"{step.key} was done before"
            self.finished.add(step.key)
        return done

    def answer(self, call: Call) -> Answer:
        return Answer(call, self.bank.answer(call), self.now, self.kept(call))

    def kept(self, call: Call) -> CardDetails | None:
        if call.what != "look" or call.payment.flow != "card":
            return None
        return CardDetails(stripe_payment_method_id=f"pm_{next(self.ids)}", brand="visa")

    # -- what people do ------------------------------------------------------------------------

    def meddle(self) -> None:
        verbs = (
            self.new_card, self.ask, self.offer, self.submit, self.approve, self.reject,
            self.confirm, self.tell, self.wait,
        )  # fmt: skip
        self.dice.choice(verbs)()

    def put_off_end(self, *, days: int) -> None:
        """An end that is late already is put off from now on."""
        late = max(self.put_off.get(self.invoice_id, self.now), self.now)
        self.put_off[self.invoice_id] = late + timedelta(days=days)

    def wait(self) -> None:
        """Time goes by, and nothing runs."""
        self.now += timedelta(hours=self.dice.choice((1, 20)))

    def work(self) -> Work[CollectFacts]:
        return Work(self.rows, self.facts(self.rows))

    def new_card(self) -> None:
        card = CardDetails(stripe_payment_method_id=f"pm_{next(self.ids)}", brand="visa")
        kept_cards.keep_card(self.work(), self.account_id, card, make_default=True)

    def ask(self) -> None:
        """A payer or an operator wants a try now; one at a time."""
        owed, card = Owed(self.rows, self.invoice_id), payments.default_card(self.rows)
        invoice = self.invoice
        busy = owed.submission or owed.undecided or (owed.live and owed.live.status != "pending")
        waits = self.next_step()
        if invoice.status != "open" or card is None or busy or (waits and waits.asked):
            return
        self.work().change(
            invoice, pay_requests=invoice.pay_requests + 1, pay_requested_at=self.now,
            pay_method_id=card.id,
        )  # fmt: skip

    def offer(self) -> None:
        """The payer wants to confirm in the browser."""
        owed, w = Owed(self.rows, self.invoice_id), self.work()
        if self.invoice.status != "open" or owed.submission or owed.undecided:
            return
        live = owed.live or payments.open_flow(w, owed, "card", None)
        if live.status == "pending" and live.amount_minor == self.invoice.remaining_minor:
            w.change(live, flow="card", offered_at=self.now)

    def submit(self) -> None:
        owed, w = Owed(self.rows, self.invoice_id), self.work()
        by_hand = any(one.flow == "manual" and one.status == "pending_approval"
                      for one in owed.payments)  # fmt: skip
        busy = by_hand or owed.submission or (owed.live and owed.live.status == "processing")
        if self.invoice.status != "open" or busy:
            return
        payments.open_flow(w, owed, "manual", None)
        payments.send_waiting_to_approval(w, owed)

    def approve(self) -> None:
        for one in self.rows.of(Payment):
            if one.flow == "manual" and one.status == "pending_approval":
                received = self.dice.choice((one.amount_minor, 1000, one.amount_minor + 500))
                self.work().change(
                    one, status="completed", received_minor=received, paid_at=self.now,
                    closed_at=self.now,
                )  # fmt: skip

    def reject(self) -> None:
        for one in self.rows.of(Payment):
            if one.flow == "manual" and one.status == "pending_approval":
                self.work().change(one, status="failed", closed_at=self.now)

    def confirm(self) -> None:
        """The payer finishes what waits for him, and nobody tells us."""
        for one in self.rows.of(Payment):
            if self.rows.get(Invoice, one.invoice_id).status not in ("draft", "open"):
                continue
            intent = one.stripe_payment_intent_id
            stands = self.bank.stands.get(intent or "", "canceled")
            if intent and one.status == "pending" and stands in ("waiting", "action"):
                self.bank.payers[intent] = f"pm_{next(self.ids)}"
                if self.dice.random() < 0.3:
                    self.bank.stands[intent] = "processing"
                    continue
                self.bank.took[intent] = one.amount_minor
                self.bank.stands[intent] = "succeeded"

    def tell(self) -> None:
        """A webhook comes in for one of the payments."""
        known = [one for one in self.rows.of(Payment) if one.stripe_payment_intent_id]
        known = [one for one in known if one.workflow_id == self.workflow_id]
        if known:
            one, self.heard = self.dice.choice(known), self.heard + 1
            waiting_events = InboxEvent(
                f"evt_{self.heard}", 0, one.stripe_payment_intent_id, self.now, one.id
            )
            self.rows.waiting_events = (*self.rows.waiting_events, waiting_events)

    # -- what must be true ---------------------------------------------------------------------

    def ends_in_time(self, step: Step) -> None:
        """The final action is due on its day, or a day after the last slot that ran."""
        if step.name != "give_up":
            return
        name = ids.decode(ids.INVOICE, step.invoice or "")
        (case,) = (one for one in self.rows.of(DunningCase) if one.invoice_id == name)
        slots = [one for one in self.rows.of(Attempt)
                 if one.invoice_id == name and one.slot is not None]  # fmt: skip
        if any(one.status == "processing" for one in slots):
            return  # the bank kept one for a while, and let it go
        ended = [one.finished_at for one in slots if one.finished_at is not None]
        days = case.terms.days[-1] + case.terms.grace_days + case.extended_days
        planned = case.day_zero_at + timedelta(days=days)
        last = max(ended, default=case.opened_at) + FINAL_ACTION_GAP
        put_off = last + timedelta(days=case.extended_days)
        late = self.put_off.get(name, case.opened_at)
        assert step.due <= max(planned, put_off, late) + SUMMER, "the end is put off"

    def hold_true(self) -> None:
        invoice = self.invoice
        live = [one for one in self.rows.of(Payment)
                if one.status in ("pending", "pending_approval", "processing")
                and not one.waits_for_its_turn]  # fmt: skip
        assert len(live) <= 1, "one collector per invoice"
        assert invoice.amount_paid_minor <= invoice.amount_due_minor
        booked = sum(one.received_minor for one in self.rows.of(Payment) if one.settled_at)
        kept = sum(one.amount_minor for one in self.rows.of(BalanceEntry))
        carried = 4900 - invoice.amount_due_minor
        assert booked == invoice.amount_paid_minor + kept + carried, "money is lost or made"
        assert len({one.key for one in self.rows.of(Attempt)}) == len(self.rows.of(Attempt))
        cases = self.rows.of(DunningCase)
        due = invoice.due_at or BIRTH
        assert all(one.opened_at >= due for one in cases), "nobody is late before it is due"
        if invoice.status == "paid":
            assert all(not one.is_open for one in cases), "a paid invoice is not dunned"
        method = [one for one in self.rows.of(Method) if one.is_default]
        assert len(method) <= 1

    def hold_true_at_the_end(self) -> None:
        """Nothing is left to do: what the bank took is on the books, once."""
        assert self.invoice.status in ("paid", "uncollectible"), "an invoice is forgotten"
        unbooked = [one for one in self.rows.of(Payment) if one.is_unbooked]
        assert unbooked == []
        self.bank.check(self.rows)


def declines(rows: Rows) -> dict[UUID, int]:
    """Number of declines of each card."""
    cards = (
        one.payment_method_id
        for one in rows.of(Attempt)
        if one.payment_method_id and one.status in ("declined", "action")
    )
    return dict(Counter(cards))


def live(dice: Random, steps: int) -> Life:
    """One life of so many steps and meddlings, held to its promises after each, to its end."""
    life = Life(dice)
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
            break
        life.do(step)
        life.hold_true()
    return life
