"""The agenda of a subscription, in every state of its rows."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final, get_args

import pytest

from billing.catalog.plans.schemas import DunningPolicy
from billing.core import periods
from billing.core.periods import MONTH, Interval
from billing.matters.agenda import head
from billing.money.collecting import rules as collecting_rules
from billing.money.collecting.rules import Collecting
from billing.money.dunning.rules import Case
from billing.money.subscriptions.periods.spans import next_boundary
from billing.money.subscriptions.rules import (
    AWAITS_PAYER,
    ENDED,
    ExpiringCard,
    Notice,
    SubscriptionState,
    agenda,
    words,
)
from billing.money.subscriptions.states import State
from billing.platform.provider_inbox.rules import AT_ONCE

START: Final = datetime(2027, 1, 1, 10, tzinfo=UTC)
END: Final = datetime(2027, 2, 1, 10, tzinfo=UTC)
STATES: Final[tuple[State, ...]] = get_args(State)
LIFECYCLE: Final = {"renew", "end_trial", "end", "cycle", "abandon"}


CASE: Final = Case(
    status="open", policy=DunningPolicy(), zone="UTC", day_zero_at=START, last_slot=0,
    last_slot_ran_at=START, last_true_attempt_at=START,
)  # fmt: skip


def overdue(**fields: Any) -> Collecting:
    """An invoice in dunning since the period began."""
    known: dict[str, Any] = {"invoice": "inv_1", "day_zero_at": START, "case": CASE}
    return Collecting(**known | fields)


def subscription(status: State, **fields: Any) -> SubscriptionState:
    """One with a monthly period; what its status needs is filled in."""
    known: dict[str, Any] = {
        "status": status,
        "subscription": "sub_1",
        "current_period_end": END,
        "cycle_end": END,
        "incomplete_expires_at": START + AWAITS_PAYER if status == "incomplete" else None,
        "first_period_end": END if status == "incomplete" else None,
    }
    return SubscriptionState(**known | fields)


def test_a_card_that_ends_is_told_of_before_the_charge_and_never_after() -> None:
    card = ExpiringCard(expiry="mth_1/expires-2027-01", due=END - timedelta(days=30))
    told = head(agenda(subscription("active", expiring=card)))
    assert told is not None
    assert (told.name, told.due, told.key) == ("tell_expiring", card.due, card.expiry)
    late = head(agenda(subscription("active", expiring=card)), END)
    assert late is not None
    assert late.name == "renew"
    nothing_is_charged = (
        subscription("unpaid", expiring=card),
        subscription("paused", expiring=card),
        subscription("active", expiring=card, cancel_at_period_end=True),
        subscription("active", expiring=card, pauses=True),
    )
    for state in nothing_is_charged:
        assert all(step.name != "tell_expiring" for step in agenda(state))


TWO: Final = tuple(Notice(days=days, due=END - timedelta(days=days)) for days in (7, 3))
"""The notices of the period's end."""


@pytest.mark.parametrize(
    ("status", "name", "last"),
    [
        ("trialing", "tell_trial_ending", "end_trial"),
        ("active", "tell_renewal", "renew"),
        ("past_due", "tell_renewal", "renew"),
    ],
)
def test_the_end_of_a_period_is_told_before_it_and_never_late(
    status: State, name: str, last: str
) -> None:
    steps = agenda(subscription(status, notices=TWO))
    before = {days: head(steps, END - timedelta(days=days)) for days in (14, 7, 5, 3, 1, 0)}
    seen = {days: (step.name, step.due) for days, step in before.items() if step is not None}
    first, second = ((name, one.due) for one in TWO)
    assert seen == {14: first, 7: first, 5: first, 3: second, 1: second, 0: (last, END)}
    assert len({step.key for step in steps}) == 3


@pytest.mark.parametrize("status", ["trialing", "active", "past_due"])
def test_nobody_is_told_of_a_renewal_that_does_not_come(status: State) -> None:
    ends: dict[str, Any]
    for ends in ({"cancel_at_period_end": True}, {"cancel_at": END - timedelta(days=5)}):
        state = subscription(status, notices=TWO, **ends)
        assert [step.name for step in agenda(state)] == ["end"]
    if status != "trialing":
        paused = subscription(status, notices=TWO, pauses=True)
        assert [step.name for step in agenda(paused)] == ["pause"]


def test_nothing_of_a_period_comes_once_its_payment_went_back() -> None:
    for status in ("active", "past_due", "unpaid"):
        planned = agenda(subscription(status, went_back=True, cycle_end=START, pauses=True))
        assert [(one.name, one.due) for one in planned] == [("end", AT_ONCE)]
    assert agenda(subscription("paused", went_back=True)) == []


def test_a_commitment_ends_in_a_pause_too() -> None:
    paused = head(agenda(subscription("paused", commitment_ends_at=END)))
    assert paused is not None
    assert (paused.name, paused.due) == ("close_commitment", END)
    others = [one for one in STATES if one != "paused"]
    for status in others:
        steps = agenda(subscription(status, commitment_ends_at=END))
        assert all(step.name != "close_commitment" for step in steps), "it closes with its period"


def test_what_stays_unpaid_ends_by_itself() -> None:
    until = START + timedelta(days=20)
    ends = head(agenda(subscription("unpaid", unpaid_until=until)))
    assert ends is not None
    assert (ends.name, ends.due) == ("end_unpaid", until)
    others = [one for one in STATES if one != "unpaid"]
    plans = [agenda(subscription(status, unpaid_until=until)) for status in others]
    assert all(step.name != "end_unpaid" for plan in plans for step in plan)


@pytest.mark.parametrize("status", STATES)
def test_use_that_reached_its_threshold_is_invoiced_before_anything_that_comes_later(
    status: State,
) -> None:
    crossed = START + timedelta(days=3)
    state = subscription(status, threshold_at=crossed, threshold="2027-01-01T10:00:00Z-2")
    early = [step for step in agenda(state) if step.name == "bill_early"]
    if status not in ("active", "past_due"):
        assert early == []
        return
    (step,) = early
    assert (step.due, step.key) == (crossed, "sub_1/threshold-2027-01-01T10:00:00Z-2")
    assert head(agenda(state)) == step


def plan(state: SubscriptionState) -> dict[str, datetime]:
    """Key and due date of every step."""
    return {step.key: step.due for step in agenda(state)}


LAST: Final[dict[State, dict[str, datetime]]] = {
    "incomplete": {"sub_1/incomplete-expired": START + timedelta(hours=23)},
    "incomplete_expired": {},
    "trialing": {"sub_1/trial-end-2027-02-01T10:00:00Z": END},
    "active": {"sub_1/renew-2027-02-01T10:00:00Z": END},
    "past_due": {"sub_1/renew-2027-02-01T10:00:00Z": END},
    "unpaid": {"sub_1/renew-2027-02-01T10:00:00Z": END},
    "paused": {},
    "canceled": {},
}


@pytest.mark.parametrize("status", STATES)
def test_each_state_ends_its_period_in_its_own_way(status: State) -> None:
    assert plan(subscription(status)) == LAST[status]


@pytest.mark.parametrize("status", ["trialing", "active", "past_due", "unpaid"])
def test_a_scheduled_end_comes_instead_of_what_would_go_on(status: State) -> None:
    ends = subscription(status, cancel_at_period_end=True)
    assert plan(ends) == {"sub_1/end-2027-02-01T10:00:00Z": END}


@pytest.mark.parametrize("status", ["trialing", "active", "past_due", "unpaid"])
def test_a_cycle_that_is_shorter_than_the_period_turns_before(status: State) -> None:
    yearly = subscription(status, current_period_end=datetime(2028, 1, 1, 10, tzinfo=UTC))
    first = head(agenda(yearly))
    assert first is not None
    assert (first.name, first.due, first.key) == ("cycle", END, "sub_1/cycle-2027-02-01T10:00:00Z")


@pytest.mark.parametrize("status", ["trialing", "active", "past_due", "unpaid"])
def test_no_cycle_begins_at_the_instant_of_the_end(status: State) -> None:
    yearly = subscription(
        status, current_period_end=datetime(2028, 1, 1, 10, tzinfo=UTC), cancel_at=END
    )
    assert plan(yearly) == {"sub_1/end-2027-02-01T10:00:00Z": END}


@pytest.mark.parametrize("status", ["active", "past_due", "unpaid"])
def test_a_scheduled_pause_waits_while_it_is_unpaid(status: State) -> None:
    (last,) = agenda(subscription(status, pauses=True))
    assert last.name == ("renew" if status == "unpaid" else "pause")


@pytest.mark.parametrize("status", STATES)
def test_an_event_is_looked_into_before_everything_else(status: State) -> None:
    told = subscription(
        status, events=({"id": "evt_1"}, {"id": "evt_2"}), invoices=(overdue(unsettled="pay_1"),)
    )
    first = head(agenda(told))
    assert first is not None
    assert (first.key, first.due) == ("sub_1/evt_1", AT_ONCE)


@pytest.mark.parametrize(
    ("status", "slots"),
    [(status, status != "unpaid") for status in STATES],
)
def test_its_invoices_are_collected_in_every_state_but_unpaid_tries_nothing_by_itself(
    status: State, slots: bool
) -> None:
    """An ended one has handed its invoices over, yet what it has left is never dropped."""
    late = overdue()
    keys = plan(subscription(status, invoices=(late,)))
    assert ("inv_1/attempt-1" in keys) is slots
    asked = overdue(pay_requests=1, pay_requested_at=START)
    assert "inv_1/now-1" in plan(subscription(status, invoices=(asked,)))


def test_two_invoices_are_recovered_side_by_side() -> None:
    second = overdue(invoice="inv_2", day_zero_at=START + timedelta(days=7))
    both = plan(subscription("past_due", invoices=(overdue(), second)))
    assert {"inv_1/attempt-1", "inv_2/attempt-1"} <= set(both)


@pytest.mark.parametrize(
    ("payment", "superseded", "waits"),
    [
        ("pending", False, False),
        ("processing", False, True),
        ("pending_approval", False, True),
        ("processing", True, True),
        ("pending_approval", True, False),
    ],
)
def test_an_incomplete_one_is_not_given_up_while_its_money_may_come(
    payment: str, superseded: bool, waits: bool
) -> None:
    draft = Collecting(
        invoice="inv_1", day_zero_at=START, pay_first=True, payment="pay_1",
        flow="manual" if payment == "pending_approval" else "card", payment_status=payment,
        opened=True, payment_at=START,
    )  # fmt: skip
    waiting = subscription("incomplete", superseded=superseded, invoices=(draft,))
    (abandon,) = (step for step in agenda(waiting) if step.name == "abandon")
    assert (abandon.due == END) is waits, "the period that it pays is over"
    # The release before waited for the bank or the operator, and its histories still do.
    written = waiting.model_dump(mode="json", exclude={"first_period_end"})
    earlier = agenda(SubscriptionState.model_validate(written))
    assert any(step.name == "abandon" for step in earlier) is not waits


def test_a_new_subscribe_gives_up_an_incomplete_one_at_once() -> None:
    assert plan(subscription("incomplete", superseded=True)) == {"sub_1/abandon": AT_ONCE}


def test_a_charge_comes_before_the_renewal_of_the_same_instant() -> None:
    due_together = overdue(invoice="inv_1", day_zero_at=END, case=None)
    first = head(agenda(subscription("active", invoices=(due_together,))))
    assert first is not None
    assert first.name == "charge"


def test_no_two_steps_share_a_key_in_any_state() -> None:
    invoices = (
        overdue(),
        overdue(invoice="inv_2", pay_requests=1, pay_requested_at=START),
        overdue(
            invoice="inv_3", payment="pay_3", flow="card", payment_status="pending", opened=True,
            payment_at=START, method="mth_1", method_chosen_at=END,
        ),
    )  # fmt: skip
    for status, cancel, superseded in product(STATES, (True, False), (True, False)):
        steps = agenda(
            subscription(
                status,
                cancel_at_period_end=cancel,
                superseded=superseded,
                invoices=invoices,
                cycle_end=START + timedelta(days=7),
                events=({"id": "evt_1"},),
            )
        )
        keys = [step.key for step in steps]
        assert len(keys) == len(set(keys)), status
        assert all(step.words for step in steps)
        lifecycle = [step.name for step in steps if step.name in LIFECYCLE]
        assert len([name for name in lifecycle if name != "cycle"]) <= 1


@pytest.mark.parametrize("status", STATES)
def test_its_words_name_the_state_and_what_comes_next(status: State) -> None:
    said = words(subscription(status), "49.00 EUR", "Pro", "Europe/Berlin")
    assert said.startswith(f"**{status}**" if status in ENDED else f"**{status.split('_')[0]}")
    assert "Pro, 49.00 EUR" in said
    if status == "active":
        assert said.endswith("renew on 1 Feb 2027 11:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("allowance", "start", "period_end", "expected"),
    [
        (MONTH, START, END, END),
        (MONTH, START, datetime(2028, 1, 1, 10, tzinfo=UTC), END),
        (Interval(unit="week"), START, END, START + timedelta(days=7)),
        # The last cycle of a period ends with it.
        (
            Interval(unit="week"),
            START + timedelta(days=28),
            END,
            END,
        ),
        (Interval(unit="year"), START, END, END),
    ],
)
def test_a_cycle_ends_at_its_boundary_or_with_the_period(
    allowance: Interval, start: datetime, period_end: datetime, expected: datetime
) -> None:
    anchor = periods.to_wall(START, "UTC")
    assert next_boundary(anchor, "UTC", allowance, start, period_end) == expected


def test_collecting_has_no_other_step_than_these() -> None:
    """A new step needs an activity in both kinds of matter that collect."""
    every = [
        overdue(),
        overdue(unsettled="pay_1"),
        overdue(submission="pay_2"),
        overdue(payment="pay_1", flow="card", payment_status="pending", payment_at=START),
        overdue(payment="pay_1", flow="card", payment_status="processing", payment_at=START),
        overdue(
            payment="pay_1", flow="manual", payment_status="pending_approval", payment_at=START
        ),
        overdue(case=CASE.model_copy(update={"last_slot": 2})),
    ]
    names = {step.name for one in every for step in collecting_rules.agenda(one)}
    assert names == {
        "charge", "settle", "retire", "open", "check", "end_approval", "give_up",
    }  # fmt: skip
