"""The agenda of an unpaid invoice, in every state of its rows."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from billing.catalog.plans.schemas import DunningPolicy
from billing.matters.agenda import Step, head
from billing.money.collecting.rules import (
    Collecting,
    CollectionState,
    Undecided,
    agenda,
    collection_agenda,
)
from billing.money.dunning.rules import Case
from billing.platform.provider_inbox.rules import AT_ONCE, WaitingEvent, event_step

ZERO: Final = datetime(2027, 2, 1, 10, tzinfo=UTC)
DAY: Final = timedelta(days=1)


def case(**fields: Any) -> Case:
    """A case whose slot 0 ran on time."""
    known: dict[str, Any] = {
        "status": "open",
        "policy": DunningPolicy(),
        "zone": "UTC",
        "day_zero_at": ZERO,
        "last_slot": 0,
        "last_slot_ran_at": ZERO,
        "last_true_attempt_at": ZERO,
    }
    return Case(**known | fields)


def invoice(**fields: Any) -> Collecting:
    """An open invoice that was just finalized."""
    known: dict[str, Any] = {"invoice": "inv_1", "day_zero_at": ZERO}
    return Collecting(**known | fields)


def live(flow: str = "saved_card", status: str = "pending", **fields: Any) -> dict[str, Any]:
    """The fields of one live payment, made at day 0."""
    return {
        "payment": "pay_1",
        "flow": flow,
        "payment_status": status,
        "opened": True,
        "payment_at": ZERO,
    } | fields


def plan(c: Collecting, **options: Any) -> dict[str, datetime]:
    """Key and due date of every step."""
    return {step.key: step.due for step in agenda(c, **options)}


# -- a bank that decides for days ------------------------------------------------------------


def test_a_bank_that_decides_puts_the_end_off_for_two_weeks() -> None:
    debit = live(status="processing", tried_at=ZERO + 7 * DAY)
    waiting = plan(invoice(case=case(), **debit), is_served=True)
    assert waiting["inv_1/give-up"] == ZERO + 21 * DAY
    late = live(status="processing", tried_at=ZERO + 40 * DAY)
    assert plan(invoice(case=case(), **late), is_served=True)["inv_1/give-up"] == ZERO + 41 * DAY
    for fields in (
        {"case": case()} | live(status="processing"),
        {"case": case(status="paused")} | debit,
        {"case": case(policy=DunningPolicy(final_action="cancel"))} | debit,
        debit,
    ):
        assert "inv_1/give-up" not in plan(invoice(**fields), is_served=True)
    assert "inv_1/give-up" not in plan(invoice(case=case(), **debit))


# -- the first charge ------------------------------------------------------------------------


def test_a_fresh_invoice_is_charged_at_once() -> None:
    [step] = agenda(invoice())
    assert (step.name, step.key, step.due) == ("charge", "inv_1/attempt-0", ZERO)


def test_a_held_invoice_waits_for_somebody_to_ask() -> None:
    assert plan(invoice(held=True)) == {}
    asked = invoice(held=True, pay_requests=1, pay_requested_at=ZERO + DAY)
    assert plan(asked) == {"inv_1/now-1": ZERO + DAY}


def test_a_held_invoice_whose_request_failed_is_recovered_like_any_other() -> None:
    failed = invoice(
        held=True, pay_requests=1, pay_requested_at=ZERO, tried=("inv_1/now-1",), case=case()
    )
    assert plan(failed) == {"inv_1/attempt-1": ZERO + 3 * DAY}


@pytest.mark.parametrize(
    ("flow", "expected"),
    [("saved_card", {"inv_1/attempt-0": ZERO}), ("card", {}), (None, {})],
)
def test_a_draft_is_charged_only_by_the_card_its_payment_names(
    flow: str | None, expected: dict[str, datetime]
) -> None:
    payment = live(flow, opened=False) if flow else {}
    steps = plan(invoice(pay_first=True, **payment))
    steps.pop("inv_1/open-pay_1", None)
    assert steps == expected


def test_a_draft_whose_card_was_declined_waits_for_its_payer() -> None:
    declined = invoice(pay_first=True, tried=("inv_1/attempt-0",), **live())
    assert plan(declined) == {"inv_1/check-pay_1-1": ZERO + timedelta(minutes=1)}


def test_an_invoice_that_was_tried_without_a_case_has_nothing_planned() -> None:
    assert plan(invoice(tried=("inv_1/attempt-0",))) == {}


# -- what comes before everything else -------------------------------------------------------


EVERYTHING: Final[dict[str, Any]] = {
    "case": case(),
    "pay_requests": 1,
    "pay_requested_at": ZERO,
    "method": "mth_2",
    "method_chosen_at": ZERO + DAY,
}


def test_money_that_is_in_is_booked_before_anything_else() -> None:
    due = invoice(
        unsettled="pay_9", undecided=Undecided(key="inv_1/now-1"), **live("card"), **EVERYTHING
    )
    assert plan(due) == {"pay_9/settled": ZERO}


def test_a_bank_that_is_processing_is_waited_for() -> None:
    processing = invoice(
        **live(status="processing"), **EVERYTHING, undecided=Undecided(key="inv_1/now-1")
    )
    assert plan(processing) == {"inv_1/check-pay_1-1": ZERO + timedelta(minutes=1)}


def test_a_try_that_is_undecided_comes_before_any_other() -> None:
    undecided = invoice(
        undecided=Undecided(key="inv_1/card-mth_1", method="mth_1"), **live(), **EVERYTHING
    )
    assert plan(undecided) == {"inv_1/card-mth_1": ZERO}


@pytest.mark.parametrize(
    "why",
    [
        {"submission": "pay_2"},
        {"stale": True},
        {"closed": True},
        {"closed": True, "undecided": Undecided(key="inv_1/attempt-1", slot=1)},
        {"stale": True, "undecided": Undecided(key="inv_1/attempt-1", slot=1)},
    ],
)
@pytest.mark.parametrize("flow", ["card", "saved_card"])
def test_an_open_card_is_called_back_before_anything_else_is_tried(
    why: dict[str, Any], flow: str
) -> None:
    assert plan(invoice(**live(flow), **EVERYTHING, **why)) == {"inv_1/retire-pay_1": ZERO}


def test_a_submission_takes_over_although_no_card_is_open_any_more() -> None:
    assert plan(invoice(submission="pay_2", **EVERYTHING)) == {"inv_1/retire-pay_2": ZERO}


def test_a_closed_invoice_without_an_open_card_has_nothing_to_do() -> None:
    assert plan(invoice(closed=True, **EVERYTHING)) == {}


def test_an_approval_suspends_every_try_for_five_days() -> None:
    waiting = invoice(**live("manual", "pending_approval", opened=False, stale=True), **EVERYTHING)
    assert plan(waiting) == {"inv_1/approval-pay_1": ZERO + 5 * DAY}


# -- the payer's own flow --------------------------------------------------------------------


def test_a_payment_for_the_browser_is_opened_and_then_looked_at() -> None:
    offered = live("card", opened=False, payment_at=ZERO + DAY)
    assert plan(invoice(case=case(), **offered))["inv_1/open-pay_1"] == ZERO
    opened = invoice(case=case(), **offered | {"opened": True})
    assert plan(opened)["inv_1/check-pay_1-1"] == ZERO + DAY + timedelta(minutes=1)
    assert "inv_1/attempt-1" in plan(opened), "the slots go on beside it"


@pytest.mark.parametrize(
    ("checks", "after"),
    [
        (0, timedelta(minutes=1)),
        (1, timedelta(minutes=10)),
        (2, timedelta(hours=1)),
        (3, timedelta(days=2)),
        (9, timedelta(days=2)),
    ],
)
def test_it_is_looked_at_after_a_minute_ten_an_hour_and_then_daily(
    checks: int, after: timedelta
) -> None:
    seen = invoice(
        **live("card", checks=checks, last_check_at=ZERO + DAY), tried=("inv_1/attempt-0",)
    )
    assert plan(seen) == {f"inv_1/check-pay_1-{checks + 1}": ZERO + after}


def test_3d_secure_under_way_is_looked_at_and_an_idle_card_is_not() -> None:
    asked = invoice(case=case(), **live(awaits_payer=True))
    assert "inv_1/check-pay_1-1" in plan(asked)
    assert set(plan(invoice(case=case(), **live()))) == {"inv_1/attempt-1"}


# -- slots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "day"), [(0, 3), (1, 7)])
def test_the_next_slot_waits_for_its_day(last: int, day: int) -> None:
    ran = ZERO + timedelta(days=DunningPolicy().days[last])
    opened = invoice(case=case(last_slot=last, last_slot_ran_at=ran))
    assert plan(opened) == {f"inv_1/attempt-{last + 1}": ZERO + day * DAY}


def test_after_the_last_slot_comes_the_final_action() -> None:
    used_up = case(
        last_slot=2, last_slot_ran_at=ZERO + 7 * DAY, last_true_attempt_at=ZERO + 7 * DAY
    )
    [step] = agenda(invoice(case=used_up))
    assert (step.name, step.key, step.due) == ("give_up", "inv_1/give-up", ZERO + 8 * DAY)
    assert step.words == "final action: unpaid"


@pytest.mark.parametrize("by_slots", [True, False])
@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_paused_case_and_an_unpaid_subscription_have_no_slots_and_no_end(
    last: int, by_slots: bool
) -> None:
    status = "paused" if by_slots else "open"
    assert plan(invoice(case=case(status=status, last_slot=last)), by_slots=by_slots) == {}


def test_a_case_that_is_over_is_tried_only_when_somebody_asks() -> None:
    over: dict[str, Any] = {
        "given_up": True,
        "tried": ("inv_1/attempt-0",),
        "unreached_slots": (0,),
        "last_unreached_at": ZERO,
        "method": "mth_2",
        "method_chosen_at": ZERO + DAY,
    }
    assert plan(invoice(**over)) == {}
    asked = invoice(**over, pay_requests=3, pay_requested_at=ZERO + DAY)
    assert plan(asked) == {"inv_1/now-3": ZERO + DAY}


def test_a_page_that_was_opened_for_a_given_up_debt_is_called_back_after_its_link() -> None:
    offered: dict[str, Any] = {
        "payment": "pay_1", "flow": "card", "payment_status": "pending", "opened": True,
        "payment_at": ZERO, "offered_until": ZERO + 30 * DAY, "checks": 40,
        "last_check_at": ZERO + 29 * DAY,
    }  # fmt: skip
    given_up = invoice(**offered, given_up=True)
    assert plan(given_up) == {
        "inv_1/check-pay_1-41": ZERO + 30 * DAY,
        "inv_1/retire-pay_1": ZERO + 30 * DAY,
    }
    assert "inv_1/retire-pay_1" not in plan(invoice(**offered))
    # A history of the release before has a check at each day of the state that it wrote.
    written = given_up.model_dump(mode="json", exclude={"offered_until"})
    assert list(plan(Collecting.model_validate(written))) == ["inv_1/check-pay_1-41"]


def test_one_slot_alone_is_the_renewal_itself() -> None:
    only = case(policy=DunningPolicy(days=(0,), grace_days=2))
    assert plan(invoice(case=only)) == {"inv_1/give-up": ZERO + 2 * DAY}


def test_a_slot_that_is_tried_hourly_waits_until_its_extension_is_over() -> None:
    down: dict[str, Any] = {"unreached_slots": (1,), "last_unreached_at": ZERO + 3 * DAY}
    later = ZERO + 8 * DAY
    again = "inv_1/attempt-1/again-1"
    assert plan(invoice(case=case(), **down)) == {again: ZERO + 3 * DAY + timedelta(hours=1)}
    assert plan(invoice(case=case(postponed_until=later), **down)) == {again: later}


def test_a_slot_that_was_tried_without_a_noted_failure_is_used_up() -> None:
    tried = ("inv_1/attempt-0", "inv_1/attempt-1")
    assert plan(invoice(case=case(), tried=tried)) == {"inv_1/attempt-2": ZERO + 7 * DAY}
    last = plan(invoice(case=case(), tried=(*tried, "inv_1/attempt-2")))
    assert list(last) == ["inv_1/give-up"]


# -- what is asked for -----------------------------------------------------------------------


def test_a_retry_now_is_done_once() -> None:
    asked = {"pay_requests": 2, "pay_requested_at": ZERO + DAY, "case": case()}
    assert plan(invoice(**asked))["inv_1/now-2"] == ZERO + DAY
    assert "inv_1/now-2" not in plan(invoice(**asked, tried=("inv_1/now-2",)))


@pytest.mark.parametrize(
    ("chosen", "tried_before", "tries"),
    [
        (ZERO - DAY, False, False),
        (ZERO, False, True),
        (ZERO, True, False),
        (ZERO + DAY, False, True),
        (ZERO + DAY, True, True),
    ],
)
def test_a_card_chosen_after_the_last_try_gets_one_of_its_own(
    chosen: datetime, tried_before: bool, tries: bool
) -> None:
    seen = invoice(case=case(), method="mth_2", method_chosen_at=chosen, method_tried=tried_before)
    assert ("inv_1/card-mth_2" in plan(seen)) is tries
    again = seen.model_copy(update={"tried": ("inv_1/card-mth_2",)})
    assert "inv_1/card-mth_2" not in plan(again)


def test_no_card_is_tried_by_itself_before_a_charge_has_failed() -> None:
    seen = invoice(method="mth_2", method_chosen_at=ZERO + DAY, held=True)
    assert plan(seen) == {}


def test_a_paused_case_still_tries_a_new_card_and_what_is_asked_for() -> None:
    seen = invoice(**EVERYTHING | {"case": case(status="paused")})
    assert set(plan(seen)) == {"inv_1/now-1", "inv_1/card-mth_2"}


# -- a collection ----------------------------------------------------------------------------


def collection(found: Collecting | None, *events: str) -> list[Step]:
    told = tuple(WaitingEvent(id=event) for event in events)
    state = CollectionState(status="collecting", invoice=found, events=told, subject="inv_1")
    return collection_agenda(state)


def test_a_collection_follows_the_same_rule() -> None:
    assert collection(invoice(case=case())) == agenda(invoice(case=case()))
    assert collection(None) == []


def test_a_collection_looks_into_an_event_first() -> None:
    first = head(collection(invoice(), "evt_1", "evt_2"))
    assert first == event_step("inv_1", WaitingEvent(id="evt_1"))
    assert first.due == AT_ONCE


@pytest.mark.parametrize(
    ("replays", "key"), [(0, "inv_1/evt_1AbC"), (1, "inv_1/evt_1AbC.1"), (2, "inv_1/evt_1AbC.2")]
)
def test_each_replay_of_an_event_is_a_look_of_its_own(replays: int, key: str) -> None:
    step = event_step("inv_1", WaitingEvent(id="evt_1AbC", replays=replays))
    assert (step.key, step.event) == (key, "evt_1AbC")


def test_the_calendars_check_is_about_no_event() -> None:
    (check,) = agenda(invoice(**live(status="processing")))
    assert (check.name, check.event, check.payment) == ("check", None, check.payment)
    assert check.payment is not None


def test_a_charge_carries_what_it_is_about() -> None:
    (slot,) = agenda(invoice(case=case()))
    assert (slot.invoice, slot.slot, slot.method, slot.asked) == ("inv_1", 1, None, False)
    steps = {one.key: one for one in agenda(invoice(**EVERYTHING))}
    assert steps["inv_1/now-1"].asked
    card = steps["inv_1/card-mth_2"]
    assert (card.method, card.slot, card.asked) == ("mth_2", None, False)


def test_a_try_is_seen_through_as_it_was_begun() -> None:
    begun = Undecided(key="inv_1/now-1", method="mth_7")
    (step,) = agenda(invoice(undecided=begun, pay_requests=1, pay_requested_at=ZERO))
    assert (step.key, step.method, step.slot, step.asked) == ("inv_1/now-1", "mth_7", None, True)
