"""The future of collections, purchases and trials, computed from their states alone."""

from decimal import Decimal
from uuid import UUID

from billing.money.trials.schemas import Trial
from tests.unit.timeline.snapshots import (
    ACCOUNT,
    START,
    collection,
    day,
    going_back,
    open_invoice,
    payment,
    project,
    purchase,
    seen,
    subscribed,
    trial,
)


def test_a_collection_ends_as_uncollectible_whatever_the_plan_said() -> None:
    coming = project(collection(final_action="cancel"), 12)
    assert seen(coming) == [
        ("3 Feb 2027", "charge", 4000),
        ("7 Feb 2027", "charge", 4000),
        ("8 Feb 2027", "give_up", 4000),
    ]
    assert {one.only_if for one in coming} == {"INV-1 is not paid before"}
    assert coming[0].words == "attempt 2 of 3: 40.00 USD for INV-1, but there is no card to charge"
    assert "uncollectible" in coming[-1].words


def test_a_card_is_shown_to_be_tried_in_each_slot_of_a_collection() -> None:
    coming = project(collection(card=True), 12)
    assert [one.name for one in coming] == ["charge", "charge", "give_up"]
    assert coming[0].words == "attempt 2 of 3: 40.00 USD for INV-1 by visa 4242"


def test_money_sent_by_hand_is_booked_as_it_came_and_the_rest_is_tried() -> None:
    coming = project(collection(payment("completed", received_minor=1500)), 2)
    assert seen(coming) == [("31 Jan 2027", "settle", 1500), ("3 Feb 2027", "charge", 2500)]
    assert coming[0].words == "book 15.00 USD on INV-1"


def test_an_event_that_waits_is_not_foreseen() -> None:
    coming = project(collection(events=1), 12)
    assert [one.name for one in coming] == ["charge", "charge", "give_up"]


def test_a_purchase_waits_for_its_payer_until_it_expires() -> None:
    coming = project(purchase(), 12)
    assert [(one.name, one.only_if) for one in coming] == [
        ("check", None),
        ("expire", "it is not paid before"),
    ]


def test_a_saved_card_buys_at_once() -> None:
    coming = project(purchase(flow="saved_card", opened=False, payment_status=None), 12)
    assert [(one.name, one.amount_minor, one.credits) for one in coming] == [
        ("open", 999, Decimal(100))
    ]


def test_of_a_purchase_that_has_ended_the_open_payment_is_called_back_and_nobody_reminded() -> None:
    coming = project(purchase(status="completed", unasked="pay_1"), 12)
    assert [one.name for one in coming] == ["retire"]


def test_a_purchase_paid_by_hand_awaits_its_approval() -> None:
    coming = project(purchase(submission="pay_2"), 12)
    assert [one.name for one in coming] == ["retire", "check", "remind"]


def test_a_trial_ends_and_takes_its_unspent_credits() -> None:
    coming = project(trial(), 12)
    assert [(one.name, one.credits) for one in coming] == [("expire", Decimal(480))]


def test_a_paid_plan_converts_the_trial_and_its_credits_expire_on_their_date() -> None:
    running = Trial(
        id=UUID(int=11), account_id=ACCOUNT, kind="account_trial", status="active",
        credits=Decimal(500), started_at=START, expires_at=day(2, 14),
    )  # fmt: skip
    coming = project(trial(subscribed(invoices=open_invoice(running))), 3)
    assert [(one.name, one.credits) for one in coming] == [
        ("charge", Decimal(500)),
        ("expire_credits", Decimal(480)),
        ("renew", None),
    ]


def test_money_on_its_way_back_and_the_deadline_of_a_dispute_are_foreseen() -> None:
    coming = project(going_back(), 12)
    assert seen(coming) == [
        ("1 Feb 2027", "refund", 333),
        ("7 Feb 2027", "remind", 666),
        ("9 Feb 2027", "remind", 666),
    ]
    assert [one.currency for one in coming] == ["USD", "JPY", "JPY"]
    assert coming[0].words == "give the money back"
    assert coming[1].words == "remind operators of the dispute's deadline, 10 Feb 2027"
    assert [one.only_if for one in coming] == [None, *2 * ["the dispute is not over before"]]
