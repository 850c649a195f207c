"""Credit notes on one invoice of several lines and rates: each has no more tax than its amount, and
together they take back the tax that was charged, to the cent.
"""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing.catalog.taxes.schemas import TaxRate
from billing.matters.effects import Rows, Work
from billing.money.invoices import giving_back, notes
from billing.money.invoices.schemas import CreditNote, Invoice, InvoiceLine, Line
from billing.money.invoices.sums import SummedLine, sum_lines
from billing.money.invoices.transitions import InvoiceFacts
from tests.searching import examples
from tests.unit.invoices.test_notes_at_other_rates import taxes

AT: Final = datetime(2027, 1, 1, tzinfo=UTC)
ME, INVOICE = UUID(int=1), UUID(int=2)
PERCENTS: Final = ("5", "9.975", "20", "27")
Sold = tuple[int, tuple[str, ...]]
"""The price of a line, and its rates."""
Asked = tuple[int, int | None, bool]
"""A note: its amount, the line that it names, and whether its money went back to its payer."""


def summed(sold: list[Sold], *, inclusive: bool) -> list[SummedLine]:
    def rate(percent: str) -> TaxRate:
        return TaxRate(
            jurisdiction=f"XX-{percent}", category="standard", name="Tax", rate=Decimal(percent),
            inclusive=inclusive,
        )  # fmt: skip

    lines = [
        Line(
            kind="plan", description="", unit_amount=Decimal(price), amount_minor=price,
            taxes=tuple(map(rate, percents)),
        )
        for price, percents in sold
    ]  # fmt: skip
    return sum_lines(lines, currency="EUR")


class Paid:
    """A paid invoice of these lines."""

    def __init__(self, sold: list[Sold], *, inclusive: bool) -> None:
        self.numbers, lines = count(10), summed(sold, inclusive=inclusive)
        total = sum(one.total_minor for one in lines)
        tax, held = (
            sum(one.tax_minor for one in lines),
            sum(one.tax_included_minor for one in lines),
        )
        invoice = Invoice(
            id=INVOICE, account_id=ME, workflow_id="charge/x", fact_key="x", status="paid",
            currency="EUR", subtotal_minor=total - tax + held, tax_minor=tax,
            tax_included_minor=held, total_minor=total, amount_due_minor=total,
            amount_paid_minor=total, settlement="payment", finalized_at=AT, paid_at=AT,
            created_at=AT,
        )  # fmt: skip
        written = [
            InvoiceLine(
                id=UUID(int=next(self.numbers)), account_id=ME, invoice_id=INVOICE,
                position=position, kind="plan", description="", quantity=Decimal(1),
                unit_amount=one.line.unit_amount, amount_minor=one.line.amount_minor,
                tax_minor=one.tax_minor, tax_included_minor=one.tax_included_minor,
                taxes=list(one.taxes),
            )
            for position, one in enumerate(lines, start=1)
        ]  # fmt: skip
        self.rows = Rows([invoice, *written])

    @property
    def left(self) -> int:
        return giving_back.left(self.rows, self.rows.get(Invoice, INVOICE)).total_minor

    def note(self, asked: Asked) -> None:
        """A note of so much, as far as it is left."""
        amount, position, goes_back = asked
        amount = min(amount, self.left)
        lines: tuple[dict[str, Any], ...] = ()
        found = [one for one in self.rows.of(InvoiceLine) if one.position == position]
        for line in found:
            amount = min(amount, line.total_minor - self.noted(line.position))
            lines = (notes.noted_part(line, amount),)
        if amount <= 0:
            return
        facts = InvoiceFacts(at=AT, real_at=AT, new_id=lambda: UUID(int=next(self.numbers)))
        w, named = Work(self.rows, facts), f"n{next(self.numbers)}"
        invoice = self.rows.get(Invoice, INVOICE)
        if goes_back:
            note = notes.NewNote("refund", amount, "r", named, lines, was_served=True)
            notes.reverse(w, invoice, note)
        else:
            note = notes.NewNote("operator", amount, "r", named, lines)
            notes.credit_note(w, invoice, note, to_balance=True)

    def noted(self, position: int) -> int:
        """The part of a line that notes name."""
        parts = (part for one in self.rows.of(CreditNote) for part in one.lines)
        return sum(part["amount_minor"] for part in parts if part["position"] == position)


sold = st.lists(
    st.tuples(
        st.integers(1, 3000),
        st.lists(st.sampled_from(PERCENTS), max_size=3, unique=True).map(tuple),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
asked = st.tuples(
    st.one_of(st.integers(1, 5), st.integers(1, 3000)),
    st.none() | st.integers(1, 3),
    st.booleans(),
)


@settings(max_examples=examples(200))
@given(sold, st.booleans(), st.lists(asked, max_size=30))
@example([(100, ("20", "27"))], True, [(1, None, False)] * 100)
def test_notes_take_back_the_tax_that_was_charged_and_no_more_than_their_amounts(
    sold: list[Sold], inclusive: bool, asked: list[Asked]
) -> None:
    paid = Paid(sold, inclusive=inclusive)
    for one in asked:
        paid.note(one)
    paid.note((paid.left, None, False))
    written = paid.rows.of(CreditNote)
    assert not paid.left
    for note in written:
        assert all(tax["amount_minor"] >= 0 for tax in note.taxes)
        assert sum(tax["amount_minor"] for tax in note.taxes) == note.tax_minor
        assert note.tax_minor <= note.amount_minor, "more tax than was credited"
    assert taxes(written) == taxes(paid.rows.of(InvoiceLine)), "at each rate"
