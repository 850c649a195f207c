"""The future of every kind of matter, computed from states alone: dates, cents and conditions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.accounts.rules import AccountState
from billing.core.periods import MONTH, Interval
from billing.dunning.rules import Case, Collecting, CollectionState, Policy
from billing.purchases.rules import PurchaseState
from billing.subscriptions.rules import SubscriptionState
from billing.timeline.rules import project
from billing.timeline.schemas import (
    AccountPicture,
    CollectionPicture,
    Coming,
    Lapsing,
    Outlook,
    Owed,
    PurchasePicture,
    SubscriptionPicture,
    Terms,
    TrialPicture,
)
from billing.trials.rules import TrialState

ACCOUNT = UUID(int=1)
START = datetime(2027, 1, 31, 10, tzinfo=UTC)
YEAR = Interval(unit="year")
Seen = list[tuple[str, str, int | None]]


def day(month: int, number: int, year: int = 2027) -> datetime:
    return datetime(year, month, number, 10, tzinfo=UTC)


def terms(**more: Any) -> Terms:
    known: dict[str, Any] = {
        "plan": "Pro",
        "amount_minor": 4900,
        "currency": "USD",
        "zone": "UTC",
        "anchor_wall": START.replace(tzinfo=None),
        "interval": MONTH,
        "period_number": 0,
        "allowance": MONTH,
        "monthly_credits": Decimal(500),
        "policy": Policy(),
        "trial_end_behavior": "cancel",
        "card": "visa 4242",
        "money_balance_minor": 0,
        "credits_at_start": False,
    }
    return Terms(**known | more)


def state(**more: Any) -> SubscriptionState:
    known: dict[str, Any] = {
        "status": "active",
        "subscription": "sub_1",
        "current_period_end": day(2, 28),
        "cycle_end": day(2, 28),
    }
    return SubscriptionState(**known | more)


def subscribed(
    now: datetime = START,
    owed: dict[str, Owed] | None = None,
    *,
    lapsing: tuple[Lapsing, ...] = (),
    of: Terms | None = None,
    **more: Any,
) -> Outlook:
    picture = SubscriptionPicture(
        workflow_id="subscription/sub_1", state=state(**more), terms=of or terms(), owed=owed or {}
    )
    account = AccountPicture(
        workflow_id="account/acc_1", state=AccountState(status="active", account="acc_1")
    )
    return Outlook(
        account_id=ACCOUNT, now=now, subscriptions=(picture,), account=account, lapsing=lapsing
    )


def seen(coming: list[Coming]) -> Seen:
    return [(f"{one.at:%-d %b %Y}", one.name, one.amount_minor) for one in coming]


def open_invoice(**more: Any) -> Collecting:
    return Collecting(invoice="inv_1", day_zero_at=START, method="mth_1", **more)


OWED = {
    "inv_1": Owed(label="INV-1", remaining_minor=4900, cycle=(START, day(2, 28)))
}  # fmt: skip
CASE = Case(
    status="open",
    policy=Policy(),
    zone="UTC",
    day_zero_at=START,
    last_slot=0,
    last_slot_ran_at=START,
    last_true_attempt_at=START,
)


def test_a_month_bills_its_last_day_and_never_drifts() -> None:
    coming = project(subscribed(), 9)
    assert seen(coming) == [
        ("28 Feb 2027", "renew", 4900),
        ("28 Feb 2027", "charge", 4900),
        ("31 Mar 2027", "renew", 4900),
        ("31 Mar 2027", "charge", 4900),
        ("31 Mar 2027", "lapse", None),
        ("30 Apr 2027", "renew", 4900),
        ("30 Apr 2027", "charge", 4900),
        ("30 Apr 2027", "lapse", None),
        ("31 May 2027", "renew", 4900),
    ]
    assert {one.credits for one in coming if one.name == "charge"} == {Decimal(500)}
    assert all(one.only_if is None for one in coming if one.name != "lapse")


def test_a_year_gives_its_credits_month_by_month() -> None:
    of = terms(interval=YEAR, amount_minor=49000)
    outlook = subscribed(of=of, current_period_end=day(1, 31, 2028), cycle_end=day(2, 28))
    coming = [one for one in project(outlook, 40) if one.name != "lapse"]
    assert seen(coming[:12])[:2] == [("28 Feb 2027", "cycle", None), ("31 Mar 2027", "cycle", None)]
    assert [one.credits for one in coming[:11]] == [Decimal(500)] * 11
    assert seen(coming[11:13]) == [
        ("31 Jan 2028", "renew", 49000),
        ("31 Jan 2028", "charge", 49000),
    ]


def test_a_trial_with_a_card_becomes_paid() -> None:
    anchor = day(2, 14).replace(tzinfo=None)
    of = terms(anchor_wall=anchor, period_number=-1)
    trial: dict[str, Any] = {
        "status": "trialing",
        "current_period_end": day(2, 14),
        "cycle_end": day(2, 14),
    }
    assert seen(project(subscribed(of=of, **trial), 4)) == [
        ("14 Feb 2027", "end_trial", 4900),
        ("14 Feb 2027", "charge", 4900),
        ("14 Mar 2027", "renew", 4900),
        ("14 Mar 2027", "charge", 4900),
    ]


@pytest.mark.parametrize(
    ("behavior", "ends"), [("cancel", "canceled"), ("pause", "paused"), ("invoice", "charge")]
)
def test_a_trial_without_a_card_ends_as_the_plan_says(behavior: str, ends: str) -> None:
    of = terms(
        card=None,
        trial_end_behavior=behavior,
        period_number=-1,
        anchor_wall=day(2, 28).replace(tzinfo=None),
    )
    coming = project(subscribed(of=of, status="trialing"), 12)
    assert coming[0].name == "end_trial"
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
    overdue = open_invoice(case=CASE, tried=("inv_1/attempt-0",))
    coming = project(subscribed(owed=OWED, status="past_due", invoices=(overdue,)), 5)
    assert seen(coming) == [
        ("3 Feb 2027", "charge", 4900),
        ("7 Feb 2027", "charge", 4900),
        ("8 Feb 2027", "give_up", 4900),
        ("28 Feb 2027", "renew", 4900),
        ("31 Mar 2027", "renew", 4900),
    ]
    assert {one.only_if for one in coming} == {"INV-1 is not paid before"}
    assert [one.key for one in coming[:3]] == [
        "inv_1/attempt-1",
        "inv_1/attempt-2",
        "inv_1/give-up",
    ]
    assert "not charged" in coming[3].words


@pytest.mark.parametrize("action", ["cancel", "uncollectible"])
def test_the_final_action_decides_what_comes_after(action: str) -> None:
    policy = Policy(final_action=action)  # type: ignore[arg-type]
    overdue = open_invoice(
        case=CASE.model_copy(update={"policy": policy}), tried=("inv_1/attempt-0",)
    )
    coming = project(subscribed(owed=OWED, status="past_due", invoices=(overdue,)), 6)
    after = [one.name for one in coming if one.at > day(2, 8)]
    assert after == ([] if action == "cancel" else ["renew", "charge", "renew"])


def test_a_charge_without_a_usable_card_goes_into_recovery() -> None:
    coming = project(subscribed(of=terms(card=None)), 4)
    assert seen(coming) == [
        ("28 Feb 2027", "renew", 4900),
        ("28 Feb 2027", "charge", 4900),
        ("3 Mar 2027", "charge", 4900),
        ("7 Mar 2027", "charge", 4900),
    ]
    assert "there is no card" in coming[1].words


def test_an_unpaid_start_is_given_up_or_goes_on_as_paid() -> None:
    first = open_invoice(pay_first=True, road="card", payment_status="pending", opened=True,
                         payment_at=START)  # fmt: skip
    coming = project(
        subscribed(owed=OWED, status="incomplete", invoices=(first,),
                   incomplete_expires_at=START + timedelta(hours=23)), 4)  # fmt: skip
    assert [one.name for one in coming] == ["check", "abandon", "renew", "charge"]
    assert coming[1].only_if == "the first payment does not come"
    assert coming[2].only_if == "the first payment comes"


def test_money_with_us_is_used_first_and_too_little_is_carried() -> None:
    coming = project(subscribed(of=terms(money_balance_minor=4880)), 4)
    # 20 cents are below what a card may be charged: carried into the next invoice.
    assert [(one.name, one.amount_minor) for one in coming if one.name != "lapse"] == [
        ("renew", 4900),
        ("renew", 4900),
        ("charge", 4920),
    ]


def test_money_that_waits_to_be_booked_comes_first() -> None:
    paid = open_invoice(unsettled="pay_1")
    coming = project(subscribed(owed=OWED, status="past_due", invoices=(paid,)), 2)
    assert [one.name for one in coming] == ["settle", "renew"]
    assert coming[0].credits == Decimal(500)


def test_a_bank_that_is_still_processing_is_expected_to_pay() -> None:
    waiting = open_invoice(road="saved_card", payment_status="processing", payment_at=START)
    coming = project(subscribed(owed=OWED, invoices=(waiting,)), 2)
    assert [one.name for one in coming] == ["check", "renew"]


def test_an_undecided_approval_ends_and_the_cards_go_on() -> None:
    waiting = open_invoice(road="manual", payment_status="pending_approval", payment_at=START,
                           case=CASE, tried=("inv_1/attempt-0",))  # fmt: skip
    coming = project(subscribed(owed=OWED, status="past_due", invoices=(waiting,)), 3)
    assert [one.name for one in coming] == ["end_approval", "charge", "charge"]


def test_a_manual_payment_takes_over_and_then_the_cards_go_on() -> None:
    live = open_invoice(road="card", payment="pay_1", payment_status="pending", opened=True,
                        payment_at=START, submission="pay_2", case=CASE,
                        tried=("inv_1/attempt-0",))  # fmt: skip
    coming = project(subscribed(owed=OWED, status="past_due", invoices=(live,)), 3)
    assert [one.name for one in coming] == ["retire", "end_approval", "charge"]
    assert coming[1].key == "inv_1/approval-pay_2"


def test_paying_what_was_given_up_starts_a_new_period() -> None:
    asked = open_invoice(given_up=True, pay_requests=1, pay_requested_at=day(2, 20))
    coming = project(
        subscribed(now=day(2, 20), owed=OWED, status="unpaid", invoices=(asked,)), 4)  # fmt: skip
    assert seen(coming) == [
        ("20 Feb 2027", "charge", 4900),
        ("20 Feb 2027", "charge", 4900),
        ("28 Feb 2027", "lapse", None),
        ("20 Mar 2027", "renew", 4900),
    ]


def test_a_subscription_that_ends_leaves_what_is_owed_to_collection() -> None:
    overdue = open_invoice(case=CASE, tried=("inv_1/attempt-0",))
    coming = project(
        subscribed(now=day(2, 1), owed=OWED, status="past_due", invoices=(overdue,),
                   cancel_at_period_end=True, current_period_end=day(2, 5),
                   cycle_end=day(2, 5)), 5)  # fmt: skip
    assert [(one.name, one.amount_minor) for one in coming] == [
        ("charge", 4900),
        ("end", None),
        ("charge", 4900),
        ("give_up", 4900),
    ]
    assert "uncollectible" in coming[-1].words


def test_a_collection_ends_as_uncollectible_whatever_the_plan_said() -> None:
    overdue = open_invoice(case=CASE, tried=("inv_1/attempt-0",))
    picture = CollectionPicture(
        workflow_id="collection/inv_1",
        state=CollectionState(status="collecting", invoice=overdue, subject="inv_1"),
        zone="UTC",
        currency="USD",
        card=None,
        owed=OWED,
    )
    coming = project(Outlook(account_id=ACCOUNT, now=START, collections=(picture,)), 12)
    assert [one.name for one in coming] == ["charge", "charge", "give_up"]
    assert "uncollectible" in coming[-1].words


def purchase(**more: Any) -> Outlook:
    known: dict[str, Any] = {
        "status": "pending",
        "purchase": "pur_1",
        "road": "card",
        "payment_status": "pending",
        "opened": True,
        "created_at": START,
        "expires_at": START + timedelta(days=1),
        "checks": 0,
    }
    picture = PurchasePicture(
        workflow_id="purchase/pur_1",
        state=PurchaseState(**known | more),
        pack="Small",
        credits=Decimal(100),
        amount_minor=999,
        currency="USD",
    )
    return Outlook(account_id=ACCOUNT, now=START, purchases=(picture,))


def test_a_purchase_waits_for_its_payer_until_it_expires() -> None:
    coming = project(purchase(), 12)
    assert [(one.name, one.only_if) for one in coming] == [
        ("check", None),
        ("expire", "it is not paid before"),
    ]


def test_a_saved_card_buys_at_once() -> None:
    coming = project(purchase(road="saved_card", opened=False, payment_status=None), 12)
    assert [(one.name, one.amount_minor, one.credits) for one in coming] == [
        ("open", 999, Decimal(100))
    ]


def test_a_purchase_paid_by_hand_awaits_its_approval() -> None:
    coming = project(purchase(submission="pay_2"), 12)
    assert [one.name for one in coming] == ["retire", "check"]


def trial(*, converted: bool = False) -> Outlook:
    lot = Lapsing(
        name="trial credits", credits=Decimal(480), expires_at=day(2, 14), grant_key="acc_1/trial"
    )
    outlook = subscribed(lapsing=(lot,)) if converted else Outlook(
        account_id=ACCOUNT, now=START, lapsing=(lot,),
        account=AccountPicture(workflow_id="account/acc_1",
                               state=AccountState(status="active", account="acc_1")),
    )  # fmt: skip
    picture = TrialPicture(
        workflow_id="trial/acc_1",
        state=TrialState(status="active", account="acc_1", expires_at=day(2, 14)),
        grant_key="acc_1/trial",
    )
    return outlook.model_copy(update={"trials": (picture,)})


def test_a_trial_ends_and_takes_its_unspent_credits() -> None:
    coming = project(trial(), 12)
    assert [(one.name, one.credits) for one in coming] == [("expire", Decimal(480))]


def test_a_paid_plan_converts_the_trial_and_its_credits_lapse_on_their_date() -> None:
    first = open_invoice()
    outlook = trial(converted=True)
    paying = subscribed(owed=OWED, invoices=(first,), lapsing=outlook.lapsing)
    coming = project(paying.model_copy(update={"trials": outlook.trials}), 3)
    assert [(one.name, one.credits) for one in coming] == [
        ("charge", Decimal(500)),
        ("lapse", Decimal(480)),
        ("renew", None),
    ]


@given(count=st.integers(0, 30), more=st.integers(0, 30))
def test_asking_for_more_changes_nothing_of_what_comes_first(count: int, more: int) -> None:
    overdue = open_invoice(case=CASE, tried=("inv_1/attempt-0",))
    outlook = subscribed(owed=OWED, status="past_due", invoices=(overdue,))
    short, long = project(outlook, count), project(outlook, count + more)
    assert long[:count] == short
    assert len(long) == count + more
    assert [one.at for one in long] == sorted(one.at for one in long)
    assert all(one.at >= outlook.now for one in long)


def test_what_is_overdue_is_shown_now_not_in_the_past() -> None:
    late = subscribed(now=day(3, 2))
    coming = project(late, 2)
    assert [(one.name, one.at) for one in coming] == [("renew", day(3, 2)), ("charge", day(3, 2))]
