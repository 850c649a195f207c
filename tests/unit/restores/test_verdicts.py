"""Every PaymentIntent that a restored database meets has one verdict, by what is known of it."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from billing.money.invoices.balances import found_id
from billing.money.payments.rules import Outcome, OutcomeKind
from billing.money.refunds.rules import DisputeOutcome, RefundOutcome, Taken
from billing.money.restores.rules import (
    act_after,
    decide,
    describe,
    left_minor,
    undecided,
)
from billing.money.restores.schemas import FoundIntent, Known, Verdict
from billing.platform.provider_inbox.webhooks import read

OURS = {"account": "acc_1", "payment": "pay_1", "invoice": "inv_1", "matter": "subscription/sub_1"}
GONE = Known(has_account=True)
OWED = Known(has_account=True, is_owed=True)
COLLECTED = Known(has_account=True, is_owed=True, is_collected=True)


def found(kind: OutcomeKind, metadata: dict[str, str]) -> FoundIntent:
    return FoundIntent(
        intent_id="pi_1",
        outcome=Outcome(kind=kind, intent_id="pi_1", is_over=kind == "canceled"),
        amount_minor=4900,
        currency="EUR",
        description="Invoice inv_1",
        metadata=metadata,
        created_at=datetime(2027, 1, 1, tzinfo=UTC),
    )


def paid(intent_id: str | None, *, is_owed: bool = False) -> Known:
    return Known(has_account=True, has_payment=True, intent_id=intent_id, is_owed=is_owed)


@pytest.mark.parametrize(
    ("kind", "known", "verdict"),
    [
        ("succeeded", paid("pi_1"), "known"),
        ("canceled", paid("pi_1"), "known"),
        ("waiting", paid(None), "bound"),
        ("canceled", paid(None), "over"),
        ("succeeded", paid("pi_other"), "kept"),
        ("declined", paid("pi_other"), "called_back"),
        ("succeeded", paid("pi_other", is_owed=True), "kept"),
        ("waiting", paid("pi_other", is_owed=True), "called_back"),
        ("succeeded", OWED, "remade"),
        ("waiting", OWED, "remade"),
        ("canceled", OWED, "over"),
        ("succeeded", OWED.model_copy(update={"is_kept": True}), "kept_before"),
        ("succeeded", COLLECTED, "remade"),
        ("waiting", COLLECTED, "called_back"),
        ("processing", COLLECTED, "under_way"),
        ("succeeded", GONE, "kept"),
        ("succeeded", Known(has_account=True, is_kept=True), "kept_before"),
        ("processing", GONE, "under_way"),
        ("action", GONE, "called_back"),
        ("waiting", GONE, "called_back"),
        ("canceled", GONE, "over"),
        ("succeeded", Known(), "nobodys"),
        ("waiting", Known(), "left_open"),
        ("action", Known(), "left_open"),
    ],
)
def test_what_is_known_decides(kind: OutcomeKind, known: Known, verdict: Verdict) -> None:
    assert decide(found(kind, OURS), known) == verdict


@pytest.mark.parametrize("kind", ["succeeded", "waiting"])
def test_another_system_on_the_same_stripe_account_is_left_alone(kind: OutcomeKind) -> None:
    assert decide(found(kind, {"order": "17"}), Known()) == "foreign"


def test_an_intent_has_one_entry_of_the_money_balance_however_often_it_is_found() -> None:
    assert found_id("pi_1") == found_id("pi_1") != found_id("pi_2")


def test_an_operator_reads_what_it_was_for() -> None:
    assert describe(found("succeeded", OURS)) == '49.00 EUR, "Invoice inv_1", of subscription/sub_1'


@pytest.mark.parametrize(
    ("status", "is_withdrawn", "left"),
    [
        ("warning_needs_response", False, 4400),
        ("warning_closed", False, 4400),
        ("prevented", False, 4400),
        ("prevented", True, 400),
        ("needs_response", True, 400),
        ("lost", True, 400),
        ("won", False, 4400),
    ],
)
def test_only_money_that_a_bank_has_taken_is_gone(
    status: str, is_withdrawn: bool, left: int
) -> None:
    disputed = DisputeOutcome(
        dispute_id="du_1", status=status, amount_minor=4000, currency="EUR", reason="general",
        is_withdrawn=is_withdrawn,
    )  # fmt: skip
    refunds = (
        RefundOutcome(refund_id="re_1", status="succeeded", amount_minor=500),
        RefundOutcome(refund_id="re_2", status="failed", amount_minor=300),
    )
    assert left_minor(4900, Taken(refunds=refunds, disputes=(disputed,))) == left


@pytest.mark.parametrize(
    ("refund", "dispute", "waits_for"),
    [
        ("processing", "won", "re_1"),
        ("succeeded", "lost", None),
        ("failed", "warning_needs_response", None),
        ("succeeded", "needs_response", "du_1"),
        ("succeeded", "under_review", "du_1"),
    ],
)
def test_money_that_may_come_back_is_awaited(
    refund: Literal["processing", "succeeded", "failed"], dispute: str, waits_for: str | None
) -> None:
    taken = Taken(
        refunds=(RefundOutcome(refund_id="re_1", status=refund, amount_minor=500),),
        disputes=(
            DisputeOutcome(
                dispute_id="du_1", status=dispute, amount_minor=4400, currency="EUR",
                reason="general", is_withdrawn=not dispute.startswith("w"),
            ),
        ),
    )  # fmt: skip
    assert undecided(taken) == waits_for


def test_a_refund_of_what_a_bank_had_left_is_told() -> None:
    charge = {"payment_intent": "pi_1", "currency": "eur", "amount": 999, "amount_refunded": 499}
    event = read(
        {"id": "evt_1", "type": "charge.refunded", "created": 1, "data": {"object": charge}}
    )
    assert act_after(event, 499, 499) is not None
    assert act_after(event, 499, 0) is None


@pytest.mark.parametrize(
    ("kind", "on_balance", "act"),
    [
        ("charge.dispute.created", 4900, None),
        ("charge.dispute.funds_withdrawn", 4900, "take what is left of it off the balance"),
        ("charge.dispute.funds_reinstated", 0, "put on the balance again"),
        ("charge.dispute.closed", 4900, None),
        ("refund.created", 4900, None),
        ("refund.failed", 0, "put on the balance again"),
        ("charge.refunded", 1001, "take as much off the balance"),
        ("charge.refunded", 1000, None),
        ("charge.refunded", 0, None),
        ("payment_intent.succeeded", 4900, None),
    ],
)
def test_money_that_moves_after_it_was_kept_is_an_operators_work(
    kind: str, on_balance: int, act: str | None
) -> None:
    about = {"id": "re_1", "payment_intent": "pi_1", "currency": "eur"}
    charge = about | {"amount": 4900, "amount_refunded": 3900}
    event = read({"id": "evt_1", "type": kind, "created": 1, "data": {"object": charge}})
    said = act_after(event, 4900, on_balance)
    assert (act or "") in (said or ""), said
    assert (said is None) == (act is None), said
