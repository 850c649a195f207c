"""An order from Temporal's page that names no unpaid invoice is told which there are."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from billing.money.collecting.rules import Collecting
from billing.money.subscriptions.rules import SubscriptionState
from workflows.contracts import DunningCommand
from workflows.subscription import SubscriptionWorkflow

AT: Final = datetime(2027, 1, 1, tzinfo=UTC)
WHY: Final = "our fault"


def invoice(name: str, **more: Any) -> Collecting:
    return Collecting(invoice=name, day_zero_at=AT, **more)


def subscription(*invoices: Collecting) -> SubscriptionWorkflow:
    """The run of a subscription that collects these."""
    run = SubscriptionWorkflow.__new__(SubscriptionWorkflow)
    run.state = SubscriptionState(
        status="past_due", subscription="sub_1", current_period_end=AT, cycle_end=AT,
        invoices=invoices,
    )  # fmt: skip
    return run


def refusal(*invoices: Collecting, named: str | None = None) -> str:
    """The refusal of an order to forgive an invoice of the subscription."""
    with pytest.raises(ValueError, match="invoice") as refused:
        subscription(*invoices)._may_forgive(DunningCommand(reason=WHY, invoice=named))
    return str(refused.value)


DRAFT: Final = invoice("inv_draft", pay_first=True)
CLOSED: Final = invoice("inv_closed", closed=True)
OWED: Final = invoice("inv_1"), invoice("inv_2")


@pytest.mark.parametrize("named", [None, "inv_draft"])
def test_where_none_is_unpaid_none_is_named(named: str | None) -> None:
    """It was told to name the draft, and, once it did, told so again."""
    assert refusal(DRAFT, CLOSED, named=named) == "no invoice is unpaid"


@pytest.mark.parametrize("named", [None, "inv_draft", "inv_3"])
def test_only_those_that_are_taken_are_named(named: str | None) -> None:
    told = refusal(*OWED, DRAFT, CLOSED, named=named)
    assert told == "name one unpaid invoice in `invoice`: inv_1, inv_2"


@pytest.mark.parametrize("named", [None, "inv_1"])
def test_the_only_unpaid_one_needs_no_name(named: str | None) -> None:
    subscription(OWED[0], DRAFT)._may_forgive(DunningCommand(reason=WHY, invoice=named))
