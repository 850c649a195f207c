"""A billing threshold may write many invoices in one period: what is foreseen of them takes a time
that grows with their number, not with its square.
"""

from unittest.mock import patch
from uuid import UUID

from billing.matters.effects import Row
from tests.unit.timeline.snapshots import START, open_invoice, payment, project, subscribed


def test_an_invoice_costs_as_much_among_many_as_among_few() -> None:
    few, many = _compared(50), _compared(200)
    assert many <= 5 * few


def _compared(number: int) -> int:
    """Return how often ids are compared to foresee a subscription with so many paid invoices."""
    rows = list[Row]()
    for one in range(number):
        invoice = UUID(int=1000 + one)
        paid = payment("succeeded", "card", 5000 + one, invoice_id=invoice, settled_at=START)
        rows += [*open_invoice(id=invoice, status="paid", fact_key=f"early-{one}"), paid]
    outlook, compared, same = subscribed(invoices=tuple(rows)), 0, UUID.__eq__

    def count(one: UUID, other: object) -> bool:
        nonlocal compared
        compared += 1
        return same(one, other)

    with patch.object(UUID, "__eq__", count):
        project(outlook, 10)
    return compared
