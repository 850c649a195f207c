"""A step down has moved a part of the invoice to its own: a refund at the provider then credits
what its money paid there, whatever else of the invoice is away meanwhile.
"""

from typing import Any, Final
from uuid import UUID

import pytest

from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from billing.money.refunds.schemas import Refund
from tests.unit.reversals.story import AT, INVOICE, ME, Story, act

LATER, DRAFT = UUID(int=1000), UUID(int=1001)
NO_TAX: Final[dict[str, Any]] = {"tax_minor": 0, "tax_included_minor": 0}
REFUND: Final = (("dashboard", 900), ("hear",))
OPEN: Final = (("dispute", "needs_response", 100), ("hear",))
WON: Final = (("decide", "won"), ("hear",))
LOST: Final = (("decide", "lost"), ("hear",))
REFUSED: Final = (
    ("dashboard", 1000), ("ask", 100, "provider", "succeeded"), ("hear",), ("tell",), ("hear",),
)  # fmt: skip
"""All of it goes back at the provider, which then refuses ours."""


def stepped_down() -> Story:
    """1000 were paid, of which 600 pay for the later invoice."""
    story = Story(1000, 0)
    first = story.rows.get(Invoice, INVOICE)
    story.work().change(first, subscription_id=UUID(int=77))
    move(story, INVOICE, LATER, 600)
    return story


def move(
    story: Story, source: UUID, later: UUID, amount: int, *, own: int = 0, **fields: Any
) -> None:
    """Add an invoice that charges this amount, and pays it by a part of an earlier one, and more
    by money of its `own`.
    """
    w, paid = story.work(), story.rows.get(Invoice, INVOICE)
    sums = ("subtotal_minor", "total_minor", "amount_due_minor", "amount_paid_minor")
    paid_by = dict.fromkeys(sums, own) | NO_TAX | {"id": later, "fact_key": str(later)}
    w.add(paid.model_copy(update=paid_by | fields))
    line = story.rows.of(InvoiceLine)[0]
    for kind, minor, position in (("plan", amount + own, 1), ("proration", -amount, 2)):
        moved: dict[str, Any] = NO_TAX | {"invoice_id": later, "taxes": [], "kind": kind}
        moved |= {"amount_minor": minor, "position": position}
        moved |= {"id": UUID(int=next(story.numbers))}
        moved |= {"detail": {"invoice": str(source)}} if minor < 0 else {}
        w.add(line.model_copy(update=moved))


@pytest.mark.parametrize(
    ("acts", "noted", "clawed"),
    [
        (REFUND, 900, 90),
        (OPEN + REFUND, 900, 100),
        (OPEN + REFUND + WON, 900, 90),
        (OPEN + REFUND + LOST, 1000, 100),
        (OPEN + LOST + REFUND, 1000, 100),
        (REFUSED, 1000, 100),
    ],
)
def test_what_is_reserved_keeps_no_refund_from_later_charges(
    acts: tuple[tuple[Any, ...], ...], noted: int, clawed: int
) -> None:
    story = stepped_down()
    for one in acts:
        act(story, one)
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0, "nothing is owed"
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == noted
    assert story.lot["asked"] == clawed


@pytest.mark.parametrize("status", ["paid", "void"])
@pytest.mark.parametrize("source", [INVOICE, LATER])
@pytest.mark.parametrize("parts", [(900,), (500, 400)])
def test_a_draft_that_is_decided_later_keeps_no_refund_from_what_its_money_paid(
    status: str, source: UUID, parts: tuple[int, ...]
) -> None:
    story = stepped_down()
    move(story, source, DRAFT, 300, status="draft", finalized_at=None)
    for one in parts:
        act(story, ("dashboard", one))
        act(story, ("hear",))
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) < 0, "it waits"
    numbered = {"finalized_at": AT} if status == "paid" else {}
    story.work().change(story.rows.get(Invoice, DRAFT), status=status, **numbered)
    assert any(one.wanted_minor for one in story.rows.of(Refund)), "it is woken"
    story.settle()
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == 0, "nothing is owed"
    assert sum(one.amount_minor for one in story.rows.of(CreditNote)) == 900
    assert story.lot["asked"] == 90


@pytest.mark.parametrize("parts", [(1000,), (500, 500)])
def test_a_refund_credits_no_later_charge_beyond_what_its_money_paid_of_it(
    parts: tuple[int, ...],
) -> None:
    """600 of 1000 paid for a later invoice of 1500; 400 were credited before, and spent."""
    story = Story(1000, 0)
    story.work().change(story.rows.get(Invoice, INVOICE), subscription_id=UUID(int=77))
    move(story, INVOICE, LATER, 600, own=900)
    act(story, ("note", 400))
    spent = BalanceEntry(
        id=UUID(int=5000), account_id=ME, key="spent", kind="applied", amount_minor=-400,
        currency="EUR", invoice_id=UUID(int=6000), at=AT,
    )  # fmt: skip
    story.work().add(spent)
    for one in parts:
        act(story, ("dashboard", one))
        act(story, ("hear",))
    assert sum(one.amount_minor for one in story.rows.of(BalanceEntry)) == -400, "it is owed"
    later = [one.amount_minor for one in story.rows.of(CreditNote) if one.invoice_id == LATER]
    assert sum(later) == 600
    assert story.lot["asked"] == 60
