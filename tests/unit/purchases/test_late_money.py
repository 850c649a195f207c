"""Money that comes for a purchase that has ended, and that the money balance had paid a part of."""

from dataclasses import replace
from decimal import Decimal

import pytest

from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.core import ids
from billing.ledger.credits import verbs
from billing.matters.agenda import Step
from billing.matters.effects import Announce, Do, InboxEvent, Work
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Payment
from billing.money.purchases import outcomes, transitions
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from billing.money.refunds.remaining import books_of
from billing.money.refunds.rules import Parts, RefundOutcome, Taken, left_minor, parted
from billing.money.reversals import transitions as reversals
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.views import booked_key, unbooked
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from tests.unit.lives.collections import BIRTH
from tests.unit.purchases.test_declined_purchases import Buying, recorded, reported

PRICE, APPLIED = 999, 400


class Balanced(Buying):
    """A purchase whose payer has a money balance."""

    balance = 0

    def facts(self, answer: Answer | None = None) -> PurchaseFacts:
        facts = super().facts(answer)
        facts.balance_minor = self.balance
        return facts


class Ended(Balanced):
    """A purchase that its payer's balance paid a part of, and that nobody paid the rest of."""

    balance = APPLIED

    def __init__(self) -> None:
        super().__init__(flow="card")
        self.open_page()
        outcomes.end_unpaid(Work(self.rows, self.facts()), "expired")

    def come(self, received: int) -> Work[PurchaseFacts]:
        """Its money comes after all."""
        work = Work(self.rows, self.facts())
        (payment,) = self.rows.of(Payment)
        came = work.change(payment, status="succeeded", received_minor=received)
        outcomes.fulfil(work, came)
        return work

    @property
    def kept(self) -> list[tuple[str, int]]:
        return [(one.kind, one.amount_minor) for one in self.rows.of(BalanceEntry)]


BACK = [("applied", -APPLIED), ("returned", APPLIED)]


def test_it_is_granted_while_the_balance_still_has_its_part() -> None:
    buying = Ended()
    buying.come(PRICE - APPLIED)
    (purchase,) = buying.rows.of(Purchase)
    assert purchase.status == "completed"
    assert [one.status for one in buying.rows.of(Invoice)] == ["void", "paid"]
    assert buying.kept == [*BACK, ("applied", -APPLIED)]


@pytest.mark.parametrize("received", [PRICE - APPLIED, 1])
def test_too_little_is_kept_on_the_balance_and_told(received: int) -> None:
    buying = Ended()
    buying.balance = 0  # it is spent
    work = buying.come(received)
    (purchase,), (payment,) = buying.rows.of(Purchase), buying.rows.of(Payment)
    assert (purchase.status, payment.settled_at) == ("expired", work.facts.at)
    assert [one.status for one in buying.rows.of(Invoice)] == ["void"], "nothing is billed anew"
    assert buying.kept == [*BACK, ("unasked", received)]
    assert "payment.kept" in [one.action for one in work.effects if isinstance(one, Announce)]
    assert not any(isinstance(one, Do) and one.verb == verbs.GRANT for one in work.effects)
    assert ENGINE.rules.plan(buying.rows, buying.facts()) == []


def test_the_whole_price_is_granted_without_the_balance() -> None:
    buying = Ended()
    buying.balance = 0
    buying.come(PRICE)
    (purchase,) = buying.rows.of(Purchase)
    assert purchase.status == "completed"
    assert buying.kept == BACK


@pytest.mark.parametrize(
    ("rest", "more", "ends"),
    [(PRICE - APPLIED, 0, "completed"), (1, 0, "expired"), (1, PRICE, "expired")],
)
def test_two_transfers_buy_the_credits_together_also_if_it_expired_between_them(
    rest: int, more: int, ends: str
) -> None:
    """With nothing else that is on the balance, which its buyer did not choose to use."""
    buying = Balanced(flow="manual")
    recorded(buying, APPLIED)
    outcomes.end_unpaid(Work(buying.rows, buying.facts()), "expired")
    buying.balance = more
    recorded(buying, rest)
    (purchase,), kept = buying.rows.of(Purchase), buying.rows.of(BalanceEntry)
    assert purchase.status == ends
    assert sum(one.amount_minor for one in kept) == (0 if ends == "completed" else APPLIED + rest)


def test_money_that_was_kept_goes_back_from_the_balance_also_after_another_transfer_bought_it() -> (
    None
):
    buying = Buying(flow="manual")
    outcomes.end_unpaid(Work(buying.rows, buying.facts()), "expired")
    recorded(buying, 990)
    recorded(buying, PRICE)
    (purchase,), (kept, paid) = buying.rows.of(Purchase), buying.rows.of(Payment)
    assert purchase.status == "completed"
    assert parted(books_of(buying.rows, kept, 990), 990) == Parts(0, 990)
    assert parted(books_of(buying.rows, paid, 990), PRICE) == Parts(PRICE, 0)


def test_a_tax_that_came_since_is_not_asked_for() -> None:
    buying = Ended()
    buying.balance = 0
    facts, taxed = buying.facts, Jurisdiction(key="AT", name="VAT", rates={"standard": Decimal(20)})
    buying.facts = lambda answer=None: replace(  # type: ignore[method-assign]
        facts(answer), taxation=Taxation(country="AT", jurisdictions=(taxed,))
    )
    buying.come(PRICE)
    (purchase,), (_, paid) = buying.rows.of(Purchase), buying.rows.of(Invoice)
    assert (purchase.status, paid.total_minor, paid.tax_minor) == ("completed", PRICE, 0)
    assert buying.kept == BACK


def test_late_money_is_billed_under_the_vat_id_that_freed_the_first_draft() -> None:
    buying = Ended()
    buying.balance = 0
    (first,) = buying.rows.of(Invoice)
    Work(buying.rows, buying.facts()).change(first, vat_id="ATU13585627")
    buying.come(PRICE)
    (_, paid) = buying.rows.of(Invoice)
    assert paid.vat_id == "ATU13585627"


def test_what_went_back_before_it_came_is_credited_on_the_invoice_that_it_paid() -> None:
    buying = Ended()
    buying.balance = 0
    (payment,) = buying.rows.of(Payment)
    facts = ReversalFacts(
        at=BIRTH, real_at=BIRTH, new_id=buying.new_id, payment_id=payment.id, granted=()
    )
    seen = RefundOutcome(refund_id="re_1", status="succeeded", amount_minor=400)
    reversals.take_in(Work(buying.rows, facts), Taken(refunds=(seen,)))
    buying.come(PRICE)
    waiting = unbooked(buying.rows, payment.id)
    assert waiting is not None
    reversals.book(Work(buying.rows, facts), Step(name="book", due=BIRTH, key=booked_key(waiting)))
    (note,), (_, paid) = buying.rows.of(CreditNote), buying.rows.of(Invoice)
    assert (note.invoice_id, note.amount_minor) == (paid.id, 400)
    (payment,) = buying.rows.of(Payment)
    assert left_minor(books_of(buying.rows, payment, 0)) == PRICE - 400


@pytest.mark.parametrize("cause", ["evt_new", None])
def test_a_look_at_one_payment_leaves_the_event_of_another_to_a_look_of_its_own(
    cause: str | None,
) -> None:
    buying = Buying(flow="card")
    old = buying.open_page()
    work = Work(buying.rows, buying.facts())
    work.change(old, status="canceled")
    new = payments.open_flow(work, Owed(work.rows, old.invoice_id), "card", None)
    new = work.change(new, stripe_payment_intent_id="pi_2")
    buying.rows.waiting_events = tuple(
        InboxEvent(name, 0, object_id, BIRTH, about)
        for name, object_id, about in (
            ("evt_old", "pi_1", old.id), ("evt_new", "pi_2", new.id),
            ("evt_page", "cs_2", new.id), ("evt_twice", "pi_2", new.id),
        )
    )  # fmt: skip
    step = event_step("pur_1", WaitingEvent(id="evt_new")).model_copy(update={"event": cause})
    asking = Work(buying.rows, buying.facts())
    transitions.transition(asking, step)
    assert asking.call is not None
    assert asking.call.payment.id == new.id
    answer = Answer(asking.call, Outcome(kind="waiting", intent_id="pi_2"), BIRTH)
    transitions.transition(Work(buying.rows, buying.facts(answer)), step)
    assert [one.id for one in buying.rows.waiting_events] == ["evt_old"]


@pytest.mark.parametrize("received", [400, 999])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_reported_transfer_waits_beside_money_that_an_operator_records(
    is_late: bool, received: int
) -> None:
    buying = Buying(flow="manual")
    if is_late:
        outcomes.end_unpaid(Work(buying.rows, buying.facts()), "expired")
    reported(buying)
    recorded(buying, received)
    (step,) = ENGINE.rules.plan(buying.rows, buying.facts())
    (waiting,) = (one for one in buying.rows.of(Payment) if one.status == "pending_approval")
    assert (step.name, step.payment) == ("remind", ids.encode(ids.PAYMENT, waiting.id))
