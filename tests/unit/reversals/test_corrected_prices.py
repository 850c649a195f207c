"""A price of which a correction put a part on the money balance: once that goes back to its payer,
too, the credits go with it.
"""

from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest

from billing.money.invoices import notes, transitions
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import CORRECTIONS, Invoice, InvoiceLine, NoteKind
from billing.money.payments.schemas import Payment
from tests.unit.reversals.story import CREDITS, INVOICE, PAYMENT, Story, act

TOTAL, OFF = 3999, 1600
BY_THE_PRICE: Final = CREDITS * (TOTAL - OFF) / TOTAL


def noted(kind: NoteKind = "operator", overpaid: int = 0) -> Story:
    """A pack of which a note put a part on the money balance."""
    story = Story(TOTAL, overpaid)
    note = NewNote(kind, OFF, "goodwill", "1")
    invoice = story.rows.get(Invoice, INVOICE)
    notes.credit_note(story.work(), invoice, note, to_balance=True)
    return story


def refunded(story: Story, *amounts: int) -> Decimal:
    """The credits that are clawed back once these went back."""
    for amount in amounts:
        story.ask(amount, "provider", "succeeded")
        story.tell()
    return story.lot["asked"]


@pytest.mark.parametrize("parts", [(TOTAL,), (1200, TOTAL - 1200), (TOTAL - OFF, OFF)])
@pytest.mark.parametrize("kind", CORRECTIONS)
def test_all_credits_go_with_all_the_money(kind: NoteKind, parts: tuple[int, ...]) -> None:
    story = noted(kind)
    assert refunded(story, *parts) == CREDITS
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


def test_of_a_part_of_the_money_the_share_goes() -> None:
    story = noted()
    assert round(refunded(story, TOTAL - OFF), 4) == round(BY_THE_PRICE, 4)
    assert round(refunded(story, 600), 4) == round(CREDITS * (TOTAL - OFF + 600) / TOTAL, 4)


@pytest.mark.parametrize("verdict", ["needs_response", "lost"])
@pytest.mark.parametrize("spent", [0, 600, OFF])
def test_a_dispute_takes_them_whether_or_not_what_was_credited_is_spent(
    verdict: str, spent: int
) -> None:
    story = noted()
    if spent:
        spend(story, spent)
    for one in (("dispute", verdict, None), ("hear",)):
        act(story, one)
    assert story.lot["asked"] == CREDITS


def spend(story: Story, amount: int) -> None:
    """Something else is paid from the money balance."""
    w, invoice = story.work(), story.rows.get(Invoice, INVOICE)
    other = invoice.model_copy(update={"id": w.facts.new_id()})
    w.add(other)
    transitions.add_balance(w, other, "applied", -amount)


@pytest.mark.parametrize("kind", ["canceled", "unserved", "change"])
def test_time_whose_credits_its_note_has_clawed_back_takes_none_again(kind: NoteKind) -> None:
    assert round(refunded(noted(kind), TOTAL), 4) == round(BY_THE_PRICE, 4)


def test_what_came_beyond_the_price_goes_first_and_takes_none() -> None:
    story = noted(overpaid=500)
    assert refunded(story, 500) == 0
    assert refunded(story, TOTAL) == CREDITS


def test_what_a_refund_has_put_there_is_counted_once() -> None:
    story = noted()
    half = 1200
    story.ask(half, "balance", "succeeded")
    taken = story.lot["asked"]
    assert round(taken, 4) == round(CREDITS * half / TOTAL, 4)
    assert round(refunded(story, TOTAL - OFF - half), 4) == round(BY_THE_PRICE, 4)
    assert refunded(story, OFF) == CREDITS


def test_what_is_owed_again_takes_none() -> None:
    """The provider's refund exceeds what is here: of what was spent its credits stay."""
    story = noted()
    spend(story, OFF)
    for one in (("dashboard", TOTAL), ("hear",)):
        act(story, one)
    assert round(story.lot["asked"], 4) == round(BY_THE_PRICE, 4)


def with_use(kind: NoteKind = "voided_use", charge: str = "usage", part: int = OFF) -> Story:
    """A price beside which the invoice charged something that brings no credits; a note put a part
    of that on the money balance.
    """
    story = Story(TOTAL, 0)
    w, invoice = story.work(), story.rows.get(Invoice, INVOICE)
    [line] = story.rows.of(InvoiceLine)
    used = line.model_copy(
        update={"id": UUID(int=5), "position": 2, "kind": charge, "amount_minor": OFF, "taxes": []}
    )
    w.change(line, amount_minor=TOTAL - OFF, taxes=[])
    w.add(used)
    note = NewNote(kind, part, "counted twice", "1", (notes.noted_part(used, part),))
    notes.credit_note(w, invoice, note, to_balance=True)
    return story


@pytest.mark.parametrize(
    ("kind", "charge"), [("voided_use", "usage"), ("operator", "usage"), ("change", "add_on")]
)
def test_all_credits_go_with_all_that_is_left_of_their_price(kind: NoteKind, charge: str) -> None:
    """Money of lines that a note took out bought none: it may stay on the balance, or go, too."""
    story, left = with_use(kind, charge), TOTAL - OFF
    assert round(refunded(story, 600), 4) == round(CREDITS * 600 / left, 4)
    assert refunded(story, left - 600) == CREDITS
    assert refunded(story, OFF) == CREDITS
    assert story.rows.get(Payment, PAYMENT).status == "refunded"


@pytest.mark.parametrize("spent", [0, OFF])
def test_a_dispute_takes_all_credits_with_what_is_left_of_their_price(spent: int) -> None:
    story = with_use()
    if spent:
        spend(story, spent)
    for one in (("dispute", "lost", TOTAL - OFF), ("hear",)):
        act(story, one)
    assert story.lot["asked"] == CREDITS


def test_a_part_of_the_use_that_is_still_charged_bears_its_share() -> None:
    story = with_use(part=OFF // 2)
    half = (TOTAL - OFF // 2) // 2
    assert round(refunded(story, half), 4) == round(CREDITS * half / (TOTAL - OFF // 2), 4)


def test_a_note_on_the_price_itself_takes_its_share_once_it_goes_from_the_balance() -> None:
    """Money that a note on something else put there goes before it."""
    story, off = with_use(), 399
    w, invoice = story.work(), story.rows.get(Invoice, INVOICE)
    [line] = [one for one in story.rows.of(InvoiceLine) if one.position == 1]
    note = NewNote("operator", off, "goodwill", "2", (notes.noted_part(line, off),))
    notes.credit_note(w, invoice, note, to_balance=True)
    price = TOTAL - OFF
    by_the_rest = round(CREDITS * (price - off) / price, 4)
    assert round(refunded(story, price - off), 4) == by_the_rest
    assert round(refunded(story, OFF), 4) == by_the_rest
    assert refunded(story, off) == CREDITS
