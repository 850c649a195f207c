"""The fate of an idempotency key after each status (docs/rules/api.md)."""

import re

import pytest

from billing.platform.idempotency.schemas import MOMENTARY, outcome
from tests.rule_chapters import rules_of


@pytest.mark.parametrize("status", [200, 201, 204, 400, 404, 409, 410, 413, 422])
def test_final_answers_are_kept(status: int) -> None:
    assert outcome(status) == "store"


@pytest.mark.parametrize("status", [202, 500, 503, 504])
def test_an_undecided_answer_keeps_the_resource_for_the_same_key(status: int) -> None:
    assert outcome(status) == "keep"


@pytest.mark.parametrize("status", [401, 402, 403, 429, 502])
def test_where_nothing_stands_the_same_key_starts_anew(status: int) -> None:
    assert outcome(status) == "forget"


def test_a_declined_card_is_an_answer_for_good_and_missing_credits_are_not() -> None:
    assert outcome(402, "CARD_DECLINED") == "store"
    assert outcome(402, "INSUFFICIENT_CREDITS") == "forget"


def test_what_is_refused_for_the_moment_is_not_refused_for_a_day() -> None:
    """Exactly the codes that the page names."""
    page = rules_of("api")
    (named,) = re.findall(r"still to act \(([^)]*)\)", page)
    assert set(re.findall(r"[A-Z_]+", named)) == MOMENTARY
    assert {outcome(409, code) for code in MOMENTARY} == {"forget"}
    assert outcome(409, "INVOICE_STATE") == "store"


def test_what_was_not_begun_starts_anew_once_temporal_is_back() -> None:
    assert outcome(503, "TEMPORAL_UNAVAILABLE") == "forget"
    assert outcome(503, "DATABASE_UNAVAILABLE") == "keep"
