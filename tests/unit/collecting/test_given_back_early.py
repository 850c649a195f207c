"""Money of which the provider's own answer says that some went back is booked as such."""

import pytest

from billing.matters.effects import Bear, Work
from billing.matters.kinds import REVERSAL
from billing.money.collecting import outcomes
from billing.money.payments.calls import Answer, Call
from billing.money.payments.rules import GivenBack, Outcome
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from tests.unit.collecting.told_debts import Debt

BACK = GivenBack(refund_id="R1", status="succeeded", amount_minor=500, reason="reversed")


@pytest.mark.parametrize(
    ("told", "recorded"),
    [
        ((BACK,), [("R1", "succeeded", 500)]),
        ((BACK.model_copy(update={"status": "processing"}),), [("R1", "pending", 500)]),
        ((BACK.model_copy(update={"status": "failed"}),), []),
        ((), []),
    ],
)
def test_what_went_back_of_money_is_recorded_with_it_once(
    told: tuple[GivenBack, ...], recorded: list[tuple[str, str, int]]
) -> None:
    debt = Debt("waiting", "declined")
    debt.go(until="attempt-0")
    debt.offer()
    (payment,) = debt.rows.of(Payment)
    outcome = Outcome(
        kind="succeeded", intent_id="pi_1", charge_id="ch_1", received_minor=payment.amount_minor,
        given_back=told,
    )  # fmt: skip
    for is_first in (True, False):
        work = Work(debt.rows, debt.facts(debt.rows))
        outcomes.follow(work, Answer(Call("look", payment), outcome, debt.now), outcome)
        is_born = any(isinstance(one, Bear) and one.kind == REVERSAL for one in work.effects)
        assert is_born is (is_first and bool(recorded)), "the reversal books it"
        seen = [
            (one.stripe_refund_id, one.status, one.amount_minor) for one in debt.rows.of(Refund)
        ]
        assert seen == recorded
