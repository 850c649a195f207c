"""VAT ids: written as anybody writes them, proven by their register, and what that changes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.changes.chosen_plans import change
from tests.integration.dunning.dunning_setup import owed
from tests.integration.invoices.operator_commands import commanded
from tests.integration.invoices.test_documents import fetched, text_of
from tests.integration.money_seen import newest_invoice
from tests.integration.payments.manual_payments import decide, submit
from tests.integration.reversals.outside_events import disputed
from tests.integration.reversals.refunds_made import paid_for, refunded
from tests.integration.taxes.sellers import sold_from
from tests.integration.taxes.taxed_addresses import CLOCK, collect, moved_to

Json = dict[str, Any]
KNOWN = "ATU13585627"
OTHER = "ATU37675002"


@pytest.fixture
async def register(actors: Actors) -> AsyncIterator[None]:
    """A seller in Germany that collects the tax of Austria, whose register knows one business."""
    await collect(actors, "AT", "USt", rates={"standard": "20", "reduced": "10"})
    await actors.sandbox.vat_register({KNOWN: "Wiener Werkstatt"})
    yield
    await actors.sandbox.vat_register(away=False)


async def of_german_seller(actors: Actors) -> Customer:
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer)
    await sold_from(customer, "DE")
    return customer


async def test_a_proven_business_accounts_for_the_tax_itself(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    shown = await customer.ask("PUT", "/billing/tax", {"vat_id": "atu 13585627"}, status=200)
    assert (shown["vat_id"], shown["vat_status"]) == (KNOWN, "valid")
    assert shown["vat_name"] == "Wiener Werkstatt"
    assert [one["reason"] for one in shown["rates"]] == ["reverse_charge"]
    await customer.bought("small")
    bought = await newest_invoice(customer)
    assert (bought["tax_amount"], bought["total"]) == (0, 999)
    [tax] = bought["line_items"][0]["taxes"]
    assert (tax["jurisdiction"], tax["reason"]) == ("AT", "reverse_charge")
    [shown] = await customer.rows(
        "SELECT content #>> '{customer,tax_ids,0}' AS vat FROM invoice_snapshots"
        " WHERE account_id = %(me)s"
    )
    assert shown["vat"] == f"VAT {KNOWN}"
    paper, _ = await fetched(customer, f"/billing/invoices/{bought['invoice_id']}/pdf")
    assert "Reverse charge: the customer accounts for this tax" in text_of(paper)
    assert f"VAT {KNOWN}" in text_of(paper)

    # Its id is of Austria: elsewhere it proves nothing.
    await moved_to(customer, country="CH")
    assert (await customer.ask("GET", "/billing/tax"))["vat_status"] == "valid"
    await collect(actors, "CH", "MWST", rates={"standard": "8.1"})
    assert [one["reason"] for one in (await customer.ask("GET", "/billing/tax"))["rates"]] == [None]
    shown = await customer.ask("PUT", "/billing/tax", {"vat_id": None}, status=200)
    assert (shown["vat_id"], shown["vat_status"]) == (None, None)


@pytest.mark.parametrize("later", [None, OTHER])
async def test_a_draft_without_tax_is_numbered_with_the_id_that_freed_it(
    actors: Actors, register: None, later: str | None
) -> None:
    customer = await of_german_seller(actors)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    drafted = await customer.buy("small", "manual")
    await customer.ask("PUT", "/billing/tax", {"vat_id": later}, status=200)
    await decide(customer, await submit(customer, drafted["invoice_id"]), "approve")
    paper, _ = await fetched(customer, f"/billing/invoices/{drafted['invoice_id']}/pdf")
    assert "Reverse charge: the customer accounts for this tax" in text_of(paper)
    assert f"VAT {KNOWN}" in text_of(paper)


async def test_in_the_sellers_own_country_the_tax_is_asked(actors: Actors, register: None) -> None:
    await collect(actors, "DE", "USt", rates={"standard": "19"})
    await actors.sandbox.vat_register({"DE136695976": "Muster GmbH"})
    customer = await of_german_seller(actors)
    await moved_to(customer, country="DE")
    shown = await customer.ask("PUT", "/billing/tax", {"vat_id": "DE 136 695 976"}, status=200)
    assert shown["vat_status"] == "valid"
    assert [one["rate"] for one in shown["rates"]] == ["19.00"]


async def test_tax_that_a_seller_of_the_same_country_charged_stays_charged(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    await sold_from(customer, "AT")
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.bought("small")
    assert (await newest_invoice(customer))["tax_amount"] == 200
    await sold_from(customer, "DE")
    await refunded(customer, await paid_for(customer), 600)
    await customer.advance(days=1)
    assert (await customer.ask("GET", "/billing/tax"))["rates"][0]["reason"] == "reverse_charge"
    assert await back(customer) == [(600, 100)]


async def test_a_number_that_the_register_does_not_know_frees_nobody(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    shown = await customer.ask("PUT", "/billing/tax", {"vat_id": OTHER}, status=200)
    assert (shown["vat_status"], shown["rates"][0]["rate"]) == ("unknown", "20.00")
    for wrong in ("ATU13585628", "DE12", "hello world", "GB980780684"):
        await customer.refused("INVALID_TAX_ID", "PUT", "/billing/tax", {"vat_id": wrong})
    assert (await customer.ask("GET", "/billing/tax"))["vat_id"] == OTHER
    # All at one frozen instant.
    for known in (KNOWN, None, KNOWN):
        shown = await customer.ask("PUT", "/billing/tax", {"vat_id": known}, status=200)
        assert shown["vat_status"] == (known and "valid")
    told = [one for one in await customer.published() if one.startswith("evt.billing.tax_id.")]
    assert told == [
        "evt.billing.tax_id.given", "evt.billing.tax_id.refused",
        "evt.billing.tax_id.given", "evt.billing.tax_id.proven",
        "evt.billing.tax_id.removed",
        "evt.billing.tax_id.given", "evt.billing.tax_id.proven",
    ]  # fmt: skip


async def test_a_register_that_is_away_is_asked_again(actors: Actors, register: None) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    shown = await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    assert (shown["vat_status"], shown["rates"][0]["rate"]) == ("pending", "20.00")
    await customer.bought("small")
    assert (await newest_invoice(customer))["tax_amount"] == 200
    drafted = await customer.buy("small")
    await actors.sandbox.vat_register(away=False)
    await customer.advance(to="2027-01-01T12:00:00Z")
    shown = await customer.ask("GET", "/billing/tax")
    assert (shown["vat_status"], shown["rates"][0]["reason"]) == ("valid", "reverse_charge")
    assert await back(customer) == [(200, 200)]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 200
    await customer.pay(drafted)
    await customer.until_purchase(drafted["purchase_id"], "completed")
    await customer.advance(days=1)
    corrected = await newest_invoice(customer)
    assert (corrected["tax_amount"], await back(customer)) == (200, [(200, 200)] * 2)
    assert [one["amount"] for one in corrected["credit_notes"]] == [200]
    actions = await actors.operate(
        "GET", f"/admin/accounts/{customer.id}/audit?action=tax_id.proven"
    )
    assert actions["data"][0]["detail"]["proof"].startswith("WAPI")


async def test_tax_goes_back_once_when_the_id_is_proven_late(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.subscribed("pro")
    charged = await newest_invoice(customer)
    assert (charged["subtotal"], charged["tax_amount"]) == (4900, 980)
    await customer.advance(days=1)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await actors.sandbox.vat_register(away=False)
    await customer.advance(days=9)
    assert await back(customer) == [(980, 980)], "given again meanwhile, it was given at first"
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 980
    ends = {"at": "now", "refund": "credit"}
    await customer.ask("POST", "/billing/subscription/cancel", ends, status=200)
    assert await back(customer) == [(980, 980), (3319, 0)]
    assert (await customer.ask("GET", "/billing/balance"))["balance_cents"] == 980 + 3319
    [_, note] = (await customer.ask("GET", "/billing/credit-notes"))["data"][::-1]
    assert [(one["reason"], one["amount"]) for one in note["taxes"]] == [("reverse_charge", 0)]


async def test_a_note_on_what_an_ended_subscription_owes_names_why_it_has_no_tax(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.subscribed("pro")
    await customer.advance(days=1)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-15T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    debt = await owed(customer)
    assert [one["workflow_id"].partition("/")[0] for one in await customer.invoices()] == [
        "subscription", "collection",
    ]  # fmt: skip
    await actors.sandbox.vat_register(away=False)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.advance(days=1)
    assert await back(customer) == [(4200, 700), (280, 280)]
    assert await reasons(customer, debt, 500) == [("reverse_charge", 0)]


async def test_a_note_names_why_its_invoice_has_no_tax_and_not_why_others_have_none_by_now(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    await customer.bought("small")
    taxed = await newest_invoice(customer)
    await customer.advance(days=1)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.bought("small")
    untaxed = await newest_invoice(customer)
    await actors.sandbox.vat_register(away=False)
    await customer.advance(days=1)
    assert await back(customer) == [(200, 200)]
    assert await reasons(customer, taxed, 2) == [], "a cent of two has no tax at 20 %"

    await customer.ask("PUT", "/billing/tax", {"vat_id": None}, status=200)
    assert await reasons(customer, untaxed, 500) == [("reverse_charge", 0)]

    await actors.operate(
        "PUT", f"/admin/accounts/{customer.id}/tax-exemption", {"because": "a charity"}
    )
    assert await reasons(customer, untaxed, 400) == [("reverse_charge", 0)]


async def reasons(customer: Customer, invoice: Json, cents: int) -> list[tuple[str, int]]:
    """Reason and amount of each tax of a new credit note."""
    await commanded(customer, invoice, "credit-note", {"amount_cents": cents, "reason": "late"})
    note = (await customer.ask("GET", "/billing/credit-notes"))["data"][0]
    return [(one["reason"], one["amount"]) for one in note["taxes"]]


@pytest.mark.parametrize(
    ("later", "charged"), [(KNOWN, (0, "reverse_charge")), (None, (6761, None))]
)
async def test_what_a_change_credits_of_untaxed_time_is_summed_up_with_the_rest(
    actors: Actors, register: None, *, later: str | None, charged: tuple[int, str | None]
) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.subscribed("pro")
    await actors.sandbox.vat_register(away=False)
    await customer.advance(days=10)
    assert await back(customer) == [(980, 980)]
    await customer.ask("PUT", "/billing/tax", {"vat_id": later}, status=200)
    await change(customer, plan="enterprise")
    invoice = await newest_invoice(customer)
    assert [one["amount"] < 0 for one in invoice["line_items"]] == [True, False]
    shown = [
        [(one["amount"], one["reason"]) for one in line["taxes"]] for line in invoice["line_items"]
    ]
    assert shown == [[(0, "reverse_charge")], [charged]]


async def test_tax_of_a_disputed_invoice_goes_back_once_the_dispute_is_won(
    actors: Actors, register: None
) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.bought("small")
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    await actors.sandbox.vat_register(away=False)
    await customer.advance(days=1)
    assert (await customer.ask("GET", "/billing/tax"))["vat_status"] == "valid"
    assert await back(customer) == [], "all of it may be lost"
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    notes = await wait_for(lambda: back(customer), "the tax is given back")
    assert notes == [(200, 200)]


@pytest.mark.parametrize(("is_paid", "tax"), [(False, 980), (True, 9980)])
async def test_tax_that_a_waiting_change_holds_goes_back_once_that_is_decided(
    actors: Actors, register: None, *, is_paid: bool, tax: int
) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.subscribed("pro")
    await customer.script("authentication_required", then="normal")
    waiting = await change(customer, plan="enterprise")
    await actors.sandbox.vat_register(away=False)
    await customer.advance(to="2027-01-01T12:00:00Z")
    assert (await customer.ask("GET", "/billing/tax"))["vat_status"] == "valid"
    assert await back(customer) == []
    if is_paid:
        await customer.pay(waiting)
    await customer.advance(days=2)
    notes = await wait_for(lambda: back(customer), "the tax is given back")
    assert sum(cents for _, cents in notes) == tax


async def test_tax_goes_back_whole_along_a_chain_of_changes(actors: Actors, register: None) -> None:
    customer = await of_german_seller(actors)
    await actors.sandbox.vat_register(away=True)
    await customer.ask("PUT", "/billing/tax", {"vat_id": KNOWN}, status=200)
    await customer.subscribed("pro")
    for plan in ("basic", "pro", "basic"):
        await change(customer, plan=plan, at="now")
    await actors.sandbox.vat_register(away=False)
    await customer.advance(to="2027-01-01T12:00:00Z")
    assert (await customer.ask("GET", "/billing/tax"))["vat_status"] == "valid"
    assert await kept(customer) == (1900, 0), "the price of basic, without tax"


async def test_each_note_of_a_chain_of_changes_has_its_tax(actors: Actors, register: None) -> None:
    customer = await of_german_seller(actors)
    await customer.subscribed("basic")
    for day, plan in ((3, "pro"), (5, "basic")):
        await customer.advance(to=f"2027-01-{day:02}T10:00:00Z")
        await change(customer, plan=plan, at="now")
    await customer.advance(to="2027-01-07T10:00:00Z")
    ends = {"at": "now", "refund": "refund"}
    await customer.ask("POST", "/billing/subscription/cancel", ends, status=200)
    # Two days of basic, of pro and of basic again are 562 of 31, and 112 of tax.
    total, tax = await kept(customer)
    assert abs(total - 674) <= 3
    assert abs(tax - 112) <= 3
    for amount, cents in await back(customer):
        assert abs(cents * 6 - amount) <= 6, "a sixth is tax"


async def kept(customer: Customer) -> tuple[int, int]:
    """The sum of the invoices less that of their notes, and the tax in it."""
    [charged] = await customer.rows(
        "SELECT sum(total_minor)::int AS total, sum(tax_minor)::int AS tax"
        " FROM invoices WHERE account_id = %(me)s AND number IS NOT NULL"
    )
    gone = await back(customer)
    total, tax = charged["total"], charged["tax"]
    return total - sum(one for one, _ in gone), tax - sum(one for _, one in gone)


async def back(customer: Customer) -> list[tuple[int, int]]:
    """Amount and tax of each credit note."""
    rows = await customer.rows(
        "SELECT amount_minor, tax_minor FROM credit_notes WHERE account_id = %(me)s ORDER BY id"
    )
    return [(one["amount_minor"], one["tax_minor"]) for one in rows]
