"""Notes on an invoice stay within its total: more goes back of those whose money paid it."""

from typing import Any

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import PATH, begun, change
from tests.integration.dunning.dunning_setup import owed
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books
from tests.integration.payments.manual_payments import decide, submit

UP = "2027-01-08T10:00:00Z"
END = "2027-01-15T10:00:00Z"
NOW = {"at": "now", "refund": "credit"}


async def changed(actors: Actors) -> Customer:
    """Basic for a week, then the rest of the month of pro, paid in part by what basic left."""
    customer = await begun(actors)
    await customer.advance(to=UP)
    await change(customer, plan="pro")
    return customer


async def noted(customer: Customer) -> list[tuple[int, int]]:
    """The total of each invoice, and what its notes come to."""
    found = []
    for one in await customer.invoices():
        notes: Any = await customer.rows(
            "SELECT coalesce(sum(amount_minor), 0)::int AS n FROM credit_notes"
            " WHERE invoice_id = %(id)s", id=one["id"],
        )  # fmt: skip
        found.append((one["total_minor"], notes[0]["n"]))
    return found


async def test_an_end_gives_back_more_than_a_change_cost_by_notes_on_both(
    actors: Actors,
) -> None:
    customer = await changed(actors)
    # 24 of 31 days: 3794 of pro less 1471 of basic.
    assert await noted(customer) == [(1900, 0), (2323, 0)]
    await customer.advance(to=END)

    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)

    # 17 of 31 days of pro are 2687.
    assert await noted(customer) == [(1900, 2687 - 2323), (2323, 2323)]
    assert await money(customer) == 2687
    await check_books(customer)


async def test_an_operator_gives_back_all_by_notes_within_each_total(actors: Actors) -> None:
    customer = await changed(actors)
    [first, second] = (await customer.ask("GET", "/billing/invoices"))["data"][::-1]
    for invoice, amount in ((second, 3000), (second, 794), (first, 1900 - 1471)):
        body = {"amount_cents": amount, "reason": "sorry", "to": "balance"}
        await commanded(customer, invoice, "credit-note", body)
    assert await noted(customer) == [(1900, 1900), (2323, 2323)]
    assert await money(customer) == 1900 + 2323
    for invoice in (first, second):
        body = {"amount_cents": 1, "reason": "sorry", "to": "balance"}
        refused = await commanded(customer, invoice, "credit-note", body, status=409)
        assert (refused["code"], refused["left_cents"]) == ("CREDIT_NOTE_TOO_LARGE", 0)
    await check_books(customer)


async def test_notes_on_what_an_ended_subscription_owes_go_on_to_what_paid_it(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer(days_until_due=30)
    await decide(customer, await submit(customer, asked["latest_invoice_id"]), "approve")
    await customer.until_subscription("active")
    await change(customer, plan="pro")
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    # Half of pro was not served. The other half, 24.50, is left: 19.00 of it paid by basic.
    assert await noted(customer) == [(1900, 0), (3000, 2450)]
    debt = await owed(customer)
    assert debt["amount_remaining"] == 550
    [_, invoice] = await customer.invoices()
    assert invoice["workflow_id"].startswith("collection/")

    body = {"amount_cents": 2450, "reason": "it never worked"}
    await commanded(customer, debt, "credit-note", body)

    assert await noted(customer) == [(1900, 1900), (3000, 3000)]
    assert await money(customer) == 1900
    await check_books(customer)
