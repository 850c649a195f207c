"""The future of a subscription, computed from its state alone: dates, cents and conditions."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core import ids
from billing.insight.timeline import rules
from tests.searching import examples
from tests.unit.timeline.snapshots import (
    INV,
    START,
    YEAR,
    case,
    day,
    declined,
    open_invoice,
    payment,
    project,
    seen,
    subscribed,
)

OVERDUE: Final = open_invoice(case(), declined())


def test_a_month_bills_its_last_day_and_never_drifts() -> None:
    coming = project(subscribed(), 9)
    assert seen(coming) == [
        ("28 Feb 2027", "renew", 4900),
        ("28 Feb 2027", "charge", 4900),
        ("31 Mar 2027", "renew", 4900),
        ("31 Mar 2027", "charge", 4900),
        ("31 Mar 2027", "expire_credits", None),
        ("30 Apr 2027", "renew", 4900),
        ("30 Apr 2027", "charge", 4900),
        ("30 Apr 2027", "expire_credits", None),
        ("31 May 2027", "renew", 4900),
    ]
    assert {one.credits for one in coming if one.name == "charge"} == {Decimal(500)}
    assert all(one.only_if is None for one in coming if one.name != "expire_credits")


def test_a_year_gives_its_credits_month_by_month() -> None:
    outlook = subscribed(interval=YEAR, amount_minor=49000, current_period_end=day(1, 31, 2028))
    coming = [one for one in project(outlook, 40) if one.name != "expire_credits"]
    assert seen(coming[:12])[:2] == [("28 Feb 2027", "cycle", None), ("31 Mar 2027", "cycle", None)]
    assert [one.credits for one in coming[:11]] == [Decimal(500)] * 11
    assert seen(coming[11:15]) == [
        ("1 Jan 2028", "tell_renewal", None),
        ("24 Jan 2028", "tell_renewal", None),
        ("31 Jan 2028", "renew", 49000),
        ("31 Jan 2028", "charge", 49000),
    ]


def test_what_is_shown_by_default_reaches_the_next_charge() -> None:
    """Of a year, all months of credits come before it."""
    outlook = subscribed(interval=YEAR, amount_minor=49000, current_period_end=day(1, 31, 2028))
    shown, has_more = rules.project(outlook)
    assert shown == project(outlook, len(shown))
    assert ("31 Jan 2028", "charge", 49000) in seen(shown)
    assert shown[-1].at == day(1, 31, 2028)
    assert has_more
    assert [len(rules.project(outlook, count).entries) for count in (0, 5)] == [0, 5]
    assert len(rules.project(subscribed()).entries) == rules.FEW
    ends = subscribed(cancel_at_period_end=True)
    assert rules.project(ends, 1) == rules.project(ends) == (project(ends, 12), False)
    assert rules.project(ends, 0).has_more


def test_a_trial_with_a_card_becomes_paid() -> None:
    trial: dict[str, Any] = {
        "status": "trialing",
        "anchor_wall": day(2, 14).replace(tzinfo=None),
        "period_number": -1,
        "current_period_end": day(2, 14),
        "cycle_end": day(2, 14),
    }
    assert seen(project(subscribed(**trial), 6)) == [
        ("7 Feb 2027", "tell_trial_ending", None),
        ("11 Feb 2027", "tell_trial_ending", None),
        ("14 Feb 2027", "end_trial", 4900),
        ("14 Feb 2027", "charge", 4900),
        ("14 Mar 2027", "renew", 4900),
        ("14 Mar 2027", "charge", 4900),
    ]


@pytest.mark.parametrize(
    ("behavior", "ends"), [("cancel", "canceled"), ("pause", "paused"), ("invoice", "charge")]
)
def test_a_trial_without_a_card_ends_as_the_plan_says(behavior: str, ends: str) -> None:
    trial = subscribed(
        card=False,
        status="trialing",
        trial_end_behavior=behavior,
        period_number=-1,
        anchor_wall=day(2, 28).replace(tzinfo=None),
    )
    first, second, *coming = project(trial, 14)
    names = [first.name, second.name, coming[0].name]
    assert names == ["tell_trial_ending", "tell_trial_ending", "end_trial"]
    if behavior == "invoice":
        assert [one.name for one in coming[1:4]] == ["charge", "charge", "charge"]
        assert coming[1].only_if == "no card comes before"
    else:
        assert ends in coming[0].words
        assert coming[0].only_if == "no card is saved before"
        assert coming[1:] == []


def test_a_planned_end_is_the_last_thing() -> None:
    coming = project(subscribed(cancel_at_period_end=True), 12)
    assert seen(coming) == [("28 Feb 2027", "end", None)]


def test_an_overdue_invoice_shows_all_tries_and_the_end() -> None:
    coming = project(subscribed(invoices=OVERDUE, status="past_due"), 5)
    assert seen(coming) == [
        ("3 Feb 2027", "charge", 4900),
        ("7 Feb 2027", "charge", 4900),
        ("8 Feb 2027", "give_up", 4900),
        ("28 Feb 2027", "renew", 4900),
        ("31 Mar 2027", "renew", 4900),
    ]
    assert {one.only_if for one in coming} == {"INV-1 is not paid before"}
    assert [one.key for one in coming[:3]] == [
        f"{INV}/attempt-1",
        f"{INV}/attempt-2",
        f"{INV}/give-up",
    ]
    assert "not charged" in coming[3].words


@pytest.mark.parametrize("action", ["cancel", "uncollectible"])
def test_the_final_action_decides_what_comes_after(action: str) -> None:
    overdue = open_invoice(case(final_action=action), declined())
    coming = project(subscribed(invoices=overdue, status="past_due"), 6)
    after = [one.name for one in coming if one.at > day(2, 8)]
    assert after == ([] if action == "cancel" else ["renew", "charge", "renew"])


def test_a_charge_without_a_usable_card_goes_into_recovery() -> None:
    coming = project(subscribed(card=False), 4)
    assert seen(coming) == [
        ("28 Feb 2027", "renew", 4900),
        ("28 Feb 2027", "charge", 4900),
        ("3 Mar 2027", "charge", 4900),
        ("7 Mar 2027", "charge", 4900),
    ]
    assert "there is no card" in coming[1].words


def test_an_unpaid_start_is_given_up_or_goes_on_as_paid() -> None:
    first = open_invoice(payment("pending", "card"), status="draft", number=None)
    coming = project(
        subscribed(invoices=first, status="incomplete",
                   incomplete_expires_at=START + timedelta(hours=23)), 4)  # fmt: skip
    assert [one.name for one in coming] == ["check", "abandon", "renew", "charge"]
    assert coming[1].only_if == "the first payment does not come"
    assert coming[2].only_if == "the first payment comes"


def test_money_with_us_is_used_first_and_too_little_is_carried() -> None:
    coming = project(subscribed(money_balance_minor=4880), 4)
    # 20 cents are below what a card may be charged: carried into the next invoice.
    assert [(one.name, one.amount_minor) for one in coming if one.name != "expire_credits"] == [
        ("renew", 4900),
        ("renew", 4900),
        ("charge", 4920),
    ]


def test_money_that_waits_to_be_booked_comes_first() -> None:
    paid = open_invoice(payment("completed", received_minor=4900))
    coming = project(subscribed(invoices=paid, status="past_due"), 2)
    assert [one.name for one in coming] == ["settle", "renew"]
    assert coming[0].credits == Decimal(500)


def test_a_bank_that_is_still_processing_is_expected_to_pay() -> None:
    waiting = open_invoice(payment("processing", "saved_card"))
    coming = project(subscribed(invoices=waiting), 2)
    assert [one.name for one in coming] == ["check", "renew"]


def test_an_undecided_approval_ends_and_the_cards_go_on() -> None:
    waiting = (*OVERDUE, payment("pending_approval"))
    coming = project(subscribed(invoices=waiting, status="past_due"), 3)
    assert [one.name for one in coming] == ["end_approval", "charge", "charge"]


def test_a_manual_payment_takes_over_and_then_the_cards_go_on() -> None:
    taking_over = payment("pending", number=12)
    live = (*OVERDUE, payment("pending", "card"), taking_over)
    coming = project(subscribed(invoices=live, status="past_due"), 3)
    assert [one.name for one in coming] == ["retire", "end_approval", "charge"]
    assert coming[1].key == f"{INV}/approval-{ids.encode(ids.PAYMENT, taking_over.id)}"


def test_paying_what_was_given_up_charges_nothing_else_before_the_period_ends() -> None:
    asked = open_invoice(case("exhausted"), declined(), pay_requests=1, pay_requested_at=day(2, 20))
    coming = project(subscribed(now=day(2, 20), invoices=asked, status="unpaid"), 4)
    assert seen(coming) == [
        ("20 Feb 2027", "charge", 4900),
        ("28 Feb 2027", "renew", 4900),
        ("28 Feb 2027", "charge", 4900),
        ("28 Feb 2027", "expire_credits", None),
    ]


def test_a_subscription_that_ends_leaves_what_is_owed_to_collection() -> None:
    overdue = open_invoice(case(), declined(), period_end=day(2, 5))
    coming = project(
        subscribed(now=day(2, 1), invoices=overdue, status="past_due",
                   cancel_at_period_end=True, current_period_end=day(2, 5),
                   cycle_end=day(2, 5)), 5)  # fmt: skip
    assert [(one.name, one.amount_minor) for one in coming] == [
        ("charge", 4900),
        ("end", None),
        ("charge", 4900),
        ("give_up", 4900),
    ]
    assert "uncollectible" in coming[-1].words


@settings(max_examples=examples(30))
@given(count=st.integers(0, 30), more=st.integers(0, 30))
def test_asking_for_more_changes_nothing_of_what_comes_first(count: int, more: int) -> None:
    outlook = subscribed(invoices=OVERDUE, status="past_due")
    short, long = project(outlook, count), project(outlook, count + more)
    assert long[:count] == short
    ended = any(one.name == "end_unpaid" for one in long)
    assert len(long) == count + more or ended
    assert [one.at for one in long] == sorted(one.at for one in long)
    assert all(one.at >= outlook.now for one in long)


def test_what_is_overdue_is_shown_now_not_in_the_past() -> None:
    late = subscribed(now=day(3, 2))
    coming = project(late, 2)
    assert [(one.name, one.at) for one in coming] == [("renew", day(3, 2)), ("charge", day(3, 2))]
