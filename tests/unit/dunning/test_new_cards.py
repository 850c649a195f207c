"""A card that is saved or chosen for a debt is tried at once, whatever else is under way."""

from datetime import timedelta

from billing.money.payments.schemas import Attempt
from tests.unit.dunning.test_collecting_agenda import DAY, ZERO, case, invoice, plan
from tests.unit.dunning.told_debts import Debt, declined

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
