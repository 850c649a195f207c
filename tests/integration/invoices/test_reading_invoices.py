"""Invoices listed and read: fields, pages under both names, the words of the seeds."""

from tests.integration.actors import Actors, Customer
from tests.integration.dunning.dunning_setup import RENEWAL, overdue, owed

LIST = "/billing/invoices"


async def test_an_invoice_shows_what_was_billed_and_how_it_was_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    subscription = await customer.subscribed("pro")
    [shown] = (await customer.ask("GET", LIST, status=200))["data"]
    assert shown["user"] == customer.id
    assert shown["subscription"] == subscription["subscription_id"]
    assert shown["invoice_number"].startswith("TEST-")
    assert shown["invoice_number"] != shown["invoice_id"]
    assert (shown["status"], shown["legacy_status"]) == ("paid", "paid")
    assert (shown["subtotal"], shown["tax_amount"], shown["total"]) == (4900, 0, 4900)
    assert (shown["amount_due"], shown["amount_paid"], shown["amount_remaining"]) == (4900, 4900, 0)
    assert (shown["currency"], shown["issued_on"]) == ("USD", "2027-01-01")
    assert shown["paid_at"] == shown["created_at"] == "2027-01-01T10:00:00Z"
    assert shown["invoice_pdf_url"] == f"/api/v1{LIST}/{shown['invoice_id']}/pdf"
    assert shown["stripe_invoice_id"] is None

    detail = await customer.ask("GET", f"{LIST}/{shown['invoice_id']}", status=200)

    assert {name: detail[name] for name in shown} == shown
    [line] = detail["line_items"]
    assert (line["kind"], line["amount"], line["quantity"]) == ("plan", 4900, "1.00")
    assert line["description"] == "Pro, 1 Jan 2027 to 1 Feb 2027"
    [payment] = detail["payments"]
    assert (payment["status"], payment["amount_received"]) == ("succeeded", 4900)
    assert detail["credit_notes"] == []
    assert detail["dunning"] is None
    assert detail["next_action"] == {"type": "none"}


async def test_a_line_names_the_days_of_its_customer_s_zone(actors: Actors) -> None:
    """The day of issue is that of UTC: a series has one order of days."""
    customer = await actors.customer_on_clock("2027-01-31T23:30:00Z", zone="Asia/Kolkata")
    await customer.subscribed("pro")
    [shown] = (await customer.ask("GET", LIST, status=200))["data"]
    detail = await customer.ask("GET", f"{LIST}/{shown['invoice_id']}", status=200)
    [line] = detail["line_items"]
    assert line["description"] == "Pro, 1 Feb 2027 to 1 Mar 2027"
    assert shown["issued_on"] == "2027-01-31"


async def test_an_overdue_invoice_shows_where_its_recovery_stands(actors: Actors) -> None:
    customer = await overdue(actors)
    shown = await owed(customer)
    assert (shown["status"], shown["legacy_status"]) == ("open", "pending")
    assert shown["due_date"] == RENEWAL
    assert [one["status"] for one in shown["attempts"]] == ["declined"]
    standing = shown["dunning"]
    assert (standing["status"], standing["slots_used"]) == ("open", 1)
    assert (standing["next_step"], standing["next_at"]) == (
        "attempt 2 of 3", "2027-02-04T10:00:00Z",
    )  # fmt: skip
    assert "client_secret" not in str(shown), "nobody asked the payer to confirm anything"


async def test_a_list_has_both_names_and_counts_its_pages(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await customer.subscribed("basic")
    await customer.advance(days=130)  # five invoices
    first = await customer.ask("GET", f"{LIST}?page=1&limit=2", status=200)
    assert first["invoices"] == first["data"]
    pagination = first["pagination"]
    assert (pagination["page"], pagination["limit"]) == (1, 2)
    assert (pagination["total"], pagination["pages"]) == (5, 3)
    dates = [one["created_at"] for one in first["data"]]
    assert dates == sorted(dates, reverse=True), "newest first"
    last = await customer.ask("GET", f"{LIST}?page=3&limit=2", status=200)
    assert len(last["invoices"]) == 1
    by_cursor = await customer.ask("GET", f"{LIST}?limit=2&cursor={pagination['next_cursor']}")
    assert by_cursor["data"] == (await customer.ask("GET", f"{LIST}?page=2&limit=2"))["data"]
    assert (await customer.ask("GET", LIST))["pagination"]["limit"] == 20
    for limit in (0, 101):
        await customer.refused("VALIDATION_FAILED", "GET", f"{LIST}?limit={limit}")


async def test_pending_is_another_word_for_open(actors: Actors) -> None:
    customer = await overdue(actors)
    opened = await customer.ask("GET", f"{LIST}?status=open")
    assert opened == await customer.ask("GET", f"{LIST}?status=pending")
    assert [one["status"] for one in opened["data"]] == ["open"]
    assert [o["status"] for o in (await customer.ask("GET", f"{LIST}?status=paid"))["data"]] == [
        "paid"
    ]
    await customer.refused("VALIDATION_FAILED", "GET", f"{LIST}?status=lost")


async def test_older_spellings_reach_the_same_routes(customer: Customer) -> None:
    await customer.bought()
    listed = await customer.ask("GET", f"{LIST}/", status=200)
    assert listed == await customer.ask("GET", LIST, status=200)
    [shown] = listed["data"]
    detail = await customer.ask("GET", f"{LIST}/{shown['invoice_id']}/", status=200)
    assert detail["invoice_id"] == shown["invoice_id"]
    unversioned = await customer.actors.client.get(
        "/api/billing/invoices", headers=customer.actors.headers(customer.id, "member")
    )
    assert unversioned.json() == listed
    begun = await customer.ask(
        "POST", "/billing/subscribe", {"plan": "basic", "trial": False}, status=201
    )
    canceled = await customer.ask("POST", "/billing/cancel", {"at": "now"}, status=200)
    assert canceled["subscription_id"] == begun["subscription_id"]
    assert canceled["status"] == "canceled"


async def test_an_unknown_invoice_is_not_found(customer: Customer) -> None:
    for name in ("inv_00000000000000000000000000", "nonsense"):
        await customer.refused("INVOICE_NOT_FOUND", "GET", f"{LIST}/{name}")
