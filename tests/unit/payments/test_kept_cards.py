"""A card that has paid is kept; one card is one method, by whichever way it is given."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from billing.matters.effects import Add, Announce, Do, Facts, Rows, WakeOpen, Watch, Work
from billing.matters.kinds import RECOVERING
from billing.money.payment_methods.rules import NEVER_CHOSEN, CardDetails
from billing.money.payment_methods.schemas import Method
from billing.money.payments import kept_cards
from billing.money.payments import transitions as payments

NOW = datetime(2027, 3, 1, tzinfo=UTC)
ACCOUNT = UUID(int=7)


def work(*methods: Method) -> Work[Facts]:
    ids = count(100)
    return Work(Rows(methods), Facts(at=NOW, real_at=NOW, new_id=lambda: UUID(int=next(ids))))


def method(number: int, fingerprint: str | None = None, **more: object) -> Method:
    fields = {
        "id": UUID(int=number), "account_id": ACCOUNT, "fingerprint": fingerprint,
        "stripe_payment_method_id": f"pm_{number}", "chosen_at": NOW, "created_at": NOW,
    }  # fmt: skip
    return Method.model_validate({**fields, **more})


def given(fingerprint: str | None, year: int = 2034) -> CardDetails:
    return CardDetails(
        stripe_payment_method_id="pm_new", fingerprint=fingerprint, exp_month=5, exp_year=year
    )


def test_a_card_that_is_given_again_stays_its_method_and_the_one_before_is_detached() -> None:
    kept = method(1, "f", is_default=True, label="mine", exp_year=2027)
    w = work(kept, method(2, "other"))
    kept_cards.keep_card(w, ACCOUNT, given("f"), make_default=True)
    now = w.rows.get(Method, kept.id)
    assert (now.stripe_payment_method_id, now.exp_year) == ("pm_new", 2034)
    assert (now.is_default, now.label, now.one_card) == (True, "mine", "f")
    (added,) = [one.row for one in w.effects if isinstance(one, Add)]
    assert isinstance(added, Method)
    assert (added.stripe_payment_method_id, added.status) == ("pm_1", "removing")
    assert (added.is_default, added.removed_at) == (False, NOW)
    assert Watch(ACCOUNT, due=NOW) in w.effects, "the account's matter detaches it"
    assert len(payments.cards(w.rows)) == 2


def test_a_new_default_is_tried_on_what_else_is_overdue_or_unpaid_and_another_card_is_not() -> None:
    for make_default in (True, False):
        w = work(method(1, "f", is_default=True))
        kept_cards.keep_card(w, ACCOUNT, given("new"), make_default=make_default)
        assert (WakeOpen(ACCOUNT, RECOVERING) in w.effects) == make_default
        tried = Do(kept_cards.ANOTHER_CARD, kept_cards.CardToTry(account_id=ACCOUNT))
        assert (tried in w.effects) == make_default


def test_another_card_that_is_given_again_is_new_and_no_other_default() -> None:
    w = work(method(1, "f", is_default=True), method(2, "g"))
    kept_cards.keep_card(w, ACCOUNT, given("g"), make_default=False)
    assert WakeOpen(ACCOUNT, RECOVERING) in w.effects, "a subscription may name it"
    assert Do(kept_cards.ANOTHER_CARD, kept_cards.CardToTry(account_id=ACCOUNT)) not in w.effects


@pytest.mark.parametrize("fingerprint", ["f", "new"])
def test_a_card_that_came_by_a_link_is_new_to_nothing_else(fingerprint: str) -> None:
    long_ago = NOW - timedelta(days=9)
    w = work(method(1, "f", is_default=fingerprint == "f", chosen_at=long_ago))
    kept_cards.keep_card(w, ACCOUNT, given(fingerprint), make_default=True, by_link=True)
    (now,) = [one for one in w.rows.of(Method) if one.is_default]
    assert now.stripe_payment_method_id == "pm_new"
    assert now.chosen_at == (long_ago if fingerprint == "f" else NEVER_CHOSEN)
    assert not any(isinstance(one, WakeOpen | Do) for one in w.effects)


def test_a_backup_that_becomes_the_default_is_no_longer_the_backup_and_that_is_announced() -> None:
    backup = method(2, "b", is_backup=True)
    w = work(method(1, "f", is_default=True), backup)
    kept_cards.keep_card(w, ACCOUNT, given("b"), make_default=True)
    now = w.rows.get(Method, backup.id)
    assert (now.is_default, now.is_backup) == (True, False)
    told = [one.action for one in w.effects if isinstance(one, Announce)]
    assert [one.removeprefix("payment_method.") for one in told] == [
        "updated", "backup_ended", "chosen",
    ]  # fmt: skip


def test_of_two_from_before_the_one_that_is_kept_one_goes_on_and_else_the_default() -> None:
    for one, two in (({}, {"is_default": True}), ({"is_default": True}, {"one_card": "f"})):
        w = work(method(1, "f", **one), method(2, "f", **two))
        kept_cards.keep_card(w, ACCOUNT, given("f"), make_default=False)
        assert w.rows.get(Method, UUID(int=2)).stripe_payment_method_id == "pm_new"
        assert w.rows.get(Method, UUID(int=1)).stripe_payment_method_id == "pm_1"


def test_a_card_whose_number_its_bank_made_that_of_another_is_in_nobodys_way() -> None:
    both = method(1, "o", one_card="o", is_default=True), method(2, "n", one_card="n")
    w = work(*both)
    updated = CardDetails(stripe_payment_method_id="pm_1", fingerprint="n")
    kept_cards.keep_card(w, ACCOUNT, updated, make_default=False)
    assert [one.one_card for one in payments.cards(w.rows)] == [None, "n"], "an index is unique"
    kept_cards.keep_card(w, ACCOUNT, given("n"), make_default=False)
    assert [one.stripe_payment_method_id for one in payments.cards(w.rows)] == ["pm_1", "pm_new"]
    assert [one.one_card for one in payments.cards(w.rows)] == [None, "n"]


def test_the_number_of_before_is_another_card_than_the_reissued_one() -> None:
    w = work(method(1, "o", one_card="o", is_default=True))
    updated = CardDetails(stripe_payment_method_id="pm_1", fingerprint="n")
    kept_cards.keep_card(w, ACCOUNT, updated, make_default=False)
    kept_cards.keep_card(w, ACCOUNT, given("o"), make_default=False)
    assert [one.one_card for one in payments.cards(w.rows)] == ["n", "o"]


@pytest.mark.parametrize(
    ("change", "is_new", "is_barred"),
    [
        ({}, False, True),
        ({"exp_year": 2034}, True, True),
        ({"fingerprint": "n"}, True, False),
        ({"fingerprint": "barred"}, True, True),
    ],
)
def test_a_card_that_its_bank_reissues_is_new_and_another_number_is_not_barred(
    change: dict[str, Any], is_new: bool, is_barred: bool
) -> None:
    before = NOW - timedelta(days=3)
    facts: dict[str, Any] = {"exp_month": 5, "exp_year": 2027, "fingerprint": "o"}
    kept = method(1, is_default=True, barred_at=before, chosen_at=before, **facts)
    w = work(kept, method(2, "barred", barred_at=before))
    card = CardDetails(stripe_payment_method_id="pm_1", **facts | change)
    kept_cards.keep_card(w, ACCOUNT, card, make_default=False)
    now = w.rows.get(Method, kept.id)
    assert (now.chosen_at == NOW, now.barred_at is not None) == (is_new, is_barred)
    assert (WakeOpen(ACCOUNT, RECOVERING) in w.effects) is is_new
    assert (
        Do(kept_cards.ANOTHER_CARD, kept_cards.CardToTry(account_id=ACCOUNT)) in w.effects
    ) is is_new


def test_a_removed_card_and_one_without_a_fingerprint_are_methods_of_their_own() -> None:
    for before, fingerprint in ((method(1, "f", status="removing"), "f"), (method(1, None), None)):
        w = work(before)
        kept_cards.keep_card(w, ACCOUNT, given(fingerprint), make_default=False)
        assert len(w.rows.of(Method)) == 2
        assert w.rows.get(Method, before.id) == before


def test_a_card_that_was_barred_stays_so_after_it_was_removed() -> None:
    before = NOW - timedelta(days=3)
    w = work(method(1, "f", status="detached", barred_at=before), method(2, "f", status="removing"))
    kept_cards.keep_card(w, ACCOUNT, given("f"), make_default=True)
    other = CardDetails(stripe_payment_method_id="pm_other", fingerprint="other")
    kept_cards.keep_card(w, ACCOUNT, other, make_default=False)
    assert [one.barred_at for one in payments.cards(w.rows)] == [before, None]


def test_the_id_of_before_brings_no_card_back() -> None:
    w = work(method(1, "f", status="detached"))
    kept_cards.keep_card(
        w, ACCOUNT, CardDetails(stripe_payment_method_id="pm_1", fingerprint="f"), make_default=True
    )
    assert w.effects == []
