"""The agenda of a purchase, in every state of its rows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.matters.agenda import head
from billing.money.payments.schemas import PaymentStatus
from billing.money.purchases.rules import (
    Flow,
    PurchaseState,
    agenda,
    check_due,
    next_action,
    status_words,
)
from billing.platform.provider_inbox.rules import AT_ONCE

MADE: Final = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)
EXPIRES: Final = MADE + timedelta(hours=24)
TRANSFER: Final = {"type": "manual", "payment_reference": "R1"}
STATUSES: Final = ("pending", "completed", "failed", "expired", "canceled", "refunded")
FLOWS: Final = get_args(Flow)
EVENTS: Final = ((), ({"id": "evt_1"}, {"id": "evt_2"}))
PAYMENTS: Final = (None, *get_args(PaymentStatus))
STEPS: Final = {"fulfil", "check", "open", "expire", "remind", "retire", "cancel"}


def state(**fields: Any) -> PurchaseState:
    known = {
        "status": "pending",
        "purchase": "pur_1",
        "flow": "card",
        "payment_status": "pending",
        "opened": True,
        "created_at": MADE,
        "expires_at": EXPIRES,
        "checks": 0,
    }
    return PurchaseState.model_validate(known | fields)


def plan(purchase: PurchaseState) -> dict[str, datetime]:
    """Step key → due."""
    return {step.key: step.due for step in agenda(purchase)}


EVERY: Final = [
    state(
        status=status, flow=flow, payment_status=payment, opened=opened,
        unsettled=unsettled, events=events, checks=checks, cancel_asked_at=asked,
        undecided=undecided,
    )
    for status, flow, payment, opened, unsettled, events, checks, asked, undecided in product(
        STATUSES, FLOWS, PAYMENTS, (True, False), (None, "pay_9"), EVENTS, (0, 5), (None, MADE),
        (True, False),
    )
]  # fmt: skip


def test_no_state_is_without_an_answer_and_every_step_is_one_that_exists() -> None:
    assert len(EVERY) == 6 * 5 * 9 * 2 * 2 * 2 * 2 * 2 * 2
    for purchase in EVERY:
        steps = agenda(purchase)
        assert {step.name for step in steps} <= STEPS
        assert len({step.key for step in steps}) == len(steps)
        assert all(step.key.startswith("pur_1/") for step in steps)


def test_money_that_is_in_is_booked_before_anything_else() -> None:
    for purchase in EVERY:
        if purchase.unsettled:
            assert plan(purchase) == {"pur_1/pay_9/settled": MADE}, purchase


def test_an_event_is_looked_into_in_every_state() -> None:
    for purchase in EVERY:
        if purchase.events and not purchase.unsettled:
            first = head(agenda(purchase))
            assert first is not None
            assert (first.name, first.key, first.due) == ("check", "pur_1/evt_1", AT_ONCE)


def test_a_purchase_that_has_ended_plans_nothing_of_its_own() -> None:
    for purchase in EVERY:
        if purchase.status != "pending" and not purchase.unsettled and not purchase.events:
            assert agenda(purchase) == [], purchase


@pytest.mark.parametrize("status", ["completed", "refunded"])
@pytest.mark.parametrize("events", EVENTS)
def test_what_may_still_bring_money_of_a_purchase_that_is_paid_is_called_back_first(
    status: str, events: tuple[dict[str, str], ...]
) -> None:
    paid = state(status=status, flow="manual", unasked="pay_1", events=events)
    assert plan(paid) == {"pur_1/retire-pay_1": MADE}


def test_what_asks_for_the_whole_of_a_purchase_that_is_paid_in_part_is_called_back() -> None:
    assert plan(state(unasked="pay_1")) == {"pur_1/retire-pay_1": MADE}
    canceling = state(unasked="pay_1", cancel_asked_at=MADE)
    assert plan(canceling) == {"pur_1/cancel": MADE}


@pytest.mark.parametrize("status", STATUSES[1:])
def test_of_a_transfer_that_is_undecided_when_its_purchase_has_ended_operators_are_reminded(
    status: str,
) -> None:
    told = {"payment": "pay_1", "unasked": "pay_1", "payment_at": MADE}
    undecided = state(status=status, flow="manual", payment_status="pending_approval", **told)
    assert plan(undecided) == {"pur_1/remind-pay_1-1": MADE + timedelta(days=5)}


def test_a_payment_is_opened_at_once_or_after_a_long_outage_not_any_more() -> None:
    for flow in ("card", "saved_card", "checkout", "paypal"):
        waiting = state(flow=flow, opened=False)
        assert plan(waiting) == {"pur_1/open": MADE, "pur_1/expire": waiting.expires_at}
        in_time, too_late = (
            head(agenda(waiting), waiting.expires_at - timedelta(seconds=left)) for left in (1, 0)
        )
        assert (in_time and in_time.name, too_late and too_late.name) == ("open", "expire")


def test_a_card_that_was_tried_is_followed_until_its_result_is_known() -> None:
    tried = state(flow="saved_card", opened=True, undecided=True)
    assert plan(tried) == {"pur_1/open": MADE}


def test_a_purchase_that_its_buyer_does_not_want_is_not_opened_and_its_card_not_tried() -> None:
    for purchase in EVERY:
        if purchase.cancel_asked_at and purchase.status == "pending" and not purchase.unsettled:
            steps = {step.name for step in agenda(purchase)} - {"check"}
            assert steps == {"cancel"}, purchase


def test_while_money_is_on_its_way_a_purchase_does_not_expire() -> None:
    for purchase in EVERY:
        if purchase.payment_status in ("processing", "pending_approval"):
            assert "pur_1/expire" not in plan(purchase), purchase


def test_an_open_card_payment_is_asked_about_and_expires_in_the_end() -> None:
    assert plan(state()) == {
        "pur_1/check-1": MADE + timedelta(minutes=1),
        "pur_1/expire": EXPIRES,
    }


def test_a_manual_purchase_waits_for_people_only() -> None:
    manual = state(flow="manual", payment_status=None, opened=False)
    assert plan(manual) == {"pur_1/expire": EXPIRES}
    told = {"payment_status": "pending_approval", "payment": "pay_1"}
    submitted = manual.model_copy(update={**told, "payment_at": MADE + timedelta(days=1)})
    assert plan(submitted) == {"pur_1/remind-pay_1-1": MADE + timedelta(days=6)}
    again = {"checks": 1, "last_check_at": MADE + timedelta(days=6)}
    assert plan(submitted.model_copy(update=again)) == {
        "pur_1/remind-pay_1-2": MADE + timedelta(days=11)
    }
    rejected = manual.model_copy(update={"payment_status": "failed"})
    assert plan(rejected) == {"pur_1/expire": EXPIRES}


@pytest.mark.parametrize("flow", ["card", "saved_card", "checkout", "paypal"])
def test_an_open_payment_is_called_back_before_one_by_hand_counts(flow: str) -> None:
    submitted = state(flow=flow, submission="pay_2")
    assert plan(submitted) == {"pur_1/retire-pay_2": MADE}
    undecided = submitted.model_copy(update={"undecided": True, "opened": False})
    assert plan(undecided) == {"pur_1/retire-pay_2": MADE}
    processing = submitted.model_copy(update={"payment_status": "processing"})
    assert set(plan(processing)) == {"pur_1/check-1"}


def asked_at(purchase: PurchaseState, until: datetime) -> list[timedelta]:
    """Instants at which the provider is asked, if it never has news."""
    times = []
    while (due := check_due(purchase)) <= until:
        times.append(due - MADE)
        purchase = purchase.model_copy(update={"checks": purchase.checks + 1, "last_check_at": due})
    return times


def test_without_webhooks_stripe_is_asked_soon_later_and_shortly_before_expiry() -> None:
    assert asked_at(state(), EXPIRES + timedelta(days=2)) == [
        timedelta(minutes=1),
        timedelta(minutes=10),
        timedelta(hours=1),
        timedelta(hours=23, minutes=55),
        timedelta(days=1, hours=23, minutes=55),
        timedelta(days=2, hours=23, minutes=55),
    ]


def test_a_payment_that_is_processing_for_weeks_is_asked_about_every_day() -> None:
    processing = state(payment_status="processing")
    times = asked_at(processing, MADE + timedelta(days=14))
    gaps = {later - earlier for earlier, later in pairwise(times[3:])}
    assert gaps == {timedelta(days=1)}


@given(st.integers(0, 40), st.timedeltas(timedelta(0), timedelta(days=40)))
def test_asking_never_stands_still(checks: int, since: timedelta) -> None:
    asked = state(checks=checks, last_check_at=MADE + since)
    due = check_due(asked)
    after = asked.model_copy(update={"checks": checks + 1, "last_check_at": max(due, MADE + since)})
    assert check_due(after) > due or checks < 3


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"status": "completed"}, {"type": "none"}),
        ({"status": "failed"}, {"type": "none"}),
        ({"status": "expired"}, {"type": "none"}),
        ({}, {"type": "confirm_card", "client_secret": "secret"}),
        ({"client_secret": None}, {"type": "wait"}),
        ({"payment_status": "processing"}, {"type": "wait"}),
        ({"payment_status": "pending_approval", "transfer": TRANSFER}, {"type": "wait"}),
        (
            {"payment_status": None, "transfer": TRANSFER, "client_secret": None},
            TRANSFER,
        ),
        (
            {"flow": "checkout", "redirect_url": "https://pay"},
            {"type": "redirect", "url": "https://pay"},
        ),
    ],
)
def test_the_buyer_is_told_what_to_do_now(fields: dict[str, Any], answer: dict[str, Any]) -> None:
    known: dict[str, Any] = {
        "status": "pending",
        "flow": "card",
        "payment_status": "pending",
        "client_secret": "secret",
        "redirect_url": None,
        "transfer": None,
    }
    assert next_action(**(known | fields)) == answer


def test_operators_read_where_a_purchase_stands() -> None:
    what = "100.00 credits (Small) for 9.99 USD"
    seen = {
        status_words(state(status=status, payment_status=payment), what)
        for status, payment in (
            ("pending", "pending"),
            ("pending", "processing"),
            ("pending", "pending_approval"),
            ("completed", "succeeded"),
        )
    }
    assert seen == {
        f"{what}: waiting for the payment until 15 Mar 2027 09:00 UTC",
        f"{what}: the bank is processing the payment",
        f"{what}: an operator must approve the manual payment",
        f"{what}: completed",
    }
