"""A field that Stripe may leave out stops nothing: refunds and disputes are read without it."""

from typing import Any

import pytest
import stripe

from gateways.stripe_objects import dispute_outcome, refund_outcome

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
