"""The future of collections, purchases and trials, computed from their states alone."""

from decimal import Decimal

from billing.dunning.rules import CollectionState
from billing.timeline.rules import project
from billing.timeline.schemas import CollectionPicture, Outlook
from tests.unit.timeline.pictures import (
    ACCOUNT,
    CASE,
    OWED,
    START,
    open_invoice,
    purchase,
    subscribed,
    trial,
)


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
    assert [one.name for one in coming] == ["retire", "check", "remind"]


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
