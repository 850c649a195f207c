"""Objects of Stripe's lists as the comparison reads them."""

from typing import Any, Final

import stripe

from billing.money.reconciliations.schemas import ObjectKind
from gateways import money_lists, stripe_objects

INTENT: dict[str, Any] = {
    "id": "pi_1", "status": "succeeded", "amount": 500, "amount_received": 500, "currency": "eur",
    "created": 1_800_000_000, "customer": "cus_1", "metadata": {},
}  # fmt: skip
DISPUTE: dict[str, Any] = {
    "id": "dp_1", "status": "won", "amount": 500, "currency": "eur", "created": 1_800_000_000,
    "payment_intent": INTENT,
}  # fmt: skip


def test_an_object_of_another_product_may_be_in_a_currency_that_nobody_pays_in_here() -> None:
    listed = {"data": [INTENT | {"currency": "ghs"}, INTENT], "has_more": False}
    other, one = money_lists.page("payment", listed).objects
    assert (other.side.currency, other.side.amount_minor) == ("GHS", 500)
    assert (one.customer, one.account, one.is_returned) == ("cus_1", None, False)


def test_a_debit_has_changed_when_its_money_came_and_a_refund_when_it_came_back() -> None:
    later = {"created": 1_800_000_900}
    debit = INTENT | {"latest_charge": {"created": 1_800_000_001, "balance_transaction": later}}
    refund = INTENT | {"id": "re_1", "status": "failed", "failure_balance_transaction": later}
    listed: Final[dict[ObjectKind, dict[str, Any]]] = {"payment": debit, "refund": refund}
    for kind, one in listed.items():
        (seen,) = money_lists.page(kind, {"data": [one], "has_more": False}).objects
        assert (seen.changed_at - seen.created_at).total_seconds() == 900


def test_a_dispute_has_changed_when_its_money_moved() -> None:
    moves = [{"amount": -500, "created": 1_800_000_000}, {"amount": 500, "created": 1_800_000_900}]
    listed = {"data": [DISPUTE | {"balance_transactions": moves}], "has_more": False}
    (won,) = money_lists.page("dispute", listed).objects
    assert (won.changed_at - won.created_at).total_seconds() == 900


def moved(*cents: int) -> list[dict[str, int]]:
    return [{"amount": one, "created": 1_800_000_000} for one in cents]


def test_what_came_back_is_rounded_as_where_it_is_booked() -> None:
    """Stripe's unit of ISK is a hundredth, which no amount here has."""
    said = {"status": "lost", "amount": 1_000_000, "balance_transactions": moved(-6789, 2263)}
    listed = DISPUTE | said | {"currency": "isk", "payment_intent": INTENT | {"currency": "isk"}}
    (seen,) = money_lists.page("dispute", {"data": [listed], "has_more": False}).objects
    booked = stripe_objects.dispute_outcome(
        stripe.Dispute.construct_from(listed | {"reason": "general"}, "sk")
    )
    assert seen.side.amount_minor == booked.amount_minor - booked.returned_minor == 6667


def test_what_came_back_of_a_lost_dispute_is_not_at_its_bank() -> None:
    cases: list[tuple[list[int], str, str, int]] = [
        ([-500], "lost", "eur", 500), ([-500, 200], "lost", "eur", 300),
        # In the account's own currency: only the ratio counts.
        ([-1000, 250], "lost", "eur", 375), ([-500, 500], "lost", "eur", 0),
        ([-500, 500, -500], "lost", "eur", 500), ([], "lost", "eur", 500),
        # It is won whole, and open until its bank decides.
        ([-500, 200], "won", "eur", 500), ([-500, 200], "needs_response", "eur", 500),
        ([-500, 200], "lost", "usd", 500),
    ]  # fmt: skip
    for cents, status, currency, left in cases:
        said = {"balance_transactions": moved(*cents), "status": status, "currency": currency}
        (seen,) = money_lists.page("dispute", {"data": [DISPUTE | said], "has_more": False}).objects
        assert seen.side.amount_minor == left, (cents, status)
