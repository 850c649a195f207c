"""The judge: each promise as a question about a life that was lived, in words when it is broken.

It shares no code with the product (a test holds that). It believes the stand-in's journal about
money and cards, the diary about what was asked and answered, and rows about the rest.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.integration.walk.evidence import Case
from tests.integration.walk.known import KNOWN
from tests.integration.walk.promises import (
    books,
    contracts,
    ended,
    gains,
    money,
    paypal,
    plan_changes,
    rights,
    taxes,
    time,
    usage,
    words,
)

Question = Callable[[Case], Iterable[str]]

PROMISES: Final[dict[str, Question]] = {
    "a cancel that was answered stands": words.cancel_stands,
    "no charge follows a cancel but for what was served": money.no_charge_after_a_cancel,
    "no day is paid twice": money.no_day_twice,
    "nothing is charged that nobody asked for or planned": money.asked_or_planned,
    "money in is what is paid, kept or given back": money.adds_up,
    "no more goes back than came": money.no_more_back_than_came,
    "nobody ends with more money than was paid": gains.no_more_than_paid,
    "what was used is paid": gains.used_is_paid,
    "credits that a plan gave are asked for": gains.spent_credits_are_asked_for,
    "credits whose money went back are gone": gains.returned_credits_are_gone,
    "a use that was taken back costs nothing": gains.taken_back_uses_cost_nothing,
    "what was agreed is charged, and no more": contracts.missing_is_charged,
    "PayPal takes once, and nothing that was given up": paypal.taken_once,
    "a card that must not be tried again is not": money.cards_stay_barred,
    "the named card is the one charged": money.named_card,
    "what a preview said is what a change charges": plan_changes.charged_as_previewed,
    "a change comes as it was answered": plan_changes.comes_as_changed,
    "no more comes back than was not used": plan_changes.no_more_than_unused,
    "an end gives back what is not used, once": ended.no_more_than_unused,
    "a refund of an end goes back the way the money came": ended.goes_back,
    "a coupon takes off what it says": plan_changes.coupons_take_off,
    "use beyond a plan is billed once": usage.beyond_is_billed,
    "tax is asked and given back with the money": taxes.tax_follows,
    "cards are tried on their slots": time.tries_on_slots,
    "the future that was shown came true": time.came_true,
    "no use without right, credits or money": rights.no_use_without_right,
    "no period is served for nothing": rights.no_period_for_nothing,
    "what was answered as done stays": words.stays_done,
    "a change up that was not paid is not given": words.unpaid_change_is_not_given,
    "no answer is a fault of ours": words.no_fault,
    "credits, lots and ledger agree": books.credits_agree,
    "credits come once, and with their payment": books.grants_once,
    "numbers have no gaps": books.numbers_without_gaps,
    "the product's own checks are green": books.verified,
    "nothing is halted or left": books.nothing_left,
}
MARKED: Final = frozenset({
    "used_is_paid", "spent_credits_are_asked_for", "tries_on_slots", "came_true",
})  # fmt: skip
"""The promises that many lives escape: each marks what it was held against."""


@dataclass(frozen=True)
class Broken:
    """A promise that a life has found broken."""

    promise: str
    words: str


def judge(case: Case, known: Iterable[str] = KNOWN) -> list[Broken]:
    """Every broken promise of a life, but for those that are known not to be kept yet."""
    return list(_found(case, set(known)))


def _found(case: Case, known: set[str]) -> Iterator[Broken]:
    for promise, question in PROMISES.items():
        if promise not in known:
            for said in question(case):
                yield Broken(promise, said)
