"""A field that Stripe may leave out stops nothing: refunds and disputes are read without it."""

from typing import Any

import pytest
import stripe

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import CreditNote
from billing.money.payments.schemas import Payment
from gateways.stripe_objects import dispute_outcome, refund_outcome
from tests.unit.reversals.story import CREDITS, PAYMENT, Story

REFUND = {"id": "re_1", "object": "refund", "amount": 4900, "currency": "usd"}
DISPUTE = {
    "id": "dp_1", "object": "dispute", "amount": 4900, "currency": "usd", "status": "lost",
    "reason": "general",
}  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_was_canceled_or_failed_is_a_failed_one(status: str) -> None:
    told = refund_outcome(stripe.Refund.construct_from(REFUND | {"status": status}, "key"))
    assert (told.status, told.failure, told.name, told.reason) == ("failed", None, None, None)
    why = {"status": status, "failure_reason": "merchant_request", "metadata": {"refund": "ref_1"}}
    told = refund_outcome(stripe.Refund.construct_from(REFUND | why, "key"))
    assert (told.failure, told.name) == ("merchant_request", "ref_1")


def test_a_refund_without_a_status_is_on_its_way() -> None:
    assert refund_outcome(stripe.Refund.construct_from(REFUND, "key")).status == "processing"


def test_a_dispute_needs_no_deadline() -> None:
    cases: list[dict[str, Any]] = [{}, {"evidence_details": {}}]
    for more in (*cases, {"evidence_details": {"due_by": None}}):
        told = dispute_outcome(stripe.Dispute.construct_from(DISPUTE | more, "key"))
        assert (told.status, told.evidence_due_at) == ("lost", None)


def test_a_prevented_dispute_whose_money_moves_later_is_lost_then() -> None:
    story = Story(1000, 0)
    for moved in ([], [-1000], [-1000]):
        moves = {"balance_transactions": [{"amount": one} for one in moved]}
        said = DISPUTE | {"amount": 1000, "currency": "eur", "status": "prevented"} | moves
        told = dispute_outcome(stripe.Dispute.construct_from(said, "key"))
        story.disputes[told.dispute_id] = told
        story.hear()
        story.hold_true()
    [row] = story.rows.of(Dispute)
    assert (row.state, row.note_minor) == ("lost", 1000)
    assert story.announced.count("dispute.lost") == 1
    assert story.lot["asked"] == CREDITS


@pytest.mark.parametrize("first", [None, "warning_needs_response", "needs_response"])
@pytest.mark.parametrize(
    ("moved", "state", "taken"),
    [([-1000], "lost", 1000), ([-900, 900], "closed", 0), ([], "closed", 0)],
)
def test_a_prevented_dispute_is_lost_if_its_money_is_gone(
    first: str | None, moved: list[int], state: str, taken: int
) -> None:
    story = Story(1000, 0)
    whole = DISPUTE | {"amount": 1000, "currency": "eur"}
    for status in filter(None, (first, "prevented")):
        moves = {"balance_transactions": [{"amount": one} for one in moved]}
        said = whole | {"status": status} | moves
        told = dispute_outcome(stripe.Dispute.construct_from(said, "key"))
        story.disputes[told.dispute_id] = told
        story.hear()
        story.hold_true()
    [row] = story.rows.of(Dispute)
    assert (row.state, story.announced[-1]) == (state, f"dispute.{state}")
    assert story.rows.get(Payment, PAYMENT).refunded_minor == taken
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == taken
    assert story.lot["asked"] == taken / 10
