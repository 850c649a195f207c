"""A step down has moved a part of the invoice to its own: a refund at the provider then credits
what its money paid there, whatever else of the invoice is away meanwhile.
"""

from typing import Any, Final
from uuid import UUID

import pytest

from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice, InvoiceLine
from tests.unit.reversals.story import INVOICE, Story, act

LATER: Final = UUID(int=90)
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
    w = story.work()
    first = w.change(story.rows.get(Invoice, INVOICE), subscription_id=UUID(int=77))
    none = dict.fromkeys(("subtotal_minor", "total_minor", "amount_due_minor"), 0)
    paid = none | NO_TAX | {"amount_paid_minor": 0}
    w.add(first.model_copy(update=paid | {"id": LATER, "fact_key": "down"}))
    [line] = story.rows.of(InvoiceLine)
    moved: dict[str, Any] = NO_TAX | {"invoice_id": LATER, "taxes": []}
    plan = {"id": UUID(int=91), "kind": "plan", "amount_minor": 600}
    credit = {"id": UUID(int=92), "kind": "proration", "amount_minor": -600, "position": 2}
    w.add(line.model_copy(update=moved | plan))
    w.add(line.model_copy(update=moved | credit | {"detail": {"invoice": str(INVOICE)}}))
    return story


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
