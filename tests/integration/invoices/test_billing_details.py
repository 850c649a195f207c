"""The seller's and the customer's words on invoices: frozen with each, and free of card numbers."""

import base64
from uuid import uuid4

import pytest
from psycopg.errors import ForeignKeyViolation

from billing.money.documents import press
from tests.integration.actors import Actors, Customer, Json
from tests.integration.api_app import Api
from tests.integration.invoices.test_documents import LIST, fetched, text_of

DETAILS = "/billing/details"
LOGO = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
"""One red pixel as PNG."""


async def test_documents_name_the_seller_and_what_the_customer_asked_for(actors: Actors) -> None:
    key = f"seller-{uuid4().hex[:8]}"
    seller = {
        "name": "ACME GmbH",
        "address": {"line1": "Musterstraße 1", "city": "Berlin", "country": "DE"},
        "tax_ids": ["VAT DE123456789"],
        "footer": "Amtsgericht Berlin HRB 1",
    }
    written = await actors.operate("PUT", f"/admin/issuers/{key}", seller)
    assert written["name"] == "ACME GmbH"
    assert key in [one["key"] for one in (await actors.operate("GET", "/admin/issuers"))["data"]]
    customer = await actors.customer(issuer=key)
    home = await customer.ask(
        "POST", "/billing/addresses", {"line1": "Home 1", "city": "Bonn", "country": "DE"}
    )
    office = await customer.ask(
        "POST", "/billing/addresses", {"line1": "Office 2", "city": "Köln", "country": "DE"}
    )
    assert home["is_default"]
    details = {
        "legal_name": "Customer Holding SE",
        "address_id": office["address_id"],
        "billing_email": "books@customer.example",
        "cc_emails": ["boss@customer.example"],
        "po_number": "PO-77",
        "memo": "Thanks\nin advance",
        "custom_fields": [{"name": "Cost center", "value": "4711"}],
    }
    assert await customer.ask("PUT", DETAILS, details, status=200) == details
    assert await customer.ask("GET", DETAILS, status=200) == details

    bought = await customer.bought()
    path = f"{LIST}/{bought['invoice_id']}/pdf"
    await customer.ask("PUT", DETAILS, {}, status=200)
    await actors.operate("PUT", f"/admin/issuers/{key}", seller | {"name": "ACME after"})
    seen = text_of((await fetched(customer, path))[0])
    for words in (
        "ACME GmbH", "VAT DE123456789", "Amtsgericht Berlin HRB 1", "Customer Holding SE",
        "Office 2", "books@customer.example", "PO-77", "Thanks in advance", "Cost center", "4711",
    ):  # fmt: skip
        assert words in seen
    assert "ACME after" not in seen
    assert "Home 1" not in seen


async def test_details_whose_address_is_removed_show_the_default_one(customer: Customer) -> None:
    line = {"city": "Bonn", "country": "DE"}
    await customer.ask("POST", "/billing/addresses", line | {"line1": "Home 1"})
    office = await customer.ask("POST", "/billing/addresses", line | {"line1": "Office 2"})
    named = {"legal_name": "Customer SE", "address_id": office["address_id"]}
    await customer.ask("PUT", DETAILS, named, status=200)
    await customer.ask("DELETE", f"/billing/addresses/{office['address_id']}", status=200)
    told = await customer.ask("GET", DETAILS, status=200)
    assert (told["legal_name"], told["address_id"]) == ("Customer SE", None)
    assert await customer.ask("PUT", DETAILS, told, status=200) == told
    [changed, _] = (
        await customer.actors.operate(
            "GET", f"/admin/accounts/{customer.id}/audit?action=billing_details.changed"
        )
    )["data"]
    assert changed["detail"]["fields"] == ["address_id"]

    bought = await customer.bought()
    seen = text_of((await fetched(customer, f"{LIST}/{bought['invoice_id']}/pdf"))[0])
    assert "Home 1" in seen


async def test_details_cannot_name_an_address_that_nobody_has(customer: Customer) -> None:
    await customer.ask("PUT", DETAILS, {"legal_name": "Customer SE"}, status=200)
    with pytest.raises(ForeignKeyViolation):
        await customer.rows(
            "UPDATE billing_details SET address_id = %(gone)s WHERE account_id = %(me)s",
            gone=uuid4(),
        )


async def test_a_draft_has_words_of_its_own_until_it_has_a_number(customer: Customer) -> None:
    fields = [{"name": "Cost center", "value": "of all"}]
    of_all = {"po_number": "PO-all", "memo": "For all", "custom_fields": fields}
    await customer.ask("PUT", DETAILS, of_all, status=200)
    begun = await customer.buy()
    path = f"{LIST}/{begun['invoice_id']}"
    changed = await customer.ask("PATCH", path, {"po_number": "PO-one"}, status=200)
    assert (changed["po_number"], changed["memo"]) == ("PO-one", None)
    assert changed["custom_fields"] is None
    own = {"custom_fields": [{"name": "Ship #2", "value": '"$x$" #1'}]}
    changed = await customer.actors.operate("PATCH", path, own, account=customer.id)
    assert changed["custom_fields"] == own["custom_fields"], "an operator may, too"
    cleared = await customer.ask("PATCH", path, {"custom_fields": None}, status=200)
    assert cleared["custom_fields"] is None
    asked = f"/admin/audit?action=invoice.reworded&subject={begun['invoice_id']}"
    acts = (await customer.actors.operate("GET", asked))["data"]
    assert [one["actor"].partition(":")[0] for one in acts] == ["billing", "admin", "billing"]
    await customer.ask("PATCH", path, own, status=200)
    for refused in (
        {"memo": "4242424242424242"},
        {"custom_fields": [{"name": "card", "value": "4242424242424242"}]},
        {"custom_fields": [{"name": "n" * 41, "value": "x"}]},
        {"custom_fields": [{"name": "n", "value": "x" * 141}]},
    ):
        await customer.refused("VALIDATION_FAILED", "PATCH", path, refused)
    await customer.pay(begun)
    await customer.until_purchase(begun["purchase_id"], "completed")
    await customer.refused("INVOICE_STATE", "PATCH", path, {"memo": "too late"})
    await customer.ask("PUT", DETAILS, {}, status=200)
    seen = text_of((await fetched(customer, f"{path}/pdf"))[0])
    for words in ("PO-one", "For all", "Ship #2", '"$x$" #1'):
        assert words in seen
    assert "Cost center" not in seen
    kept = await customer.ask("GET", path, status=200)
    assert (kept["po_number"], kept["memo"]) == ("PO-one", "For all")
    assert kept["custom_fields"] == own["custom_fields"]


@pytest.mark.parametrize(
    "body",
    [
        {"po_number": "4242 4242 4242 4242"},
        {"memo": "card 4242424242424242"},
        {"legal_name": "two\nlines"},
        {"billing_email": "a@b"},
        {"billing_email": "a@b.example, c@d.example"},
        {"custom_fields": [{"name": "card", "value": "4242424242424242"}]},
        {"custom_fields": [{"name": "a", "value": "b"}] * 5},
        {"cc_emails": ["a@b.example"] * 11},
        {"unknown": "x"},
    ],
)
async def test_details_that_no_invoice_should_carry_are_refused(
    customer: Customer, body: Json
) -> None:
    await customer.refused("VALIDATION_FAILED", "PUT", DETAILS, body)


async def test_a_logo_is_a_picture_that_a_document_can_show(actors: Actors) -> None:
    seller = {"name": "ACME", "address": {"line1": "1", "city": "Berlin", "country": "DE"}}
    path = f"/admin/issuers/seller-{uuid4().hex[:8]}"
    junk = base64.b64encode(b"\x89PNG\r\n\x1a\n junk").decode()
    for logo in ("", "no base64!", "aGVsbG8=", junk):
        refused = await actors.operate("PUT", path, seller | {"logo": logo}, status=422)
        assert refused["code"] == "INVALID_LOGO"
    kept = await actors.operate("PUT", path, seller | {"logo": LOGO})
    assert len(kept["logo"]) == 64
    assert (await actors.operate("PUT", path, seller))["logo"] == kept["logo"]
    assert (await actors.operate("PUT", path, seller | {"logo": None}))["logo"] is None


async def test_a_good_logo_is_not_refused_while_the_printer_is_busy(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.services.press, "_waiting", press.WAITING)
    seller = {"name": "ACME", "address": {"line1": "1", "city": "Berlin", "country": "DE"}}
    path = f"/api/v1/admin/issuers/seller-{uuid4().hex[:8]}"
    for logo, code in ((LOGO, "DOCUMENT_UNAVAILABLE"), ("aGVsbG8=", "INVALID_LOGO")):
        body = seller | {"logo": logo}
        answer = await api.client.put(path, json=body, headers=api.admin())
        assert answer.json()["code"] == code


async def test_a_default_seller_stays_it_until_another_is(actors: Actors) -> None:
    seller = {"name": "ACME", "address": {"line1": "1", "city": "Berlin", "country": "DE"}}
    first, second = (f"/admin/issuers/seller-{uuid4().hex[:8]}" for _ in range(2))
    made = await actors.operate("PUT", first, seller | {"is_default": True}, status=200)
    try:
        changed = await actors.operate("PUT", first, seller | {"footer": "GmbH"}, status=200)
        assert changed == made | {"footer": "GmbH"}
        refused = await actors.operate("PUT", first, seller | {"is_default": False}, status=409)
        assert refused["code"] == "ISSUER_IS_DEFAULT"
        other = await actors.operate("PUT", second, seller, status=200)
        assert not other["is_default"]
        await actors.operate("PUT", second, seller | {"is_default": True}, status=200)
        after = await actors.operate("PUT", first, seller | {"is_default": False}, status=200)
        assert not after["is_default"]
    finally:
        await actors.sql("UPDATE issuers SET is_default = false WHERE is_default")
