"""The meaning of each decline code for the next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money.payments import declines
from billing.money.payments.declines import classify
from billing.money.payments.rules import Decline

TABLES = {
    "hard": declines._HARD,
    "action": declines._ACTION,
    "config": declines._CONFIG,
}


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("lost_card", "hard"),
        ("stolen_card", "hard"),
        ("expired_card", "hard"),
        ("pickup_card", "hard"),
        ("fraudulent", "hard"),
        ("revocation_of_authorization", "hard"),
        ("account_number_invalid", "hard"),
        ("bank_account_unverified", "hard"),
        ("india_recurring_payment_mandate_canceled", "hard"),
        ("payment_method_restricted", "hard"),
        ("setup_intent_mandate_invalid", "hard"),
        ("payment_method_currency_mismatch", "hard"),
        ("payment_intent_incompatible_payment_method", "hard"),
        ("insufficient_funds", "soft"),
        ("generic_decline", "soft"),
        ("do_not_honor", "soft"),
        ("try_again_later", "soft"),
        ("processing_error", "soft"),
        ("card_velocity_exceeded", "soft"),
        ("incorrect_cvc", "soft"),
        ("authentication_required", "action"),
        ("authentication_not_handled", "action"),
        ("testmode_decline", "config"),
        ("highest_risk_level", "hard"),
        ("pin_try_exceeded", "hard"),
        ("do_not_try_again", "hard"),
        ("previously_declined_do_not_retry", "hard"),
    ],
)
def test_a_bank_s_word_has_one_meaning(code: str, meaning: str) -> None:
    assert classify(code, "card_declined") == meaning


@pytest.mark.parametrize("meaning", TABLES)
def test_every_listed_code_has_the_meaning_of_its_list(meaning: str) -> None:
    for code in TABLES[meaning]:
        assert classify(code, None) == meaning
        assert classify(None, code) == meaning


def test_no_code_is_listed_twice() -> None:
    listed = [code for table in TABLES.values() for code in table]
    assert len(listed) == len(set(listed))


def test_the_banks_word_counts_before_the_providers() -> None:
    assert classify("lost_card", "authentication_required") == "hard"
    assert classify("authentication_required", "expired_card") == "action"


@given(st.text().filter(lambda code: not any(code in table for table in TABLES.values())))
def test_a_code_nobody_knows_may_work_another_day(code: str) -> None:
    assert classify(code, None) == "soft"
    assert classify(None, None) == "soft"


def test_a_card_is_barred_only_when_the_bank_asked_for_it() -> None:
    decline = Decline(code="card_declined", decline_code="stolen_card", message="no")
    assert not decline.bars_card
    assert decline.model_copy(update={"advice": "do_not_try_again"}).bars_card
    assert not decline.model_copy(update={"advice": "try_again_later"}).bars_card
    assert decline.model_copy(update={"decline_code": "do_not_try_again"}).bars_card
    ours = {"decline_code": "testmode_decline", "advice": "do_not_try_again"}
    assert not decline.model_copy(update=ours).bars_card


def test_the_most_telling_code_is_the_reason() -> None:
    assert (
        Decline(code="card_declined", decline_code="lost_card", message="no").reason == "lost_card"
    )
    assert Decline(code="expired_card", message="no").reason == "expired_card"
