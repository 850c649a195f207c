"""A purchase by a saved card that says no: what is found out late is what is written down."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from billing.core.errors import Conflict
from billing.ledger.credits import verbs
from billing.matters.effects import Announce, Bear, Do, InboxEvent, Rows, Work
from billing.matters.kinds import REVERSAL
from billing.money.invoices.schemas import BalanceEntry, Invoice, InvoiceLine
from billing.money.payment_methods.schemas import Method
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.owed import Owed
from billing.money.payments.rules import CHARGE_REFUSED, CheckoutSession, Decline, Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases import canceling, outcomes, transitions
from billing.money.purchases.outcomes import PurchaseFacts
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from billing.money.refunds.schemas import Refund
from billing.platform.provider_inbox.rules import WaitingEvent, event_step
from tests.unit.lives.collections import BIRTH

ACCOUNT, PURCHASE, CARD = (UUID(int=number) for number in (1, 2, 3))
STOLEN = Decline(
    code="card_declined", decline_code="stolen_card", message="no", advice="do_not_try_again"
)
BLOCKED = Decline(code="account_closed", message="it is closed")
DECLINED = Outcome(kind="declined", intent_id="pi_1", charge_id="ch_1", decline=STOLEN)


class Buying:
    """One purchase whose provider answers as a test says."""

    def __init__(self, tax_category: str = "standard", flow: str = "saved_card") -> None:
        self.number = 100
        self.told = list[str]()
        card = Method(
            id=CARD, account_id=ACCOUNT, stripe_payment_method_id="pm_1", chosen_at=BIRTH,
            created_at=BIRTH, is_default=True,
        )  # fmt: skip
        self.rows = Rows([card])
        row = {
            "id": PURCHASE, "account_id": ACCOUNT, "pack": "small", "pack_name": "Small",
            "tax_category": tax_category,
            "credits": Decimal(100), "amount_minor": 999, "currency": "USD", "platform": "stripe",
            "flow": flow, "payment_method_id": CARD if flow == "saved_card" else None,
            "status": "pending",
            "created_at": BIRTH, "expires_at": BIRTH + timedelta(hours=24),
        }  # fmt: skip
        outcomes.start(Work(self.rows, self.facts()), row, None)

    def facts(self, answer: Answer | None = None) -> PurchaseFacts:
        return PurchaseFacts(
            at=BIRTH, real_at=BIRTH, new_id=self.new_id, answer=answer, purchase_id=PURCHASE
        )

    def new_id(self) -> UUID:
        self.number += 1
        return UUID(int=self.number)

    def open_page(self) -> Payment:
        """The hosted page as it is after it was made."""
        (payment,) = self.rows.of(Payment)
        page = CheckoutSession(session_id="cs_1", url="u", status="open", intent_id="pi_1")
        return payments.record_session(Work(self.rows, self.facts()), payment, page)

    def do(self, name: str, said: Iterable[Outcome]) -> list[str]:
        """The planned step of this name with these answers; the calls it made."""
        step = next(one for one in ENGINE.rules.plan(self.rows, self.facts()) if one.name == name)
        answers, answer, calls = iter(said), None, list[str]()
        while True:
            work = Work(self.rows, self.facts(answer))
            ENGINE.rules.transition(work, step)
            self.told += [one.action for one in work.effects if isinstance(one, Announce)]
            if work.call is None:
                return calls
            call: Call = work.call
            calls.append(call.what)
            answer = Answer(call, next(answers), BIRTH)

    @property
    def ended(self) -> tuple[str, str | None, str, str | None]:
        (purchase,), (tried,) = self.rows.of(Purchase), self.rows.of(Attempt)
        return purchase.status, purchase.failure_code, tried.status, tried.decline_class


WAITING = Outcome(kind="waiting", intent_id="pi_1", client_secret="s")
PROCESSING = Outcome(kind="processing", intent_id="pi_1")
CANCELED = Outcome(kind="canceled", intent_id="pi_1", is_over=True)


def test_a_decline_whose_cancel_was_lost_keeps_its_code_and_class() -> None:
    buying = Buying()
    found = DECLINED.model_copy(update={"is_over": True})
    assert buying.do("open", [WAITING, found]) == ["open", "try_card"], "nothing left to cancel"
    assert buying.ended == ("failed", "stolen_card", "declined", "hard")
    (payment,) = buying.rows.of(Payment)
    assert (payment.status, payment.failure_class) == ("failed", "hard")


def test_a_canceled_intent_without_a_charge_is_no_decline() -> None:
    buying = Buying()
    buying.do("open", [WAITING, CANCELED])
    assert buying.ended == ("failed", "PLATFORM_ERROR", "unreached", None)


def test_a_charge_that_the_provider_refuses_says_so_without_its_words() -> None:
    buying, why = Buying(), Decline(code=CHARGE_REFUSED, message="Your account cannot charge.")
    buying.do("open", [WAITING, Outcome(kind="unreached", intent_id="pi_1", decline=why), CANCELED])
    (purchase,) = buying.rows.of(Purchase)
    assert purchase.failure_code == "PLATFORM_ERROR"
    assert purchase.failure_message == "the provider refused the charge"


def test_a_bank_that_says_no_late_has_its_intent_called_back_first() -> None:
    buying = Buying()
    buying.do("open", [WAITING, Outcome(kind="processing", intent_id="pi_1")])
    (purchase,) = buying.rows.of(Purchase)
    assert purchase.status == "pending"
    assert buying.do("check", [DECLINED, CANCELED]) == ["look", "call_back"]
    assert buying.ended == ("failed", "stolen_card", "declined", "hard")


def test_a_card_is_barred_by_a_purchase_too() -> None:
    buying = Buying()
    buying.do("open", [WAITING, DECLINED, CANCELED])
    (card,) = buying.rows.of(Method)
    assert card.barred_at == BIRTH


@pytest.mark.parametrize("flow", ["saved_card", "card"])
def test_a_decline_without_a_charge_is_not_replaced_by_that_of_an_earlier_try(flow: str) -> None:
    buying = Buying()
    (now,) = buying.rows.of(Payment)
    now = Work(buying.rows, buying.facts()).change(now, flow=flow)
    said: list[str | None] = []
    refused = Outcome(kind="declined", intent_id="pi_1", decline=BLOCKED)
    tried = (("first", DECLINED), ("second", refused), (None, DECLINED), (None, DECLINED))
    for key, outcome in tried:
        w = Work(buying.rows, buying.facts())
        if key is not None:
            owed = Owed(w.rows, now.invoice_id)
            attempt, _ = payments.begin_attempt(w, owed, now, key, CARD, None)
            payments.finish_attempt(w, attempt, outcome)
        now = payments.record(w, now, outcome)
        told = (one for one in w.effects if isinstance(one, Announce))
        said += [one.facts["failure_code"] for one in told if one.action == "payment.failed"]
    assert said == ["stolen_card", "account_closed"], "each is told once"
    assert (now.status, now.failure_code) == ("pending", "account_closed")
    over = DECLINED.model_copy(update={"is_over": True})
    now = payments.record(Work(buying.rows, buying.facts()), now, over)
    assert (now.status, now.failure_code) == ("failed", "account_closed")


@pytest.mark.parametrize("is_tried_again", [False, True])
def test_a_charge_of_a_payer_who_was_asked_is_no_result_of_a_later_try(
    is_tried_again: bool,
) -> None:
    buying = Buying()
    (payment,) = buying.rows.of(Payment)
    owed, asks = Owed(buying.rows, payment.invoice_id), Outcome(kind="action", intent_id="pi_1")
    w = Work(buying.rows, buying.facts())
    asked, _ = payments.begin_attempt(w, owed, payment, "first", CARD, None)
    payments.finish_attempt(w, asked, asks)
    if is_tried_again:
        payments.begin_attempt(w, owed, payment, "second", CARD, None)
    payments.record(w, payments.record(w, payment, asks), DECLINED)
    kept = [(one.status, one.detail.get("charge_id")) for one in owed.attempts]
    expected = [("action", None), ("pending", None)] if is_tried_again else [("declined", "ch_1")]
    assert kept == expected


def test_a_webhook_that_says_action_leaves_the_try_to_find_its_own_end() -> None:
    buying = Buying()
    work = Work(buying.rows, buying.facts())
    step = next(one for one in ENGINE.rules.plan(buying.rows, buying.facts()) if one.name == "open")
    ENGINE.rules.transition(work, step)
    answer = Answer(work.call, WAITING, BIRTH)
    again = Work(buying.rows, buying.facts(answer))
    ENGINE.rules.transition(again, step)
    (payment,) = buying.rows.of(Payment)
    payments.record(
        Work(buying.rows, buying.facts()), payment, Outcome(kind="action", intent_id="pi_1")
    )
    (tried,) = buying.rows.of(Attempt)
    assert tried.status == "pending"
    assert ENGINE.rules.begun(buying.rows, buying.facts(), step), "its answer is still recorded"


def test_money_that_comes_late_is_taxed_as_the_pack_was_sold() -> None:
    buying = Buying("reduced")
    buying.do("open", [WAITING, CANCELED])
    (payment,) = buying.rows.of(Payment)
    work = Work(buying.rows, buying.facts())
    outcomes.fulfil(work, work.change(payment, status="succeeded", received_minor=999))
    lines = buying.rows.of(InvoiceLine)
    assert [one.detail["tax_category"] for one in lines] == ["reduced", "reduced"]


@pytest.mark.parametrize("step", ["check", "expire"])
def test_a_page_left_to_a_bank_that_says_no_ends_its_purchase(step: str) -> None:
    buying = Buying(flow="checkout")
    buying.open_page()
    buying.do(step, [DECLINED.model_copy(update={"is_over": True})])
    (purchase,), (payment,) = buying.rows.of(Purchase), buying.rows.of(Payment)
    assert (purchase.status, payment.status) == ("failed", "failed")
    assert [one.status for one in buying.rows.of(Invoice)] == ["void"]
    assert ENGINE.rules.plan(buying.rows, buying.facts()) == []


def test_a_page_left_to_a_bank_makes_way_for_the_payment_by_hand() -> None:
    buying = Buying(flow="checkout")
    owed = Owed(buying.rows, buying.open_page().invoice_id)
    payments.open_flow(Work(buying.rows, buying.facts()), owed, "manual", None)
    buying.do("retire", [DECLINED.model_copy(update={"is_over": True})])
    (purchase,) = buying.rows.of(Purchase)
    assert purchase.status == "pending"
    assert [one.status for one in owed.payments] == ["failed", "pending_approval"]
    assert [one.name for one in ENGINE.rules.plan(buying.rows, buying.facts())] == ["remind"]


@pytest.mark.parametrize("ended", ["expired", "failed", "pending"])
def test_late_money_that_is_back_already_grants_nothing(ended: str) -> None:
    buying = Buying()
    buying.do("open", [WAITING, CANCELED] if ended == "failed" else [WAITING, PROCESSING])
    if ended == "expired":
        outcomes.end_unpaid(Work(buying.rows, buying.facts()), "expired")
    work = Work(buying.rows, buying.facts())
    (payment,) = buying.rows.of(Payment)
    back = work.add(
        Refund(
            id=buying.new_id(), account_id=ACCOUNT, payment_id=payment.id,
            invoice_id=payment.invoice_id, key="re_1", status="succeeded", amount_minor=999,
            currency="USD", reason="made at the provider", created_at=BIRTH,
        )
    )  # fmt: skip
    came = work.change(payment, status="succeeded", received_minor=999)
    purchase = outcomes.fulfil(work, came)
    assert purchase.status == ("failed" if ended == "pending" else ended)
    assert not any(isinstance(one, Do) and one.verb == verbs.GRANT for one in work.effects)
    assert [one.status for one in buying.rows.of(Invoice)] == ["void"], "nothing is billed anew"
    moved = [(one.kind, one.amount_minor) for one in buying.rows.of(BalanceEntry)]
    assert moved == [("unasked", 999), ("refunded", -999)], "nothing of it stays"
    assert buying.rows.get(Payment, payment.id).settled_at == BIRTH
    woken = Bear(REVERSAL, ACCOUNT, back.payment_id, None)
    assert woken in work.effects, "what went back is booked"


def recorded(buying: Buying, received: int = 999) -> None:
    """An operator records the money, which is then booked."""
    owed = Owed(buying.rows, buying.rows.of(Invoice)[0].id)
    work = Work(buying.rows, buying.facts())
    by_hand = payments.open_flow(work, owed, "manual", None)
    work.change(by_hand, status="completed", received_minor=received)
    buying.do("fulfil", [])


@pytest.mark.parametrize("flow", ["card", "checkout", "paypal"])
def test_a_flow_that_is_open_beside_recorded_money_is_called_back(flow: str) -> None:
    buying = Buying(flow=flow)
    opened = buying.open_page()
    recorded(buying)
    assert buying.do("retire", [CANCELED]) == ["call_back"]
    assert buying.rows.get(Payment, opened.id).status == "canceled"
    assert ENGINE.rules.plan(buying.rows, buying.facts()) == []


def test_what_was_paid_twice_before_it_could_be_called_back_is_kept() -> None:
    buying = Buying(flow="paypal")
    buying.open_page()
    recorded(buying)
    buying.do("retire", [Outcome(kind="succeeded", intent_id="pi_1", received_minor=999)])
    (purchase,), (kept,) = buying.rows.of(Purchase), buying.rows.of(BalanceEntry)
    assert (purchase.status, kept.kind, kept.amount_minor) == ("completed", "unasked", 999)
    assert buying.told[-1] == "payment.kept"
    assert ENGINE.rules.plan(buying.rows, buying.facts()) == []


def test_a_bank_that_decides_on_a_purchase_that_is_paid_is_not_called_back() -> None:
    buying = Buying(flow="card")
    opened = buying.open_page()
    recorded(buying)
    buying.do("retire", [PROCESSING])
    assert buying.rows.get(Payment, opened.id).status == "processing"
    assert ENGINE.rules.plan(buying.rows, buying.facts()) == []


def recorded_in_part(buying: Buying) -> None:
    """An operator records a part: the open payment asks for more than is owed."""
    recorded(buying, 400)


def reported(buying: Buying) -> None:
    """The payer reports a transfer; it awaits approval once no other payment is open."""
    work = Work(buying.rows, buying.facts())
    owed = Owed(work.rows, buying.rows.of(Invoice)[0].id)
    payments.open_flow(work, owed, "manual", None)
    payments.send_waiting_to_approval(work, owed)


def canceled(buying: Buying) -> None:
    """The buyer wants it no more."""
    canceling.ask(Work(buying.rows, buying.facts()))


@pytest.mark.parametrize("end", [None, recorded, recorded_in_part, reported, canceled])
def test_an_order_is_captured_until_it_is_paid_otherwise_or_given_up(
    end: Callable[[Buying], None] | None,
) -> None:
    buying = Buying(flow="paypal")
    opened = buying.open_page()
    if end is not None:
        end(buying)
    event = InboxEvent("evt_1", 0, "cs_1", BIRTH, opened.id)
    buying.rows.waiting_events = (event,)
    step = event_step("pur_1", WaitingEvent(id="evt_1"))
    work = Work(buying.rows, buying.facts())
    transitions.transition(work, step)
    assert work.call is not None
    approved = Answer(work.call, Outcome(kind="waiting", is_approved=True), BIRTH)
    work = Work(buying.rows, buying.facts(approved))
    transitions.transition(work, step)
    assert (work.call and work.call.what) == ("capture" if end is None else None)


@pytest.mark.parametrize("is_asked", [True, False])
def test_the_event_of_a_cancel_that_was_asked_for_ends_the_purchase_as_its_answer_would(
    is_asked: bool,
) -> None:
    buying = Buying(flow="card")
    opened = buying.open_page()
    if is_asked:
        canceling.ask(Work(buying.rows, buying.facts()))
    buying.rows.waiting_events = (InboxEvent("evt_1", 0, "pi_1", BIRTH, opened.id),)
    buying.do("check", [CANCELED])
    (purchase,) = buying.rows.of(Purchase)
    ended = ("canceled", None) if is_asked else ("failed", "PAYMENT_CANCELED")
    assert (purchase.status, purchase.failure_code) == ended


def test_a_purchase_whose_page_ends_when_it_expires_is_expired_whoever_is_first() -> None:
    buying = Buying(flow="checkout")
    opened = buying.open_page()
    Work(buying.rows, buying.facts()).change(buying.rows.of(Purchase)[0], expires_at=BIRTH)
    buying.rows.waiting_events = (InboxEvent("evt_1", 0, "cs_1", BIRTH, opened.id),)
    buying.do("check", [CANCELED])
    (purchase,) = buying.rows.of(Purchase)
    assert (purchase.status, purchase.failure_code) == ("expired", None)


@pytest.mark.parametrize("status", ["processing", "pending_approval"])
def test_a_cancel_is_forgotten_when_the_money_came_on_its_way(status: str) -> None:
    buying = Buying(flow="card")
    opened = buying.open_page()
    work = Work(buying.rows, buying.facts())
    canceling.ask(work)
    work.change(opened, status=status)
    assert buying.do("cancel", []) == []
    assert not canceling.is_asked(work)
    with pytest.raises(Conflict) as refused:
        canceling.ask(work)
    assert refused.value.code == "PAYMENT_PENDING"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_card_is_not_tried_once_the_cancel_was_asked_for(is_known: bool) -> None:
    """The buyer cancels while the intent is made; its answer comes, or is lost."""
    buying = Buying()

    def answers() -> Iterator[Outcome]:
        canceling.ask(Work(buying.rows, buying.facts()))
        if is_known:
            yield WAITING

    with nullcontext() if is_known else pytest.raises(StopIteration):
        assert buying.do("open", answers()) == ["open"]
    assert [one.name for one in ENGINE.rules.plan(buying.rows, buying.facts())] == ["cancel"]
    calls, said = (["call_back"], [CANCELED]) if is_known else ([], [])
    assert buying.do("cancel", said) == calls
    assert buying.ended == ("canceled", None, "unreached", None)


def test_money_that_the_card_has_brought_by_the_cancel_buys_the_credits() -> None:
    buying = Buying()
    with pytest.raises(StopIteration):
        buying.do("open", [WAITING])
    canceling.ask(Work(buying.rows, buying.facts()))
    paid = Outcome(kind="succeeded", intent_id="pi_1", received_minor=999)
    assert buying.do("cancel", [paid]) == ["call_back"]
    assert buying.ended == ("completed", None, "succeeded", None)
