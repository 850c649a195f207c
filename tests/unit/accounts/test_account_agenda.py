"""An account's own agenda: expiring credits, cards being saved or removed."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.matters.agenda import Step
from billing.money.account_agenda.rules import (
    AccountState,
    ChargePlan,
    CompletionPlan,
    RemovalPlan,
    RetryPlan,
    SetupPlan,
    agenda,
    state_words,
)
from billing.money.payment_methods.rules import SETUP_LIFETIME
from billing.platform.provider_inbox.rules import AT_ONCE

NOW: Final = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)


def state(**fields: Any) -> AccountState:
    return AccountState(status="active", account="acc_1", **fields)


def plan(account: AccountState) -> list[tuple[str, str, datetime]]:
    return [(step.name, step.key, step.due) for step in agenda(account)]


def setup(**fields: Any) -> SetupPlan:
    known = {"setup": "set_1", "opened": True, "created_at": NOW}
    return SetupPlan.model_validate(known | fields)


def setup_step(**fields: Any) -> Step:
    [step] = agenda(state(setups=(setup(**fields),)))
    return step


def test_an_account_with_nothing_to_do_has_no_agenda() -> None:
    assert agenda(state()) == []
    assert state_words(state()) == "nothing to do"


def test_credits_expire_at_their_instant_under_a_key_of_that_instant() -> None:
    expiry = NOW + timedelta(days=30, microseconds=5)
    assert plan(state(next_expiry=expiry)) == [
        ("expire_credits", "acc_1/expire-2027-04-13T09:00:00.000005Z", expiry)
    ]


def test_a_card_to_be_saved_is_opened_at_stripe_at_once() -> None:
    step = setup_step(opened=False)
    assert (step.name, step.key, step.due) == ("setup", "set_1/open", NOW)


def test_without_a_word_stripe_is_asked_soon_later_and_at_the_end_of_the_day() -> None:
    dues = [setup_step(checks=checks).due - NOW for checks in range(5)]
    assert dues == [
        timedelta(minutes=1),
        timedelta(minutes=10),
        timedelta(hours=1),
        SETUP_LIFETIME,
        SETUP_LIFETIME,
    ]


def test_a_customer_who_says_that_it_is_done_is_believed_at_once() -> None:
    asked = NOW + timedelta(hours=5)
    step = setup_step(checks=3, asked_at=asked, asks=2)
    assert (step.key, step.due) == ("set_1/asked-2-2027-03-14T14:00:00.000000Z", asked)


def test_a_removed_card_is_detached_at_once() -> None:
    removal = RemovalPlan(method="mth_1", removed_at=NOW)
    assert plan(state(removals=(removal,))) == [("detach", "mth_1/detach", NOW)]


def test_every_event_is_looked_into_before_all_else() -> None:
    steps = plan(state(events=({"id": "evt_1"}, {"id": "evt_2"}), next_expiry=NOW))
    assert steps[:2] == [
        ("check", "acc_1/evt_1", AT_ONCE),
        ("check", "acc_1/evt_2", AT_ONCE),
    ]


@given(
    st.lists(st.integers(0, 5), max_size=5),
    st.lists(st.booleans(), max_size=3),
    st.lists(st.integers(0, 9), max_size=4, unique=True),
    st.booleans(),
)
def test_no_two_things_to_do_share_a_key(
    checks: list[int], opened: list[bool], events: list[int], expires: bool
) -> None:
    account = state(
        setups=(
            *(setup(setup=f"set_{n}", checks=count) for n, count in enumerate(checks)),
            *(setup(setup=f"set_x{n}", opened=flag) for n, flag in enumerate(opened)),
        ),
        removals=(RemovalPlan(method="mth_1", removed_at=NOW),),
        events=tuple({"id": f"evt_{number}"} for number in events),
        next_expiry=NOW if expires else None,
    )
    keys = [step.key for step in agenda(account)]
    assert len(keys) == len(set(keys)) == len(checks) + len(opened) + len(events) + 1 + expires


def test_operators_read_what_an_account_waits_for() -> None:
    account = state(
        setups=(setup(),),
        removals=(RemovalPlan(method="mth_1", removed_at=NOW),),
        next_expiry=NOW,
    )
    assert state_words(account) == (
        "1 card(s) being saved; 1 card(s) being removed; credits expire on 14 Mar 2027 09:00 UTC"
    )


def test_late_use_of_an_ended_subscription_is_invoiced_when_its_day_is_over() -> None:
    [(name, key, due)] = plan(state(late_usage=NOW))
    assert (name, due) == ("bill", NOW)
    assert key.startswith("acc_1/late-usage-2")


def test_unpaid_uses_are_paid_by_credits_then_told_of_then_charged() -> None:
    charge = ChargePlan(use="bill_1", tries=1, due=NOW)
    account = state(
        unpaid_retry=RetryPlan(id=UUID(int=7), asked_at=NOW),
        unpaid_notice=NOW,
        unpaid_charge=charge,
    )
    assert plan(account) == [
        ("settle_uses", f"acc_1/settle-uses-{UUID(int=7)}", NOW),
        ("tell_unpaid", "acc_1/unpaid-2027-03-14T09:00:00.000000Z", NOW),
        ("charge_use", "bill_1/charge-2", NOW),
    ]
    assert [step.use for step in agenda(account)] == [None, None, "bill_1"]
    assert state_words(account) == (
        "unpaid uses are about to be paid; a card may pay an unpaid use on 14 Mar 2027 09:00 UTC;"
        " unpaid uses are told of on 14 Mar 2027 09:00 UTC"
    )


def test_an_agreed_limit_begins_or_ends_at_its_instant() -> None:
    account = state(limits_due=NOW)
    assert plan(account) == [("limits", "acc_1/limits-2027-03-14T09:00:00.000000Z", NOW)]
    assert state_words(account) == "an agreed limit changes on 14 Mar 2027 09:00 UTC"


def test_uses_that_an_invoice_bills_are_completed_part_by_part() -> None:
    def waiting(part: int) -> AccountState:
        known = {"invoice": "inv_1", "meter": "ai_responses", "start_at": NOW, "began_at": NOW}
        return state(completion=CompletionPlan.model_validate(known | {"part": part}))

    [(name, first, due)] = plan(waiting(1))
    [(_, second, _)] = plan(waiting(2))
    assert (name, due) == ("complete", NOW)
    assert first != second
    assert state_words(waiting(1)) == "uses of ai_responses are being completed"


def test_two_vat_ids_at_one_frozen_instant_are_two_steps() -> None:
    first, second = (
        {key for _, key, _ in plan(state(vat_check=NOW, vat_credit=NOW, vat_turn=turn))}
        for turn in (1, 2)
    )
    assert len(first | second) == 4
