"""A judge that knows the acts alone: what the provider sent back, and what banks hold. From these
follows exactly how much is with the payer, with banks and with us, and how many credits stand.
"""

from decimal import Decimal
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import CreditNote
from billing.money.refunds.schemas import Refund
from tests.searching import examples
from tests.unit.reversals.story import AFTER_ALL, CREDITS, Story, act

HELD: Final = ("needs_response", "lost", "appeal_under_review")
AMOUNTS: Final = st.one_of(st.integers(1, 1100), st.sampled_from((1, 2, 10, 1000)))
FATES: Final = st.sampled_from(("succeeded", "processing", "failed"))
OUTSIDE: Final = (
    st.tuples(st.just("ask"), AMOUNTS, st.just("provider"), FATES),
    st.tuples(st.just("dashboard"), AMOUNTS),
    st.tuples(st.just("settle"), st.sampled_from(("succeeded", "failed"))),
    st.tuples(
        st.just("dispute"), st.sampled_from(("needs_response", "warning_needs_response", "lost")),
        st.one_of(st.none(), AMOUNTS),
    ),
    st.tuples(
        st.just("verdict"), st.integers(0, 2),
        st.sampled_from(("won", "lost", "appeal_under_review")),
    ),
    st.tuples(st.just("tell")),
)  # fmt: skip
"""The acts that move money between us, the payer and banks."""
INSIDE: Final = (
    st.tuples(st.just("ask"), AMOUNTS, st.just("balance"), FATES),
    st.tuples(st.just("note"), AMOUNTS),
)
"""The acts that move money of the invoice to the money balance."""
Act = tuple[Any, ...]


class Judge:
    """The places of all money, and the credits, as they follow from the acts."""

    def __init__(self, total: int, overpaid: int, *, added: bool) -> None:
        self.story = Story(total, overpaid, added=added)
        self.total, self.overpaid = total, overpaid
        self.booked: set[str] = set()
        self.came_back = 0
        """The money that came back after its credit note was written: the note stands."""

    def live(self, what: Act) -> bool:
        """Go on by one act that is heard; tell whether the provider owes no answer then."""
        story = self.story
        if what[0] == "verdict":
            self._judge(*what[1:])
        else:
            act(story, what)
        story.hear()
        for name, one in (story.made | story.disputes).items():
            if one.status in ("succeeded", "lost"):
                self.booked.add(name)
            elif one.status in ("failed", "won") and name in self.booked:
                self.booked.remove(name)
                self.came_back += one.amount_minor
        return not story.asked

    def _judge(self, number: int, status: str) -> None:
        """One of the banks decides, whichever dispute came first."""
        for name, one in list(self.story.disputes.items())[number:][:1]:
            if one.status == "needs_response" or (one.status, status) in AFTER_ALL:
                self.story.disputes[name] = one.model_copy(update={"status": status})

    @property
    def received(self) -> int:
        return self.total + self.overpaid

    @property
    def with_payer(self) -> int:
        """The money that is there or on its way."""
        asked = sum(row.amount_minor for row, _ in self.story.asked)
        made = (one for one in self.story.made.values() if one.status != "failed")
        return asked + sum(one.amount_minor for one in made)

    @property
    def with_banks(self) -> int:
        return sum(one.amount_minor for one in self.story.disputes.values() if one.status in HELD)

    @property
    def loss(self) -> int:
        """The money of banks beyond that which was here."""
        more = self.with_payer + self.with_banks - self.received
        return max(0, min(more, self.with_banks))

    @property
    def gone(self) -> int:
        """The money of the payment that is not here."""
        return self.with_payer + self.with_banks - self.loss

    def weigh(self) -> None:
        """Compare the money with the rows."""
        story = self.story
        refunds = [one for one in story.rows.of(Refund) if one.takes_room]
        disputes = [one for one in story.rows.of(Dispute) if one.takes_room]
        sent = [one.amount_minor for one in refunds if one.way == "provider"]
        assert sum(sent) == self.with_payer
        assert sum(one.amount_minor for one in disputes) == self.with_banks
        assert sum(one.loss_minor for one in disputes) == self.loss
        here = story.balance + self.total - self.noted
        assert here == self.received - self.gone, "on the balance and the invoice"
        assert story.balance >= 0, "nobody owes what is here"

    @property
    def noted(self) -> int:
        """The part of the invoice that is credited, or that an open reversal will credit."""
        waiting = [one for one in self.story.rows.of(Refund) if one.is_reserved]
        return self.noted_for_good + sum(one.note_minor for one in waiting)

    @property
    def noted_for_good(self) -> int:
        """The part without refunds on their way: these have taken no credits yet."""
        rows = self.story.rows
        held = (one for one in rows.of(Dispute) if one.is_reserved)
        written = sum(one.amount_minor for one in rows.of(CreditNote))
        return written + sum(one.note_minor for one in held)

    def weigh_credits(self) -> None:
        """Compare the credits with the part of the price that went back."""
        asked = CREDITS * self.noted_for_good / self.total
        assert abs(self.story.lot["asked"] - asked) < Decimal("0.0001")
        least = max(0, self.gone - self.overpaid)
        assert least <= self.noted <= min(self.total, self.gone + self.came_back)
        if not self.came_back and not self.overpaid:
            assert self.noted == self.gone


PRICES: Final = st.one_of(st.integers(1, 1000), st.sampled_from((1, 10, 1000)))


@settings(max_examples=examples(200))
@given(
    PRICES, st.sampled_from((0, 100)), st.booleans(),
    st.lists(st.one_of(*OUTSIDE, *INSIDE), max_size=10),
)  # fmt: skip
def test_every_cent_is_with_the_payer_with_a_bank_or_with_us(
    total: int, overpaid: int, added: bool, acts: list[Act]
) -> None:
    judge = Judge(total, overpaid, added=added)
    for what in acts:
        if judge.live(what):
            judge.weigh()


@settings(max_examples=examples(200))
@given(PRICES, st.sampled_from((0, 100)), st.booleans(), st.lists(st.one_of(*OUTSIDE), max_size=10))
def test_credits_stand_for_exactly_the_part_of_the_price_that_did_not_go_back(
    total: int, overpaid: int, added: bool, acts: list[Act]
) -> None:
    judge = Judge(total, overpaid, added=added)
    for what in acts:
        if judge.live(what):
            judge.weigh()
            judge.weigh_credits()
