"""Documents of invoices: as they were when the number was given, the same bytes for ever."""

import asyncio

import pypdfium2

from tests.integration.actors import Actors, Customer, wait_for

LIST = "/billing/invoices"


async def fetched(customer: Customer, path: str, **headers: str) -> tuple[bytes, str]:
    """A document and its ETag."""
    answer = await customer.actors.client.get(
        f"/api/v1{path}", headers=customer.actors.headers(customer.id, "member") | headers
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "private, no-cache"
    return answer.content, answer.headers["etag"]


async def receipt_of(customer: Customer, invoice_id: str) -> str:
    """The words of an invoice's receipt."""
    pdf, _ = await fetched(customer, f"{LIST}/{invoice_id}/receipt")
    return text_of(pdf)


def text_of(pdf: bytes) -> str:
    """The text of all pages."""
    pages = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_range() for page in pages)


async def test_an_invoice_and_its_receipt_are_downloaded(actors: Actors) -> None:
    customer = await actors.customer_on_clock(
        "2027-01-01T10:00:00Z", name='Tōkyō 株式会社 شركة \u202e#read("/etc/passwd") 🎉'
    )
    await customer.ask(
        "POST",
        "/billing/addresses",
        {"line1": "Laugavegur 1", "city": "Reykjavík", "postal_code": "101", "country": "IS"},
    )
    await customer.subscribed("pro")
    [shown] = (await customer.ask("GET", LIST, status=200))["data"]
    invoice = f"{LIST}/{shown['invoice_id']}"
    assert shown["invoice_pdf_url"] == f"/api/v1{invoice}/pdf"
    assert shown["receipt_pdf_url"] == f"/api/v1{invoice}/receipt"

    bytes_, etag = await fetched(customer, f"{invoice}/pdf")
    text = text_of(bytes_)
    for words in (
        shown["invoice_number"], "Pro, 1 Jan 2027 to 1 Feb 2027", "Tōkyō 株式会社", "#read",
        "Laugavegur 1", "101 Reykjavík", "49.00 USD", "page 1 of 1",
    ):  # fmt: skip
        assert words in text
    assert "\u202e" not in text
    assert "🎉" not in text

    receipt, _ = await fetched(customer, f"{invoice}/receipt")
    assert "Receipt" in text_of(receipt)
    assert "Visa ending in 4242, 1 Jan 2027 49.00 USD" in text_of(receipt)
    assert "49.00 USD paid on 1 Jan 2027" in text_of(receipt)

    # Later changes of the customer change nothing of it, whichever spelling asks.
    await actors.operate(
        "POST", "/admin/accounts", {"external_id": customer.account["external_id"], "name": "New"}
    )
    for path in (
        f"{invoice}/pdf", f"{invoice}/download_pdf/",
        f"/billing/download-invoice/{shown['invoice_id']}/",
    ):  # fmt: skip
        assert await fetched(customer, path) == (bytes_, etag)
    unchanged = await customer.actors.client.get(
        f"/api/v1{invoice}/pdf",
        headers=customer.actors.headers(customer.id, "member") | {"If-None-Match": f'"x", {etag}'},
    )
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == etag


async def test_a_receipt_names_the_card_by_the_number_that_paid(customer: Customer) -> None:
    await customer.save_card()
    bought = await customer.buy("small", "saved_card")
    [card] = await customer.rows(
        "SELECT stripe_payment_method_id AS name FROM payment_methods WHERE account_id = %(me)s"
    )
    await customer.actors.sandbox.reissue(card["name"], "pm_card_mastercard")

    async def digits() -> str:
        return str((await customer.ask("GET", "/billing/payment-methods"))["data"][0]["last4"])

    await wait_for(digits, "the bank's new number is known", lambda seen: seen == "4444")
    assert "Visa ending in 4242" in await receipt_of(customer, bought["invoice_id"])


async def test_a_receipt_names_a_payment_that_a_faster_clock_recorded(customer: Customer) -> None:
    await customer.save_card()
    bought = await customer.buy("small", "saved_card")
    await customer.actors.sql(
        "UPDATE payments SET paid_at = paid_at + interval '2 s' WHERE account_id = %(me)s"
        " RETURNING id",
        me=customer.uuid,
    )
    assert "Visa ending in 4242" in await receipt_of(customer, bought["invoice_id"])


async def test_a_draft_is_a_pro_forma_and_has_no_receipt(customer: Customer) -> None:
    begun = await customer.buy("small", "manual")
    invoice = f"{LIST}/{begun['invoice_id']}"
    text = text_of((await fetched(customer, f"{invoice}/pdf"))[0])
    assert "Pro-forma invoice" in text
    assert begun["next_action"]["payment_reference"] in text
    await customer.refused("INVOICE_STATE", "GET", f"{invoice}/receipt")
    [shown] = (await customer.ask("GET", LIST))["data"]
    assert (shown["invoice_pdf_url"], shown["receipt_pdf_url"]) == (None, None)
    assert await customer.rows("SELECT 1 FROM invoice_documents WHERE account_id = %(me)s") == []


async def test_an_invoice_of_which_nothing_was_paid_has_no_receipt(
    actors: Actors, customer: Customer
) -> None:
    await actors.operate(
        "POST", "/admin/coupons", {"code": "GIFT-ALL", "name": "All", "percent": "100"}, status=201
    )
    await customer.buy("small", coupon="GIFT-ALL")
    [shown] = (await customer.ask("GET", LIST))["data"]
    assert (shown["status"], shown["settlement"], shown["amount_paid"]) == ("paid", "zero", 0)
    assert (shown["invoice_pdf_url"] is None, shown["receipt_pdf_url"]) == (False, None)
    path = f"{LIST}/{shown['invoice_id']}/receipt"
    refused = await customer.refused("INVOICE_STATE", "GET", path)
    assert refused["invoice_status"] == "paid"


async def test_ten_who_ask_at_once_get_one_document(customer: Customer) -> None:
    bought = await customer.bought()
    path = f"{LIST}/{bought['invoice_id']}/pdf"
    answers = await asyncio.gather(*(fetched(customer, path) for _ in range(10)))
    assert len(set(answers)) == 1
    [kept] = await customer.rows(
        "SELECT kind, content FROM invoice_documents WHERE account_id = %(me)s"
    )
    assert (kept["kind"], kept["content"]) == ("invoice", answers[0][0])


async def test_an_invoice_of_the_release_before_has_a_document(customer: Customer) -> None:
    bought = await customer.bought()
    for statement in (
        "ALTER TABLE invoice_snapshots DISABLE TRIGGER append_only",
        "DELETE FROM invoice_snapshots WHERE account_id = %(me)s",
        "ALTER TABLE invoice_snapshots ENABLE TRIGGER append_only",
    ):
        await customer.rows(statement)
    text = text_of((await fetched(customer, f"{LIST}/{bought['invoice_id']}/pdf"))[0])
    assert "9.99 USD" in text
