"""A renewal that also charged a debt is disputed and refunded, in any order, while later renewals
charge what is owed and use what is here: in the end the customer has paid for what was served.
"""

from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money.disputes.schemas import Dispute
from billing.money.invoices.schemas import BalanceEntry, CreditNote, Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from tests.searching import examples
from tests.unit.reversals.story import AT, INVOICE, ME, PAYMENT, Story, act

PRICE, DEBT, LATER = 300, 200, 150
"""Goods of the renewal and of each later one, and what was served before."""
AMOUNTS: Final = st.integers(1, PRICE + DEBT + 100)
ACTS: Final = st.one_of(
    st.tuples(st.just("renew")),
    st.tuples(st.just("dispute"), st.one_of(st.none(), AMOUNTS)),
    st.tuples(st.just("decide"), st.sampled_from(("won", "lost"))),
    st.tuples(st.just("dashboard"), AMOUNTS),
    st.tuples(
        st.just("ask"), AMOUNTS, st.sampled_from(("provider", "provider", "balance")),
        st.sampled_from(("succeeded", "processing", "failed")),
    ),
    st.tuples(st.just("settle"), st.sampled_from(("succeeded", "failed"))),
    st.tuples(st.just("tell")),
    st.tuples(st.just("hear")),
)  # fmt: skip


class Customer(Story):
    """A customer who has paid a price with a debt, and maybe more, and goes on."""

    def __init__(self, overpaid: int) -> None:
        super().__init__(PRICE, overpaid)
        self.paid += DEBT
        self.cash, self.sold = self.paid, DEBT + PRICE
        w, due = self.work(), PRICE + DEBT
        billed = {"amount_due_minor": due, "amount_paid_minor": due}
        w.change(self.rows.get(Invoice, INVOICE), balance_applied_minor=-DEBT, **billed)
        w.change(self.rows.get(Payment, PAYMENT), amount_minor=due, received_minor=self.paid)

    def renew(self) -> None:
        """Sell another period, charged with what is owed, less what is here."""
        used = min(LATER, self.balance)
        self.sold, self.cash = self.sold + LATER, self.cash + LATER - used
        if used:
            entry_id = UUID(int=next(self.numbers))
            self.work().add(
                BalanceEntry(
                    id=entry_id, account_id=ME, key=str(entry_id), kind="applied",
                    amount_minor=-used, currency="EUR", at=AT,
                )
            )  # fmt: skip

    def dispute(self, part: int | None) -> None:
        """Have a bank take a part, or all, even of what was refunded; another one takes no more
        than is left.
        """
        is_first = all(one.status == "won" for one in self.disputes.values())
        left = self.paid if is_first else self.room
        if amount := min(part or left, left):
            act(self, ("dispute", "needs_response", amount))

    def end(self) -> None:
        """Have all banks decide."""
        while self.asked:
            self.tell()
        for name, one in self.made.items():
            if one.status == "processing":
                self.made[name] = one.model_copy(update={"status": "succeeded"})
        for name, told in self.disputes.items():
            if told.status == "needs_response":
                self.disputes[name] = told.model_copy(update={"status": "won"})
        self.hear()


@pytest.mark.parametrize("part", [1, 100, 200])
def test_a_debt_is_owed_in_full_once_the_room_of_a_refund_that_fails_is_free(part: int) -> None:
    """Of what a dashboard refund owed meanwhile, the bank's loss was not covered."""
    customer = Customer(0)
    act(customer, ("dashboard", part))
    act(customer, ("ask", PRICE, "provider", "succeeded"))
    customer.dispute(None)
    customer.hear()
    act(customer, ("decide", "lost"))
    customer.end()
    [dispute] = customer.rows.of(Dispute)
    assert (dispute.balance_minor, dispute.loss_minor) == (DEBT, part), "it went back twice"
    assert customer.balance == -DEBT
    assert sum(one.amount_minor for one in customer.rows.of(CreditNote)) == PRICE


@pytest.mark.parametrize("second", [1, 50, 100])
def test_what_two_refunds_leave_of_a_loss_that_a_bank_returns_is_owed_no_more(second: int) -> None:
    """Both find room by the failed refund, and each leaves its debt to the dispute."""
    customer = Customer(0)
    for part in (50, second):
        act(customer, ("dashboard", part))
    act(customer, ("ask", PRICE, "provider", "succeeded"))
    customer.dispute(None)
    customer.hear()
    customer.end()
    [dispute] = customer.rows.of(Dispute)
    assert (dispute.state, dispute.loss_minor, customer.balance) == ("won", 0, 0)


@settings(max_examples=examples(300))
@given(st.sampled_from((0, 0, 100)), st.lists(ACTS, max_size=12))
def test_who_has_paid_a_debt_with_a_price_pays_for_what_was_served_once(
    overpaid: int, acts: list[tuple[Any, ...]]
) -> None:
    customer = Customer(overpaid)
    for what in acts:
        if what[0] in ("renew", "dispute"):
            getattr(customer, what[0])(*what[1:])
        else:
            act(customer, what)
    customer.end()
    refunds = [one for one in customer.rows.of(Refund) if one.booked_at]
    gone = [one for one in refunds if one.takes_room and one.way != "balance"]
    back = sum(one.amount_minor for one in gone)
    disputes = [one for one in customer.rows.of(Dispute) if one.booked_at]
    lost = sum(one.amount_minor for one in disputes if one.state == "lost")
    ours = sum(one.loss_minor for one in disputes)
    noted = sum(one.amount_minor for one in customer.rows.of(CreditNote))
    assert customer.cash - back - lost + ours == customer.sold - noted + customer.balance
    if len(disputes) < len(customer.disputes):
        return  # what one bank gave back may be what another one took
    if not refunds:
        assert max(0, lost - DEBT - overpaid) <= noted + ours, "the debt is owed again once"
        taken = sum(one.amount_minor for one in disputes)
        assert noted <= max(0, taken - DEBT), "banks take the debt first"
    if not overpaid and len(gone) == len(refunds):
        assert ours <= max(0, back + lost - customer.paid), "they took what was here"
