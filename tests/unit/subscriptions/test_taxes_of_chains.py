"""Chains of changes in one period, judged by exact fractions: the tax that is kept is the rate's
share of what is kept, and no invoice gives back more than its total or its tax.
"""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.core import ids
from billing.core.errors import Conflict
from billing.money.invoice_requests import corrections
from billing.money.invoices.schemas import PRORATION, CreditNote, Invoice, InvoiceLine
from tests.searching import examples
from tests.unit.worked.player import Player, instant

START: Final = "2027-02-01T10:00:00Z"
DAYS: Final = 28
PLANS: Final = {"team": 1333, "solo": 1999, "pro": 4999}
TAXES: Final = (("19",), ("20",), ("5", "9.975"))


class Chain(Player):
    """A customer who pays a month of seats at once, with these taxes."""

    def __init__(self, percents: tuple[str, ...], seats: int, *, inclusive: bool) -> None:
        self.percents, self.inclusive, self.proven = percents, inclusive, False
        self.abroad, self.sorry, self.taxed = False, False, Fraction(0)
        super().__init__(
            {
                "currency": "EUR", "zone": "UTC", "terms": {key: {"seats": True} for key in PLANS},
                "plans": {key: {"month": minor} for key, minor in PLANS.items()},
                "start": {"plan": "team", "interval": "month", "at": START, "quantity": seats},
            }
        )  # fmt: skip
        self.served, self.seats, self.plan, self.day = Fraction(0), seats, "team", Fraction(0)

    def _taxation(self) -> Taxation:
        return Taxation(
            included_in=("EUR",) if self.inclusive else (), exempt=self.proven or self.abroad,
            jurisdictions=tuple(
                Jurisdiction(key=f"XX-{number}", name="Tax", rates={"standard": Decimal(percent)})
                for number, percent in enumerate(self.percents)
            ),
        )  # fmt: skip

    def go_on(self, days: Fraction) -> str:
        """Time goes by, and is served."""
        days = min(days, DAYS - self.day - Fraction(1, 24))
        price = PLANS[self.plan] * self.seats
        self.served += price * days / DAYS
        if not self.abroad:
            self.taxed += price * days / DAYS
        self.day += days
        return (instant(START) + timedelta(seconds=int(self.day * 86400))).isoformat()

    def change(self, plan: str, seats: int, days: Fraction) -> None:
        wish = {"plan": plan, "quantity": seats, "when": "now"}
        at = self.go_on(days)
        if (plan, seats) != (self.plan, self.seats):
            self.play({"at": at, "change": wish})
        self.plan, self.seats = plan, seats

    def end(self, days: Fraction) -> None:
        self.play({"at": self.go_on(days), "cancel": "credit"})
        self.seats = 0

    def prove(self) -> None:
        """The VAT id is proven: its tax goes back, and none is asked from now on."""
        self.proven = True
        for invoice in self.rows.of(Invoice):
            self.do(lambda w, i=invoice.id: corrections.credit_tax(  # type: ignore[misc]
                w, i, country="XX", reason="proven", suffix="reverse-charge"))  # fmt: skip

    def credit(self, invoice: Invoice, amount: int) -> bool:
        """An operator credits a part of an invoice, if so much is left."""
        try:
            self.do(lambda w: corrections.credit(
                w, invoice.id, amount=amount, lines=(), reason="sorry", to="balance",
                suffix=f"n{len(self.rows.of(CreditNote))}", tries=True))  # fmt: skip
        except Conflict:
            return False
        self.sorry = True
        return True

    @property
    def kept(self) -> tuple[int, Counter[str]]:
        """All that the documents come to, and the tax in it by jurisdiction."""
        written = self.rows.of(CreditNote)
        total = sum(one.total_minor for one in self.rows.of(Invoice))
        taxes = _taxes(self.rows.of(InvoiceLine))
        taxes.subtract(_taxes(written))
        return total - sum(one.amount_minor for one in written), taxes

    @property
    def documents(self) -> int:
        return len(self.rows.of(Invoice)) + len(self.rows.of(CreditNote))


def _taxes(rows: list[Any]) -> Counter[str]:
    found = Counter[str]()
    for row in rows:
        for tax in row.taxes:
            found[tax["jurisdiction"]] += tax["amount_minor"]
    return found


def judge(chain: Chain) -> None:
    """Every promise of the sums of a chain."""
    total, taxes = chain.kept
    rates = [Fraction(one) / 100 for one in (() if chain.proven else chain.percents)]
    whole = 1 + sum(rates)
    for number, rate in enumerate(rates):
        exact = total * rate / whole
        if chain.abroad:
            exact = chain.taxed * rate
        assert abs(taxes[f"XX-{number}"] - exact) <= chain.documents, "tax kept of what is kept"
    if chain.proven:
        assert sum(taxes.values()) == 0, "tax stays though the VAT id is proven"
    left = PLANS[chain.plan] * chain.seats * (DAYS - chain.day) / DAYS
    net = chain.served + left
    exact = net if chain.inclusive else net * whole
    if chain.abroad:
        exact = net + chain.taxed * sum(rates)
    if not chain.sorry:
        assert abs(total - exact) <= chain.documents, "what is kept is what was served"
    judge_bounds(chain)


def judge_bounds(chain: Chain) -> None:
    """No invoice gives back more than its total or its tax, nor more than it charged."""
    for invoice in chain.rows.of(Invoice):
        notes = [one for one in chain.rows.of(CreditNote) if one.invoice_id == invoice.id]
        lines = [one for one in chain.rows.of(InvoiceLine) if one.invoice_id == invoice.id]
        assert sum(one.amount_minor for one in notes) <= invoice.total_minor
        back, charged = _taxes(notes), _taxes(lines)
        assert all(back[rate] <= max(0, charged[rate]) for rate in back), "more tax than charged"
        assert all(one.tax_minor >= 0 for one in notes)
        if not chain.proven and not chain.abroad:
            judge_notes(chain, notes)
            judge_document(chain, invoice, notes)
        judge_charges(chain, invoice)


def judge_document(chain: Chain, invoice: Invoice, notes: list[CreditNote]) -> None:
    """The tax of what notes leave of an invoice is its rate's share of that."""
    rates = [Fraction(one) / 100 for one in chain.percents]
    total = invoice.total_minor - sum(one.amount_minor for one in notes)
    lines = [one for one in chain.rows.of(InvoiceLine) if one.invoice_id == invoice.id]
    taxes = _taxes(lines)
    taxes.subtract(_taxes(notes))
    for number, rate in enumerate(rates):
        exact = total * rate / (1 + sum(rates))
        assert abs(taxes[f"XX-{number}"] - exact) <= len(notes) + 1, "tax of what is left"


def judge_charges(chain: Chain, invoice: Invoice) -> None:
    """Its own notes, and the lines of others, are within the amount that the invoice charged."""
    name = ids.encode(ids.INVOICE, invoice.id)
    lines = chain.rows.of(InvoiceLine)
    charged = [one for one in lines if one.invoice_id == invoice.id and one.kind != PRORATION]
    drawn = [one for one in lines if one.credited_invoice_id == invoice.id]
    of_it = [
        one for one in chain.rows.of(CreditNote)
        if one.fact_key.endswith(f"/of/{name}")
        or (one.invoice_id == invoice.id and "/of/" not in one.fact_key)
    ]  # fmt: skip
    back = sum(one.amount_minor for one in of_it) - sum(one.total_minor for one in drawn)
    assert back <= sum(one.total_minor for one in charged), "more is credited than was charged"
    taxes, most = _taxes(of_it), _taxes(charged)
    taxes.subtract(_taxes(drawn))
    cents = len(of_it) + len(drawn)
    assert all(taxes[rate] <= most[rate] + cents for rate in taxes), "more tax than was charged"


def judge_notes(chain: Chain, notes: list[CreditNote]) -> None:
    """Each note has its rate's share."""
    rates = [Fraction(one) / 100 for one in chain.percents]
    for note in notes:
        taxes = _taxes([note])
        for number, rate in enumerate(rates):
            exact = note.amount_minor * rate / (1 + sum(rates))
            assert abs(taxes[f"XX-{number}"] - exact) <= 3, f"a note of {note.amount_minor}"


def seats_of(chain: Chain, *seats: int) -> None:
    for one in seats:
        chain.change("team", one, Fraction(2))


@pytest.mark.parametrize(
    ("seats", "taxes"),
    [
        ((8, 6), [471, 434, 1194]),
        ((8, 6, 4, 2), [471, 434, 398, 362, 326]),
    ],
)
def test_each_note_on_the_first_invoice_has_its_tax(
    seats: tuple[int, ...], taxes: list[int]
) -> None:
    chain = Chain(("19",), 10, inclusive=False)
    seats_of(chain, *seats)
    chain.end(Fraction(2))
    assert [one.tax_minor for one in chain.rows.of(CreditNote)] == taxes
    judge(chain)


@pytest.mark.parametrize("seats", [(), (8,), (8, 6), (8, 12), (8, 6, 4), (12, 6, 14, 3)])
def test_tax_charged_before_a_vat_id_is_proven_goes_back_whole(seats: tuple[int, ...]) -> None:
    chain = Chain(("20",), 10, inclusive=False)
    for one in seats:
        chain.change("team", one, Fraction(5))
    chain.prove()
    judge(chain)


def test_the_price_of_a_period_on_an_invoice_of_nothing_can_be_credited() -> None:
    chain = Chain(("19",), 10, inclusive=False)
    seats_of(chain, 8, 6)
    last = chain.rows.of(Invoice)[-1]
    assert last.total_minor == 0
    assert chain.credit(last, 2000)
    note = chain.rows.of(CreditNote)[-1]
    assert (note.amount_minor, note.tax_minor) == (2000, 319)


days = st.integers(1, 8 * 24).map(lambda hours: Fraction(hours, 24))
steps = st.lists(
    st.tuples(st.sampled_from(sorted(PLANS)), st.integers(1, 12), days), min_size=1, max_size=6
)


@settings(max_examples=examples(30))
@given(
    percents=st.sampled_from(TAXES),
    inclusive=st.booleans(),
    seats=st.integers(1, 12),
    steps=steps,
    proven_after=st.integers(0, 12),
    ends=st.none() | days,
)
def test_the_tax_that_is_kept_is_the_rates_share_of_what_is_kept(
    percents: tuple[str, ...],
    inclusive: bool,
    seats: int,
    steps: list[tuple[str, int, Fraction]],
    proven_after: int,
    ends: Fraction | None,
) -> None:
    chain = Chain(percents, seats, inclusive=inclusive)
    for number, step in enumerate(steps):
        chain.change(*step)
        if number == proven_after and not inclusive:
            chain.prove()
        judge(chain)
    if ends is not None:
        chain.end(ends)
        judge(chain)


@settings(max_examples=examples(20))
@given(percents=st.sampled_from(TAXES), seats=st.integers(1, 12), steps=steps, ends=days)
def test_a_customer_who_bears_no_tax_any_more_keeps_the_tax_of_the_time_before(
    percents: tuple[str, ...],
    seats: int,
    steps: list[tuple[str, int, Fraction]],
    ends: Fraction,
) -> None:
    """The next change is the first without tax; what was served before keeps its own."""
    chain = Chain(percents, seats, inclusive=False)
    chain.go_on(Fraction(1))
    chain.abroad = True
    # Another plan, so that the old one's time is credited whatever the steps are.
    chain.change("solo" if chain.plan != "solo" else "pro", seats, Fraction(0))
    for step in steps:
        chain.change(*step)
        judge(chain)
    chain.end(ends)
    judge(chain)


@settings(max_examples=examples(20))
@given(
    percents=st.sampled_from(TAXES),
    inclusive=st.booleans(),
    seats=st.integers(1, 12),
    steps=steps,
    sorry=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9000)), min_size=1, max_size=8),
)
def test_what_operators_credit_of_a_chain_has_its_tax(
    percents: tuple[str, ...],
    inclusive: bool,
    seats: int,
    steps: list[tuple[str, int, Fraction]],
    sorry: list[tuple[int, int]],
) -> None:
    chain = Chain(percents, seats, inclusive=inclusive)
    for step, (which, amount) in zip(steps, sorry, strict=False):
        chain.change(*step)
        written = chain.rows.of(Invoice)
        chain.credit(written[which % len(written)], amount)
        judge(chain)
    for which, amount in sorry:
        written = chain.rows.of(Invoice)
        chain.credit(written[which % len(written)], amount)
        judge(chain)
    give_all(chain)
    total, taxes = chain.kept
    assert total == 0, "all can be credited"
    assert all(abs(tax) <= chain.documents for tax in taxes.values())


def give_all(chain: Chain) -> None:
    """Credit all that is left of each invoice."""
    for invoice in chain.rows.of(Invoice):
        left = 0

        def see(w: Any, invoice: Invoice = invoice) -> None:
            nonlocal left
            left = corrections.left_of(w, invoice.id, to="balance")

        chain.do(see)
        if left:
            assert chain.credit(invoice, left)
            judge_bounds(chain)
