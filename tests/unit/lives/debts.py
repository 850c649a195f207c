"""Debts that have outlived their subscription, lived on by the rules of collections."""

from uuid import UUID

from billing.matters.effects import Rows
from billing.money.dunning import cases
from billing.money.dunning.schemas import DunningCase
from billing.money.payments import transitions as payments
from tests.unit.lives.collections import LONG, Life


class Debt(Life):
    """An invoice that has outlived its subscription, collected as its own rules say."""

    def __init__(self, of: Life, invoice_id: UUID) -> None:
        self.dice, self.bank, self.now, self.ids = of.dice, of.bank, of.now, of.ids
        self.finished, self.heard, self.rows, self.invoice_id = set(), of.heard, of.rows, invoice_id
        self.put_off = of.put_off

    def pursue(self) -> Rows:
        """To its end; an operator lets go on what was paused or held."""
        paused = (one for one in self.rows.of(DunningCase) if one.status == "paused")
        if any(one.invoice_id == self.invoice_id for one in paused):
            cases.resume(self.work(), invoice_id=self.invoice_id)
        for _ in range(LONG):
            if self.invoice.collection == "held":
                self.ask()
            step = self.next_step()
            if step is None:
                held = (
                    self.invoice.collection == "held" and payments.default_card(self.rows) is None
                )
                assert held or self.invoice.status in ("paid", "uncollectible"), (
                    "a debt is forgotten"
                )
                break
            self.do(step)
        return self.rows
