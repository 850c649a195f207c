"""The end that a cancellation names, in our words and in Stripe's."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.routes.subscription_bodies import CancelBody

LATER = "2027-03-01T00:00:00Z"


@pytest.mark.parametrize(
    "ends",
    [
        {"cancel_at_period_end": True},
        {"cancel_at_period_end": False, "at": "now"},
        {"cancel_at_period_end": False, "cancel_at": LATER},
    ],
)
def test_stripes_word_is_taken_beside_what_it_agrees_with(ends: dict[str, Any]) -> None:
    body = CancelBody.model_validate(ends)
    assert body.at == ends.get("at", "period_end")


@pytest.mark.parametrize(
    "ends",
    [
        {"cancel_at_period_end": False},
        {"cancel_at_period_end": False, "at": "period_end"},
        {"cancel_at_period_end": True, "at": "now"},
        {"cancel_at_period_end": True, "cancel_at": LATER},
        {"cancel_at_period_end": "false", "at": "now"},
    ],
)
def test_an_end_that_contradicts_itself_is_refused(ends: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CancelBody.model_validate(ends)
