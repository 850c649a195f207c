"""Banks that return a part of what they took, in any order with refunds and other disputes."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.rules import DisputeOutcome
from tests.searching import examples
from tests.unit.reversals.story import CREDITS, INVOICE, PAYMENT, Story, act


def lose(story: Story, name: str, amount: int, returned: int = 0, status: str = "lost") -> None:
    """The bank takes as much of the payment, and returns a part of it."""
    story.disputes[name] = DisputeOutcome(
        dispute_id=name, status=status, amount_minor=amount, currency="EUR", reason="general",
        is_withdrawn=returned < amount, returned_minor=returned,
    )  # fmt: skip
    story.hear()
    story.hold_true()


def balance(story: Story) -> int:
    return sum(one.amount_minor for one in story.rows.of(BalanceEntry))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("refunded", "returned", "loss", "kept"),
    [
        (300, 300, 0, 0), (300, 100, 200, 0), (300, 400, 0, 100), (0, 400, 0, 400),
        (0, 1000, 0, 1000),
    ],
)  # fmt: skip
def test_a_returned_part_covers_our_loss_and_then_is_the_customers(
    refunded: int, returned: int, loss: int, kept: int, *, at_once: bool
) -> None:
    story = Story(1000, 0)
    if refunded:
        act(story, ("dashboard", refunded))
        story.hear()
    for part in (returned,) if at_once else (0, returned, returned):
        lose(story, "dp_1", 1000, part)
    [row] = story.rows.of(Dispute)
    assert (row.loss_minor, balance(story)) == (loss, kept)
    assert (row.asked_minor, row.returned_minor) == (1000, returned)
    assert row.noted_back_minor == kept, "our loss is in no note"
    assert story.rows.get(Payment, PAYMENT).refunded_minor == 1000 - kept
    [told] = story.told("dispute.returned")
    assert (told["returned_cents"], told["balance_cents"]) == (returned, kept)

    lose(story, "dp_1", 1000, status="won")

    assert balance(story) == 1000 - refunded
    [row] = story.rows.of(Dispute)
    assert (row.state, row.loss_minor, row.asked_minor) == ("won", 0, 1000)


def test_a_part_that_one_bank_returns_covers_the_loss_of_another_one() -> None:
    story = Story(1000, 0)
    lose(story, "dp_1", 1000)
    lose(story, "dp_2", 600)
    assert [one.loss_minor for one in story.rows.of(Dispute)] == [0, 600]
    lose(story, "dp_1", 1000, 400)
    assert sorted(one.loss_minor for one in story.rows.of(Dispute)) == [0, 200]
    assert balance(story) == 0


def test_money_that_is_back_during_an_appeal_alone_is_the_banks_again_once_that_is_lost() -> None:
    story = Story(1000, 0)
    lose(story, "dp_1", 1000)
    for status in ("appeal_under_review", "under_review", "prevented"):
        lose(story, "dp_1", 1000, 1000, status)
        lose(story, "dp_1", 1000)
    [row] = story.rows.of(Dispute)
    assert (row.state, row.returned_at, balance(story)) == ("lost", None, 0)
    lose(story, "dp_1", 1000, 1000, "appeal_under_review")
    lose(story, "dp_1", 1000, status="won")
    assert balance(story) == 1000


@pytest.mark.parametrize(("returned", "refunded"), [(500, 500), (400, 500), (500, 1000)])
def test_a_refund_after_a_returned_part_takes_the_credits_of_its_own_money(
    returned: int, refunded: int
) -> None:
    story = Story(1000, 0)
    lose(story, "dp_1", 500)
    lose(story, "dp_1", 500, returned)
    act(story, ("ask", refunded, "provider", "succeeded"))
    act(story, ("tell",))
    story.hear()
    story.hold_true()
    assert story.lot["asked"] == 100, "half with the dispute, the rest with the refund"


def test_credits_that_come_after_a_part_was_returned_bear_the_share_of_its_note() -> None:
    story = Story(1000, 0)
    story.lot["asked"] = CREDITS
    lose(story, "dp_1", 500)
    lose(story, "dp_1", 500, 500)
    story.lot["asked"] = Decimal(0)
    refunds.take_from_grant(story.work(), story.rows.get(Invoice, INVOICE), "lot")
    story.settle()
    assert story.lot["asked"] == CREDITS / 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("dashboard"), st.integers(1, 900)),
        st.tuples(st.just("ask"), st.integers(1, 900), st.sampled_from(["provider", "balance"]),
                  st.sampled_from(["succeeded", "failed"])),
        st.just(("tell",)), st.just(("hear",)), st.tuples(st.just("note"), st.integers(1, 900)),
        st.tuples(st.just("lose"), st.sampled_from(["a", "b"]), st.integers(1, 900),
                  st.integers(0, 900),
                  st.sampled_from(["lost", "lost", "won", "appeal_under_review"])),
    ),
    max_size=9,
)  # fmt: skip


@settings(max_examples=examples(200))
@given(STEPS, st.integers(0, 100))
def test_what_banks_return_in_any_order_makes_nobody_richer(
    steps: list[tuple[str, ...]], overpaid: int
) -> None:
    story = Story(900, overpaid)
    for step in steps:
        if step[0] != "lose":
            act(story, step)
        else:
            _, name, amount, returned, status = step
            known = story.disputes.get(name)
            asked = known.amount_minor if known else int(amount)
            lose(story, name, asked, min(int(returned), asked), str(status))
        story.hear()
        story.hold_true()
