"""One payment of a pack, its rows, the provider behind it, and the promises kept of its money."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from billing.core import ids
from billing.core.errors import Conflict
from billing.matters.agenda import Step
from billing.matters.effects import Announce, Do, Effect, Rows, Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoice_requests import corrections
from billing.money.invoices import notes
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.calls import RefundAnswer, RefundCall
from billing.money.refunds.remaining import creditable
from billing.money.refunds.rules import DisputeOutcome, RefundOutcome, Taken
from billing.money.refunds.schemas import Refund
from billing.money.reversals import booking, placing, transitions
from billing.money.reversals.facts import ReversalFacts

AT = datetime(2027, 1, 1, tzinfo=UTC)
ME, PAYMENT, INVOICE = UUID(int=1), UUID(int=2), UUID(int=3)
CREDITS = Decimal(100)
AFTER_ALL = (
    ("lost", "won"), ("lost", "appeal_under_review"), ("appeal_under_review", "won"),
    ("appeal_under_review", "lost"),
)  # fmt: skip
"""Verdicts that come after a dispute was lost."""
WHOLE: dict[str, Any] = {"reason": "r", "way": "provider", "reference": None}
"""A refund of all that is left, the way it came."""


class Story:
    """One payment of a pack, its rows, and the provider behind it."""

    def __init__(
        self, total: int, overpaid: int, currency: str = "EUR", *, added: bool = False
    ) -> None:
        self.numbers = count(10)
        self.paid = total + overpaid
        self.made: dict[str, RefundOutcome] = {}
        self.disputes: dict[str, DisputeOutcome] = {}
        self.lot = {"left": CREDITS, "asked": Decimal(0)}
        self.changed = Decimal(0)
        """The credits of it that a change has clawed back."""
        self.asked: list[tuple[Refund, str]] = []
        self.upgrades: list[tuple[UUID, int]] = []
        self.credited = 0
        self.done: set[str] = set()
        self.events: list[tuple[str, Any]] = []
        tax = total // 6
        held, price = (0, total - tax) if added else (tax, total)
        rate = {
            "jurisdiction": "AT", "name": "tax", "rate": "20", "inclusive": not added,
            "amount_minor": tax,
        }  # fmt: skip
        rows: list[Any] = [
            Invoice(
                id=INVOICE, account_id=ME, workflow_id="charge/x", fact_key="x", status="paid",
                currency=currency, subtotal_minor=price, total_minor=total, amount_due_minor=total,
                amount_paid_minor=total, tax_minor=tax, tax_included_minor=held,
                settlement="payment", finalized_at=AT, paid_at=AT, created_at=AT,
            ),
            InvoiceLine(
                id=UUID(int=4), account_id=ME, invoice_id=INVOICE, position=1, kind="pack",
                description="", quantity=Decimal(1), unit_amount=Decimal(price),
                amount_minor=price, tax_minor=tax, tax_included_minor=held, taxes=[rate],
            ),
            Payment(
                id=PAYMENT, account_id=ME, invoice_id=INVOICE, workflow_id="charge/x", flow="card",
                intent_key="k", status="succeeded", amount_minor=total, received_minor=self.paid,
                currency=currency, stripe_payment_intent_id="pi_1", created_at=AT, paid_at=AT,
                settled_at=AT,
            ),
        ]  # fmt: skip
        if overpaid:
            rows.append(
                BalanceEntry(
                    id=UUID(int=5), account_id=ME, key="o", kind="overpaid", amount_minor=overpaid,
                    currency="EUR", invoice_id=INVOICE, at=AT,
                )
            )  # fmt: skip
        self.rows = Rows(rows)

    def work(self, answer: Any = None) -> Work[ReversalFacts]:
        left = CREDITS - self.lot["asked"] - self.changed
        lot = {"grant_key": "lot", "credits": CREDITS, "left": left}
        return Work(
            self.rows,
            ReversalFacts(
                at=AT, real_at=AT, new_id=lambda: UUID(int=next(self.numbers)), answer=answer,
                payment_id=PAYMENT,
                granted=tuple(booking.granted(self.rows, [lot])),
            ),
        )  # fmt: skip

    def follow(self, effects: list[Effect]) -> None:
        for one in effects:
            match one:
                case Announce(_, action, _, facts):
                    self.events.append((action, facts))
                case Do("clawback", taken):
                    self.lot["asked"] += taken["amount"]
                case Do("return_clawback", back):
                    clawback = back["clawback_key"]
                    row = next(
                        one for one in self.rows.of(Dispute)
                        if clawback.startswith(ids.encode(ids.DISPUTE, one.id))
                    )  # fmt: skip
                    names = (f"{ids.encode(ids.DISPUTE, row.id)}/clawback-{n}" for n in count(1))
                    taken = dict(zip(names, row.credits, strict=False))[clawback]
                    self.lot["asked"] -= Decimal(taken["amount"])
                case _:
                    continue

    @property
    def announced(self) -> list[str]:
        return [action for action, _ in self.events]

    def told(self, action: str) -> list[Any]:
        """The facts of all events of one kind."""
        return [facts for told, facts in self.events if told == action]

    @property
    def room(self) -> int:
        """The provider gives back no more than the charge."""
        gone = sum(one.amount_minor for one in self.made.values() if one.status != "failed")
        away = sum(
            one.amount_minor - one.returned_minor
            for one in self.disputes.values()
            if one.status in ("needs_response", "lost", "appeal_under_review")
        )
        return max(0, self.paid - gone - away)

    def ask(self, amount: int, way: str, fate: str, *, keep_credits: bool = False) -> None:
        w = self.work()
        refund_id = UUID(int=next(self.numbers))
        payment = self.rows.get(Payment, PAYMENT)
        try:
            row = refunds.ask(
                w, payment, refund_id=refund_id, amount_minor=amount, reason="r",
                way=way, reference=None, keep_credits=keep_credits,  # type: ignore[arg-type]
            )  # fmt: skip
        except Conflict:
            return
        if way == "balance":
            self.step(row.key, None)
        else:
            self.asked.append((row, fate))

    def tell(self) -> None:
        """The provider answers the oldest refund that it was asked for."""
        if not self.asked:
            return
        row, fate = self.asked.pop(0)
        call = RefundCall(self.rows.get(Payment, PAYMENT), row)
        if row.amount_minor > self.room:
            self.step(row.key, RefundAnswer(call, None, AT, "too much"))
            return
        outcome = RefundOutcome(
            refund_id=f"re_{row.id.int}", status=fate, amount_minor=row.amount_minor,  # type: ignore[arg-type]
            name=ids.encode("ref", row.id),
        )  # fmt: skip
        self.made[outcome.refund_id] = outcome
        self.step(row.key, RefundAnswer(call, outcome, AT))

    def step(self, key: str, answer: Any) -> None:
        w = self.work(answer)
        transitions.transition(w, Step(name="refund", due=AT, key=key))
        self.follow(w.effects)
        self.settle()

    def hear(self) -> None:
        w = self.work()
        taken = Taken(refunds=tuple(self.made.values()), disputes=tuple(self.disputes.values()))
        transitions.take_in(w, taken)
        self.follow(w.effects)
        self.settle()

    def settle(self) -> None:
        """Money that found no room looks again, as its matter does."""
        while (short := placing.unplaced(w := self.work())) is not None:
            state = transitions.RULES.view(self.rows, w.facts)
            [step] = [one for one in transitions.RULES.agenda(state) if one.name == "book"]
            assert step.key not in self.done, "a step is done once"
            self.done.add(step.key)
            transitions.book(w, step)
            self.follow(w.effects)
            assert self.rows.get(type(short), short.id) != short

    def upgrade(self, amount: int) -> None:
        """A change of plan credits a part of the invoice, and waits for its payer."""
        invoice = self.rows.get(Invoice, INVOICE)
        amount = min(amount, creditable(self.rows, invoice))
        if not amount or self.upgrades:
            return
        ids_, w = [UUID(int=next(self.numbers)) for _ in range(2)], self.work()
        draft = {"id": ids_[0], "fact_key": "up", "status": "draft", "finalized_at": None}
        w.add(invoice.model_copy(update=draft))
        [line] = [one for one in self.rows.of(InvoiceLine) if one.invoice_id == INVOICE]
        credit: dict[str, Any] = {
            "id": ids_[1], "invoice_id": ids_[0], "kind": "proration", "amount_minor": -amount,
            "tax_minor": 0, "tax_included_minor": 0, "taxes": [],
            "detail": {"invoice": str(INVOICE)},
        }  # fmt: skip
        w.add(line.model_copy(update=credit))
        self.upgrades = [(ids_[0], amount)]

    def decide_upgrade(self, status: str) -> None:
        """Its payer pays it, or never will."""
        decided, self.upgrades = self.upgrades, []
        for draft_id, amount in decided:
            self.work().change(self.rows.get(Invoice, draft_id), status=status)
            self.credited += amount if status == "paid" else 0
            placing.take_room(self.work())
            self.hold_true(credits_follow=True)
        self.settle()

    def note(self, amount: int) -> None:
        invoice = self.rows.get(Invoice, INVOICE)
        if 0 < amount <= creditable(self.rows, invoice):
            named = f"note_{next(self.numbers)}"
            note = NewNote("operator", amount, "goodwill", named)
            notes.credit_note(self.work(), invoice, note, to_balance=True)

    def prove(self) -> None:
        """The VAT id of its payer is proven."""
        named = f"proven-{next(self.numbers)}"
        corrections.credit_tax(self.work(), INVOICE, country="AT", reason="proven", suffix=named)

    @property
    def balance(self) -> int:
        """The customer's money with us."""
        return sum(one.amount_minor for one in self.rows.of(BalanceEntry))

    def hold_true(self, *, credits_follow: bool = False) -> None:
        invoice, payment = self.rows.get(Invoice, INVOICE), self.rows.get(Payment, PAYMENT)
        rows: list[Refund | Dispute] = [*self.rows.of(Refund), *self.rows.of(Dispute)]
        away = sum(
            one.own_minor
            for one in rows
            if one.takes_room and (isinstance(one, Dispute) or one.way != "balance")
        )
        # What a change credits, and a refund of ours on its way, is not the payer's meanwhile.
        holds = sum(amount for _, amount in self.upgrades)
        holds += sum(one.amount_minor for one, _ in self.asked)
        # Nor is what went back twice, until one of the two is heard to have failed.
        holds += max(0, away - self.paid)
        assert self.balance >= -self.credited - holds, "the customer is no debtor by what went back"
        assert self.balance + away <= self.paid, "more went back than came"
        written = self.rows.of(CreditNote)
        noted = sum(one.amount_minor for one in written)
        reserved = sum(one.note_minor for one in rows if one.is_reserved)
        counted = noted + reserved + self.credited + sum(amount for _, amount in self.upgrades)
        assert counted <= invoice.total_minor, "more is taken back than was billed"
        assert sum(one.tax_minor for one in written) <= invoice.tax_minor
        if noted == invoice.total_minor:
            assert sum(one.tax_minor for one in written) == invoice.tax_minor, "a cent of tax"
        booked = min(
            sum(one.own_minor for one in rows if one.takes_room and one.booked_at), self.paid
        )
        assert payment.refunded_minor == invoice.amount_refunded_minor == booked
        assert (payment.status == "refunded") == (booked >= self.paid)
        assert 0 <= self.lot["asked"] <= CREDITS, "more credits are asked back than were granted"
        away = sum(
            one.noted_minor for one in rows
            if one.takes_room and (isinstance(one, Dispute) or one.booked_at)
        )  # fmt: skip
        share = CREDITS * away / invoice.total_minor
        taken = self.lot["asked"] >= share - Decimal("0.0001")
        kept = any(one.keep_credits for one in self.rows.of(Refund))
        assert taken or credits_follow or kept, "credits that nobody paid for stay"


def act(story: Story, what: tuple[Any, ...]) -> None:
    match what:
        case ("dashboard", amount) if amount <= story.room:
            name = f"re_{next(story.numbers)}"
            story.made[name] = RefundOutcome(
                refund_id=name, status="succeeded", amount_minor=amount
            )
        case ("settle", fate) if story.made:
            name, last = list(story.made.items())[-1]
            if last.status != "failed":
                story.made[name] = last.model_copy(update={"status": fate})
        case ("dispute", status, part):
            # A bank may ask for the whole charge, also after a refund.
            name = f"dp_{next(story.numbers)}"
            story.disputes[name] = DisputeOutcome(
                dispute_id=name, status=status, amount_minor=part or story.paid,
                currency=story.rows.get(Payment, PAYMENT).currency, reason="fraudulent",
            )  # fmt: skip
        case ("decide", status) if story.disputes:
            name, last_one = list(story.disputes.items())[-1]
            if last_one.status == "needs_response" or (last_one.status, status) in AFTER_ALL:
                story.disputes[name] = last_one.model_copy(update={"status": status})
        case ("keep", amount, fate):
            story.ask(amount, "provider", fate, keep_credits=True)
        case ("ask" | "tell" | "note" | "prove" | "upgrade" | "decide_upgrade" as ours, *rest):
            getattr(story, ours)(*rest)
        case _:
            story.hear()
