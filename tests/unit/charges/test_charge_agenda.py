"""The agenda of a use that a card pays, from its rows alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from billing.matters.agenda import Step, head
from billing.money.card_usage.rules import LIFETIME, ChargeState, agenda
from billing.money.collecting.rules import Collecting, Undecided
from billing.platform.provider_inbox.rules import WaitingEvent

AT = datetime(2027, 1, 1, tzinfo=UTC)


def plan(events: tuple[str, ...] = (), **invoice: Any) -> list[tuple[str, datetime]]:
    return [(step.name, step.due) for step in steps(events, **invoice)]


def steps(events: tuple[str, ...] = (), **invoice: Any) -> list[Step]:
    known: dict[str, Any] = {
        "pay_first": True,
        "payment": "pay_1",
        "flow": "saved_card",
        "payment_at": AT,
    }
    state = ChargeState(
        status="pending",
        charge="bill_1",
        invoice=Collecting(
            invoice="inv_1", day_zero_at=AT, **known | {"payment_status": "pending"} | invoice
        ),
        begun_at=AT if invoice.get("pay_first", True) else None,
        events=tuple(WaitingEvent(id=event) for event in events),
    )
    return agenda(state)


def test_the_card_is_tried_at_once_and_given_up_after_a_quarter_of_an_hour() -> None:
    assert plan() == [("charge", AT), ("expire", AT + LIFETIME)]


def test_a_charge_that_nobody_could_begin_in_time_is_not_begun_any_more() -> None:
    names = [head(steps(), AT + late) for late in (LIFETIME - timedelta(seconds=1), LIFETIME)]
    assert [step and step.name for step in names] == ["charge", "expire"]
    begun = head(steps(undecided=Undecided(key="inv_1/attempt-0", slot=0)), AT + timedelta(days=1))
    assert begun is not None
    assert begun.name == "charge"


def test_a_bank_that_decides_is_asked_and_never_cut_off() -> None:
    (step,) = plan(payment_status="processing", opened=True, tried=("inv_1/attempt-0",))
    assert step[0] == "check"


def test_a_try_whose_end_is_not_known_comes_first() -> None:
    assert plan(undecided=Undecided(key="inv_1/attempt-0", slot=0)) == [("charge", AT)]


def test_a_failed_charge_calls_its_payment_back() -> None:
    (step,) = plan(pay_first=False, closed=True, opened=True, tried=("inv_1/attempt-0",))
    assert step == ("retire", AT)


def test_an_event_is_looked_into_and_then_nothing_is_left() -> None:
    done = ChargeState(status="completed", charge="bill_1", events=(WaitingEvent(id="evt_1"),))
    assert [step.name for step in agenda(done)] == ["check"]
    assert agenda(done.model_copy(update={"events": ()})) == []
