"""Several open invoices are paid at once, named by their ids."""

from tests.integration.actors import Actors
from tests.integration.dunning.dunning_setup import overdue
from tests.integration.dunning.test_pay_overdue import PAY_OVERDUE

CONFIRM = "/v1/payment_intents/*/confirm"
OPEN = "/billing/invoices?status=pending"


async def test_several_invoices_are_paid_at_once_though_one_in_the_middle_is_declined(
    actors: Actors,
) -> None:
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-04-01T12:00:00Z")
    debts = [one["invoice_id"] for one in (await customer.ask("GET", OPEN))["invoices"]][::-1]
    assert len(debts) == 3
    named = {"invoice_ids": debts[1:]}
    foreseen = await customer.ask("POST", PAY_OVERDUE, named | {"dry_run": True}, status=200)
    assert [one["invoice_id"] for one in foreseen["invoices"]] == debts[1:]
    assert (foreseen["charged_cents"], foreseen["subscription"]["status"]) == (9800, "past_due")
    await customer.script("succeed", "insufficient_funds", "succeed")

    body = {"invoice_ids": debts}
    declined = await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, body, key="three")

    told = ("charged_cents", "paid_invoices", "unpaid_invoices", "subscription_status")
    assert [declined[name] for name in told] == [9800, [debts[0], debts[2]], debts[1:2], "past_due"]
    problem = await customer.refused("CARD_DECLINED", "POST", PAY_OVERDUE, body, key="three")
    assert problem == declined
    await customer.refused("INVOICE_ALREADY_PAID", "POST", PAY_OVERDUE, body, key="again")
    stranger = {"invoice_ids": [debts[1], f"inv_{'0' * 26}"]}
    await customer.refused("INVOICE_NOT_FOUND", "POST", PAY_OVERDUE, stranger, key="strange")
    last = {"invoice_ids": debts[1:2]}
    paid = await customer.ask("POST", PAY_OVERDUE, last, key="last", status=200)
    assert (paid["charged_cents"], paid["subscription"]["status"]) == (4900, "active")
    assert [one["amount"] for one in await customer.effects()] == [4900] * 4


async def test_what_the_provider_was_away_for_is_paid_by_the_same_request_later(
    actors: Actors,
) -> None:
    """The repeat forgot that it had charged, and could only be answered that an invoice is paid."""
    customer = await overdue(actors, policy={"days": [0, 80]})
    await customer.advance(to="2027-03-02T12:00:00Z")
    debts = [one["invoice_id"] for one in (await customer.ask("GET", OPEN))["invoices"]][::-1]
    assert len(debts) == 2
    await customer.script("succeed", then="last")
    mine = {"account": customer.id}
    fault = await actors.sandbox.fault(
        "error_500_unstored", method="POST", path=CONFIRM, metadata=mine, nth=2, times=None
    )
    body = {"invoice_ids": debts}

    refused = await customer.refused("PLATFORM_ERROR", "POST", PAY_OVERDUE, body, key="two")

    assert (refused["charged_cents"], refused["unpaid_invoices"]) == (4900, debts[1:])
    again = await customer.refused("PLATFORM_ERROR", "POST", PAY_OVERDUE, body, key="two")
    assert (again["charged_cents"], again["paid_invoices"]) == (4900, debts[:1])
    await actors.sandbox.clear("faults", fault)
    paid = await customer.ask("POST", PAY_OVERDUE, body, key="two", status=200)
    assert (paid["charged_cents"], paid["subscription"]["status"]) == (9800, "active")
    assert [one["amount"] for one in await customer.effects()] == [4900] * 3
