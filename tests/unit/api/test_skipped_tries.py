"""The words that a caller reads of a try that reached no card."""

from uuid import UUID

import pytest

from api.answers.card_refusals import refusal
from billing.core.errors import PaymentRequired, ProviderFailure
from billing.money.payments.schemas import Attempt
from tests.unit.lives.collections import BIRTH

ID = UUID(int=1)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("card_barred", "forbids charges to this card"),
        ("too_many_attempts", "was declined too often"),
        ("debits_returned", "too many debits of this invoice failed"),
        ("provider_down", "was not tried: provider_down"),
    ],
)
def test_the_reason_why_a_card_was_not_tried_is_told(reason: str, said: str) -> None:
    skipped = Attempt(
        id=ID, account_id=ID, invoice_id=ID, key="k", status="skipped", decline_code=reason,
        started_at=BIRTH, real_started_at=BIRTH,
    )  # fmt: skip
    told = refusal(skipped)
    assert isinstance(told, PaymentRequired)
    assert said in told.detail


def test_a_provider_that_failed_is_not_said_to_be_out_of_reach() -> None:
    unreached = Attempt(
        id=ID, account_id=ID, invoice_id=ID, key="k", status="unreached",
        started_at=BIRTH, real_started_at=BIRTH,
    )  # fmt: skip
    told = refusal(unreached)
    assert isinstance(told, ProviderFailure)
    assert told.detail == (
        "the payment provider failed or could not be reached, and knows of no charge; one that"
        " still arrives pays the invoice"
    )
