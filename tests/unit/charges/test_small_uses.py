"""A use that is small for a card: charged, or carried to the next invoice; never left open."""

from decimal import Decimal
from random import Random
from typing import Final

import pytest

from billing.catalog.taxes.schemas import Jurisdiction, Taxation
from billing.matters.effects import Work
from billing.money.card_usage import transitions
from billing.money.card_usage.transitions import ChargeFacts
from billing.money.invoices.schemas import Invoice, Line
from billing.money.payments import transitions as payments
from billing.money.payments.schemas import Payment
from tests.unit.lives.charges import Charge
from tests.unit.lives.told import Told

TAXED: Final = Taxation(
    country="AT",
    jurisdictions=(Jurisdiction(key="AT", name="USt", rates={"standard": Decimal(20)}),),
)


class Untouched(Charge):
    """A use that nothing was begun for."""

    def begin(self) -> None: ...


def begun(amount: int, *, balance: int = 0) -> Work[ChargeFacts]:
    """So much use, of a customer who has that balance and pays 20 % tax."""
    life = Untouched(Random(0), Told([]))
    facts = life.facts(life.rows)
    facts.balance_minor, facts.taxation = balance, TAXED
    w, card = Work(life.rows, facts), payments.default_card(life.rows)
    assert card is not None
    line = Line(
        kind="single_use", description="use", unit_amount=Decimal(amount), amount_minor=amount
    )
    transitions.begin(w, line, currency="USD", issuer_id=None, method_id=card.id)
    return w


@pytest.mark.parametrize(
    ("amount", "balance", "asked"),
    [
        (45, 0, 54),
        (45, 10, None),
        (40, 0, None),
        (40, -2, 50),
        (40, -1, None),
        (40, -99_999_999, None),
    ],
)
def test_its_sum_with_tax_decides_whether_a_card_is_asked(
    amount: int, balance: int, asked: int | None
) -> None:
    w = begun(amount, balance=balance)
    (invoice,) = w.rows.of(Invoice)
    tries = [one.amount_minor for one in w.rows.of(Payment)]
    if asked is None:
        assert (invoice.status, invoice.settlement, tries) == ("paid", "carried", [])
        assert transitions.use_of(w.rows).billing_status == "completed"
    else:
        assert (invoice.status, tries) == ("draft", [asked])
