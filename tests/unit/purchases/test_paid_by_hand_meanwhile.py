"""A purchase that is paid by hand, whole or in part, while another payment of it is open."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from billing.matters.agenda import Step
from billing.matters.effects import InboxEvent, Work
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.calls import Answer
from billing.money.payments.rules import Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.money.purchases import outcomes
from billing.money.purchases.reading import ENGINE
from billing.money.purchases.schemas import Purchase
from tests.unit.lives.collections import BIRTH
from tests.unit.purchases.test_declined_purchases import (
    CANCELED,
    DECLINED,
    PROCESSING,
    WAITING,
    Buying,
    recorded,
    reported,
)

PRICE, PART = 999, 400
PAID = Outcome(kind="succeeded", intent_id="pi_1", received_minor=PRICE)
UNREACHED = Outcome(kind="unreached", intent_id="pi_1")
OVER = DECLINED.model_copy(update={"is_over": True})


def steps(buying: Buying) -> list[str]:
    return [one.name for one in plan(buying)]


def plan(buying: Buying) -> list[Step]:
    return ENGINE.rules.plan(buying.rows, buying.facts())


def status(buying: Buying) -> str:
    (purchase,) = buying.rows.of(Purchase)
    return purchase.status


@pytest.mark.parametrize("flow", ["card", "checkout", "paypal"])
@pytest.mark.parametrize("said", [CANCELED, OVER])
def test_what_asks_for_the_whole_is_called_back_once_a_part_is_paid(
    flow: str, said: Outcome
) -> None:
    buying = Buying(flow=flow)
    opened = buying.open_page()
    recorded(buying, PART)
    assert steps(buying) == ["retire"]
    assert buying.do("retire", [said]) == ["call_back"]
    assert buying.rows.get(Payment, opened.id).closed_at is not None
    assert (status(buying), steps(buying)) == ("pending", ["expire"]), "the rest is awaited"
    reported(buying)
    (rest,) = (one for one in buying.rows.of(Payment) if one.status == "pending_approval")
    assert rest.amount_minor == PRICE - PART
    Work(buying.rows, buying.facts()).change(
        rest, status="completed", received_minor=rest.amount_minor
    )
    buying.do("fulfil", [])
    assert (status(buying), steps(buying)) == ("completed", [])


def test_the_news_that_the_page_is_canceled_does_not_end_what_is_paid_in_part() -> None:
    buying = Buying(flow="checkout")
    opened = buying.open_page()
    recorded(buying, PART)
    buying.rows.waiting_events = (InboxEvent("evt_1", 0, "cs_1", BIRTH, opened.id),)
    buying.do("check", [CANCELED])
    assert (status(buying), steps(buying)) == ("pending", ["expire"])
    buying.do("expire", [])
    assert [one.status for one in buying.rows.of(Invoice)] == ["void"]
    assert [one.amount_minor for one in buying.rows.of(BalanceEntry)] == [PART]


@pytest.mark.parametrize(("said", "ends"), [(PAID, "completed"), (OVER, "pending")])
def test_while_a_bank_decides_on_the_whole_a_part_lets_nothing_expire(
    said: Outcome, ends: str
) -> None:
    buying = Buying(flow="card")
    buying.open_page()
    recorded(buying, PART)
    buying.do("retire", [PROCESSING])
    assert steps(buying) == ["check"], "its bank is asked, and not called back again"
    buying.do("check", [said])
    assert status(buying) == ends
    over = [PART] if ends == "completed" else []
    assert [one.amount_minor for one in buying.rows.of(BalanceEntry)] == over


@pytest.mark.parametrize("said", [DECLINED, UNREACHED])
def test_a_report_made_while_the_card_is_tried_waits_for_its_decision_after_it(
    said: Outcome,
) -> None:
    buying = Buying()

    def answers() -> Iterator[Outcome]:
        yield WAITING
        reported(buying)
        yield said
        yield CANCELED

    assert buying.do("open", answers()) == ["open", "try_card", "call_back"]
    assert [one.status for one in buying.rows.of(Payment)] == ["failed", "pending_approval"]
    assert (status(buying), steps(buying)) == ("pending", ["remind"])


@pytest.mark.parametrize("said", [DECLINED, UNREACHED])
def test_the_rest_is_awaited_where_the_card_brought_nothing_beside_a_part(said: Outcome) -> None:
    buying = Buying()

    def answers() -> Iterator[Outcome]:
        yield WAITING
        recorded(buying, PART)
        yield said
        yield CANCELED

    assert buying.do("open", answers()) == ["open", "try_card", "call_back"]
    assert [one.status for one in buying.rows.of(Payment)] == ["failed", "completed"]
    assert (status(buying), steps(buying)) == ("pending", ["expire"])
    assert not buying.rows.of(BalanceEntry)


@pytest.mark.parametrize("meanwhile", [reported, partial(recorded, received=PART)])
def test_no_card_is_tried_for_what_is_paid_by_hand_while_its_payment_is_opened(
    meanwhile: Callable[[Buying], None],
) -> None:
    buying = Buying()
    (step,) = (one for one in plan(buying) if one.name == "open")
    begun = Work(buying.rows, buying.facts())
    ENGINE.rules.transition(begun, step)
    meanwhile(buying)
    opened = Work(buying.rows, buying.facts(Answer(begun.call, WAITING, BIRTH)))
    ENGINE.rules.transition(opened, step)
    assert opened.call is None
    assert buying.do("retire", [CANCELED]) == ["call_back"]
    assert [one.status for one in buying.rows.of(Attempt)] == ["unreached"]
    assert status(buying) == "pending"


def test_the_end_of_a_purchase_decides_on_no_report() -> None:
    buying = Buying(flow="manual")
    reported(buying)
    outcomes.end_unpaid(Work(buying.rows, buying.facts()), "failed", code=outcomes.REFUNDED)
    assert [one.status for one in buying.rows.of(Payment)] == ["pending_approval"]
    assert (status(buying), steps(buying)) == ("failed", ["remind"])
