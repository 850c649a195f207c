"""A card that is saved or chosen for a debt is tried at once, whatever else is under way."""

from datetime import timedelta
from typing import Final

import pytest

from billing.matters.agenda import CLOCK_SKEW
from billing.money.payments.rules import CHARGE_REFUSED, Decline, Outcome
from billing.money.payments.schemas import Attempt
from tests.unit.collecting.test_collecting_agenda import DAY, ZERO, case, invoice, plan
from tests.unit.collecting.told_debts import Debt, declined
from tests.unit.lives.collections import BIRTH

HOUR = timedelta(hours=1)


# -- a bank that takes its time --------------------------------------------------------------


def test_a_card_saved_while_the_bank_decides_on_the_last_slot_is_tried_before_the_end() -> None:
    debt = Debt("waiting", "declined", "declined", "processing", "declined", "succeeded")
    debt.go(until="attempt-2")
    debt.now += HOUR
    debt.new_card()
    debt.now += DAY
    debt.go()
    assert debt.steps == ["attempt-0", "attempt-1", "attempt-2", "card-mth"]
    assert (debt.invoice.status, debt.told.answers) == ("paid", [])


def test_a_card_saved_before_the_try_began_is_no_new_one() -> None:
    seen = invoice(
        case=case(last_true_attempt_at=ZERO + 5 * DAY),
        method="mth_2", method_chosen_at=ZERO + DAY, method_tried=True,
    )  # fmt: skip
    key = "inv_1/card-mth_2"
    assert key not in plan(seen), "a state of 0.1.0 does not say when the try began"
    for began, is_new in ((ZERO, True), (ZERO + DAY, False), (ZERO + 2 * DAY, False)):
        assert (key in plan(seen.model_copy(update={"last_began_at": began}))) is is_new


def test_a_try_in_the_browser_leaves_a_card_new() -> None:
    debt = Debt("waiting", "declined", declined("ch_browser"), "succeeded")
    debt.go(until="attempt-0")
    debt.now += HOUR
    debt.offer()
    debt.new_card()
    debt.now += HOUR
    debt.tell()
    debt.go()
    assert debt.steps == ["attempt-0", "evt_1", "card-mth"]
    assert debt.rows.of(Attempt)[1].payment_method_id is None
    assert debt.invoice.status == "paid"


# -- a card that is chosen or saved again ----------------------------------------------------


SOFT: Final = ("insufficient_funds", None)
HARD: Final = ("expired_card", None)


@pytest.mark.parametrize("refusal", [SOFT, HARD])
def test_a_card_that_is_given_again_is_tried_again_each_time(refusal: tuple[str, None]) -> None:
    refusals = [declined(f"ch_{number}", *refusal) for number in range(3)]
    debt = Debt("waiting", *refusals, "succeeded")
    debt.go(until="attempt-0")
    for number in range(3):
        debt.now += HOUR
        debt.choose()
        debt.go(until="card-mth" if number == 0 else f"card-mth/chosen-{number}")
        assert debt.now == BIRTH + (number + 1) * HOUR, "it is tried at once"
    assert debt.steps == ["attempt-0", "card-mth", "card-mth/chosen-1", "card-mth/chosen-2"]
    assert (debt.invoice.status, debt.told.answers) == ("paid", [])


def test_a_hard_decline_from_before_the_card_was_given_again_stops_no_slot() -> None:
    debt = Debt("waiting", declined("ch_1", *HARD), "succeeded")
    debt.go(until="attempt-0")
    debt.now += 3 * DAY + HOUR  # no worker ran, so the slot is due before the new card
    debt.choose()
    debt.go()
    assert (debt.steps, debt.invoice.status) == (["attempt-0", "attempt-1"], "paid")


def test_a_card_given_again_waits_for_the_provider_anew() -> None:
    debt = Debt("waiting", declined("ch_1"), *["unreached"] * 24, "unreached", "succeeded")
    debt.go(until="attempt-0")
    debt.now += HOUR
    debt.choose()
    debt.go(until="card-mth/again-24")
    debt.choose()
    debt.go()
    assert debt.steps[-2:] == ["card-mth/chosen-1", "card-mth/chosen-1/again-1"]
    assert debt.invoice.status == "paid"


def test_a_new_card_whose_charge_the_provider_refused_is_tried_again_hourly() -> None:
    why = Decline(code=CHARGE_REFUSED, message="Your account cannot currently make live charges.")
    refused = Outcome(kind="unreached", intent_id="pi_1", decline=why)
    debt = Debt("waiting", declined("ch_1"), refused, "succeeded")
    debt.go(until="attempt-0")
    debt.now += HOUR
    debt.choose()
    debt.go()
    assert debt.steps == ["attempt-0", "card-mth", "card-mth/again-1"]
    assert [one.decline_code for one in debt.rows.of(Attempt)][1:] == ["charge_refused", None]
    assert debt.invoice.status == "paid"


def test_a_card_that_is_given_again_and_again_is_declined_fifteen_times_at_most() -> None:
    debt = Debt("waiting", *(declined(f"ch_{number}") for number in range(15)))
    debt.go(until="attempt-0")
    for number in range(20):
        debt.now += HOUR
        debt.choose()
        debt.go(until=f"card-mth/chosen-{number}" if number else "card-mth")
    reasons = [one.decline_code for one in debt.rows.of(Attempt)]
    assert reasons == ["insufficient_funds"] * 15 + ["too_many_attempts"] * 6


def test_a_card_that_its_bank_barred_is_not_tried_however_often_it_is_given() -> None:
    debt = Debt("waiting", declined("ch_1", "generic_decline", "do_not_try_again"), "canceled")
    debt.go(until="attempt-0")
    debt.now += HOUR
    debt.choose()
    debt.go()
    assert debt.steps == ["attempt-0", "attempt-1", "attempt-2", "give-up"]
    assert debt.told.calls.count("try_card") == 1


def test_a_choice_is_tried_once_although_the_servers_clocks_differ() -> None:
    debt = Debt("waiting", declined("ch_1"), declined("ch_2"), "succeeded")
    debt.go(until="attempt-0")
    debt.now += HOUR
    debt.choose()
    debt.now -= CLOCK_SKEW  # the worker's clock, which is behind
    step = debt.next_step()
    assert step is not None
    debt.do(step.model_copy(update={"due": debt.now}))
    after = debt.next_step()
    assert (step.slot, after is not None and after.slot) == (None, 1)
