"""Taxes by address: added to prices or held by them, and the customers who are freed from them."""

from typing import Any

from tests.integration.actors import Actors, Customer
from tests.integration.changes.chosen_plans import change
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import newest_invoice
from tests.integration.operator_acts import check_books
from tests.integration.taxes.taxed_addresses import ADDRESS, CLOCK, collect, moved_to

Json = dict[str, Any]


async def test_tax_is_added_to_a_purchase_and_to_each_renewal(actors: Actors) -> None:
    await collect(actors, "AT", "USt", rates={"standard": "20", "reduced": "10"})
    customer = await actors.customer_on_clock(CLOCK)
    assert (await customer.ask("GET", "/billing/tax"))["rates"] == []
    await moved_to(customer)
    [rate] = (await customer.ask("GET", "/billing/tax"))["rates"]
    assert (rate["jurisdiction"], rate["rate"], rate["inclusive"]) == ("AT", "20.00", False)

    await customer.bought("small")  # 9.99
    bought = await newest_invoice(customer)
    assert (bought["subtotal"], bought["tax_amount"], bought["total"]) == (999, 200, 1199)
    [line] = bought["line_items"]
    assert (line["amount"], line["total"]) == (999, 1199)
    [tax] = line["taxes"]
    assert (tax["name"], tax["rate"], tax["amount"], tax["reason"]) == ("USt", "20.00", 200, None)

    await customer.subscribed("basic")  # 19.00
    rises = [{"since": "2027-01-20", "rates": {"standard": "21"}}]
    await collect(actors, "AT", "USt", rates={"standard": "20", "reduced": "10"}, later=rises)
    [rate] = (await customer.ask("GET", "/billing/tax"))["rates"]
    assert rate["rate"] == "20.00", "it is known, and holds later"
    await customer.advance(days=31)
    renewed = await newest_invoice(customer)
    assert (renewed["tax_amount"], renewed["total"], renewed["status"]) == (399, 2299, "paid")
    charged = [one["amount"] for one in await customer.effects()]
    assert charged == [1199, 2280, 2299]
    [rate] = (await customer.ask("GET", "/billing/tax"))["rates"]
    assert rate["rate"] == "21.00"


async def test_a_region_asks_beside_its_country_or_in_its_place(actors: Actors) -> None:
    await collect(actors, "CA", "GST", rates={"standard": "5"})
    await collect(actors, "CA-QC", "QST", rates={"standard": "9.975"})
    await collect(actors, "CA-ON", "HST", rates={"standard": "13"}, instead_of_country=True)
    sums = {}
    for region in ("QC", "on", "AB"):
        customer = await actors.customer_on_clock(CLOCK)
        await moved_to(customer, country="CA", state=region)
        await customer.bought("large")  # 69.99
        [line] = (await newest_invoice(customer))["line_items"]
        sums[region] = {one["name"]: one["amount"] for one in line["taxes"]}
    # 6999 x 5 % = 349.95; x 9.975 % = 698.15; x 13 % = 909.87
    assert sums == {"QC": {"GST": 350, "QST": 698}, "on": {"HST": 910}, "AB": {"GST": 350}}
    customer = await actors.customer_on_clock(CLOCK)
    for state in ("ONT", "PQ", "QUE", "CA-ONT"):
        where = ADDRESS | {"country": "CA", "state": state}
        await customer.refused("INVALID_REGION", "POST", "/billing/addresses", where)


async def test_a_region_is_named_by_its_code_where_regions_have_taxes(actors: Actors) -> None:
    customer = await actors.customer_on_clock(CLOCK)
    nowhere = ADDRESS | {"country": "IN", "state": "Kerala"}
    old = await customer.ask("POST", "/billing/addresses", nowhere, status=201)
    bare = ADDRESS | {"country": "IN"}
    stateless = await customer.ask("POST", "/billing/addresses", bare, status=201)
    await collect(actors, "IN", "GST", rates={"standard": "5"})
    await collect(actors, "IN-KL", "HST", rates={"standard": "13"}, instead_of_country=True)

    for state in ("Kerala", "தமிழ்நாடு", "US-KL", None):
        refused = await customer.refused(
            "INVALID_REGION", "POST", "/billing/addresses", nowhere | {"state": state}
        )
        assert refused["detail"].endswith(": KL")
    path = f"/billing/addresses/{old['address_id']}"
    await customer.ask("PATCH", path, {"city": "Kochi"}, status=200)
    for wrong in ("Ker.", None):
        await customer.refused("INVALID_REGION", "PATCH", path, {"state": wrong})
    was_never_taxed = f"/billing/addresses/{stateless['address_id']}"
    await customer.ask("PATCH", was_never_taxed, {"city": "Kochi"}, status=200)
    await customer.refused("INVALID_REGION", "PATCH", was_never_taxed, {"is_default": True})
    await moved_to(customer, country="AT", state="Wien")
    abroad = (await customer.ask("GET", "/billing/addresses?limit=1"))["data"][0]["address_id"]
    await customer.refused(
        "INVALID_REGION", "PATCH", f"/billing/addresses/{abroad}", {"country": "IN"}
    )

    for state, name in (("kl", "HST"), ("IN-KL", "HST"), ("in-kl", "HST"), ("TN", "GST")):
        await moved_to(customer, country="IN", state=state)
        [rate] = (await customer.ask("GET", "/billing/tax"))["rates"]
        assert (state, rate["name"]) == (state, name)
    here = (await customer.ask("GET", "/billing/addresses?limit=1"))["data"][0]["address_id"]
    await customer.refused("INVALID_REGION", "PATCH", f"/billing/addresses/{here}", {"state": None})


async def test_the_address_that_names_the_region_stays_while_no_other_does(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(CLOCK, country="BR")
    there, abroad = ADDRESS | {"country": "BR"}, ADDRESS | {"country": "PT"}
    bare = await _added(customer, there)
    named = await _added(customer, there | {"state": "SP", "is_default": True})
    lisbon = await _added(customer, abroad)
    unnamed = await _added(customer, there)
    await collect(actors, "BR", "ISS", rates={"standard": "5"})
    await collect(actors, "BR-SP", "ICMS", rates={"standard": "18"})

    await customer.ask("DELETE", named, status=200)
    assert (await customer.ask("GET", lisbon))["is_default"], "the newest may not decide the tax"
    await customer.refused("INVALID_REGION", "DELETE", lisbon)
    for other in (bare, unnamed):
        await customer.ask("DELETE", other, status=200)
    await customer.refused("INVALID_REGION", "DELETE", lisbon)
    assert (await customer.ask("GET", lisbon))["is_default"]

    elsewhere = await actors.customer_on_clock(CLOCK, country="PT")
    await elsewhere.ask("DELETE", await _added(elsewhere, there | {"state": "SP"}), status=200)


async def _added(customer: Customer, address: Json) -> str:
    made = await customer.ask("POST", "/billing/addresses", address, status=201)
    return f"/billing/addresses/{made['address_id']}"


async def test_a_price_may_hold_its_tax(actors: Actors) -> None:
    await collect(actors, "CH", "MWST", rates={"standard": "8.1", "books": "2.6"})
    pack = {"name": "Alpine", "credits": "10", "prices": {"CHF": 1081}, "tax_category": "standard"}
    await actors.operate("PUT", "/admin/credit-packages/alpine", pack, status=200)
    book = pack | {"name": "Book", "prices": {"CHF": 1026}, "tax_category": "books"}
    await actors.operate("PUT", "/admin/credit-packages/alpine-book", book, status=200)
    await actors.operate("PUT", "/admin/tax-inclusion", {"currencies": ["CHF"]}, status=200)
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer, country="CH")

    for pack_key, total, tax in (("alpine", 1081, 81), ("alpine-book", 1026, 26)):
        begun = await customer.buy(pack_key, currency="CHF")
        await customer.pay(begun)
        await customer.until_purchase(begun["purchase_id"], "completed")
        shown = await newest_invoice(customer)
        assert (shown["subtotal"], shown["total"]) == (total, total)
        assert (shown["tax_amount"], shown["tax_included"]) == (tax, tax)


async def test_who_is_exempt_pays_no_tax_and_the_invoice_says_why(actors: Actors) -> None:
    await collect(actors, "AT", "USt", rates={"standard": "20", "reduced": "10"})
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer)
    path = f"/admin/accounts/{customer.id}/tax-exemption"
    shown = await actors.operate("PUT", path, {"because": "certificate 4711"}, status=200)
    assert (shown["exempt"], shown["exempt_because"]) == (True, "certificate 4711")
    await customer.bought("small")
    bought = await newest_invoice(customer)
    assert (bought["tax_amount"], bought["total"]) == (0, 999)
    [tax] = bought["line_items"][0]["taxes"]
    assert (tax["rate"], tax["reason"]) == ("0", "exempt")

    await actors.operate("PUT", path, {"because": None}, status=200)
    await customer.bought("small")
    assert (await newest_invoice(customer))["total"] == 1199


async def test_a_changed_rate_touches_no_invoice_of_before(actors: Actors) -> None:
    await collect(actors, "LI", "MWST", rates={"standard": "7.7"})
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer, country="LI")
    await customer.bought("large")
    before = await newest_invoice(customer)
    await collect(actors, "LI", "MWST", rates={"standard": "8.1"})
    assert before == await newest_invoice(customer)
    await customer.bought("large")
    assert (await newest_invoice(customer))["tax_amount"] == 567  # 6999 x 8.1 %
    assert before["tax_amount"] == 539  # 6999 x 7.7 %


async def test_rates_are_texts_of_percent(actors: Actors) -> None:
    path = "/admin/taxes/NO"
    for rates in ({"standard": "x"}, {"standard": "-1"}, {"reduced": "5"}, {"standard": "101"}, {}):
        answer = await actors.operate("PUT", path, {"name": "MVA", "rates": rates}, status=422)
        assert answer["code"] == "VALIDATION_FAILED"
    await actors.operate("PUT", "/admin/taxes/Norway", {"name": "MVA"}, status=422)


async def test_no_country_is_taxed_in_its_own_place(actors: Actors) -> None:
    tax = {"name": "MVA", "rates": {"standard": "25"}, "instead_of_country": True}
    refused = await actors.operate("PUT", "/admin/taxes/NO", tax, status=422)
    assert [one["field"] for one in refused["errors"]] == ["instead_of_country"]


async def test_prices_of_no_known_currency_hold_no_tax(actors: Actors) -> None:
    path = "/admin/tax-inclusion"
    await actors.operate("PUT", path, {"currencies": ["CHF"]}, status=200)
    refused = await actors.operate("PUT", path, {"currencies": ["CHF", "ERU"]}, status=422)
    assert "ERU is not a currency" in refused["detail"]
    kept = await actors.operate("PUT", path, {"currencies": ["CHF"]}, status=200)
    assert kept["changes"] == []


async def test_the_books_agree_where_an_untaxed_plan_follows_a_taxed_one(actors: Actors) -> None:
    await collect(actors, "AT", "USt", rates={"standard": "20"})
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer)
    await customer.subscribed("pro")
    await moved_to(customer, country="US")
    down = {"plan": "basic", "at": "now"}
    await customer.ask("PUT", "/billing/subscription", down, status=200)
    changed = await newest_invoice(customer)
    assert (changed["total"], changed["tax_amount"]) == (0, -317), "1900 of pro, its tax in it"
    await check_books(customer)


async def test_a_note_has_the_tax_of_what_it_takes_back_beside_the_credit_of_a_higher_one(
    actors: Actors,
) -> None:
    await collect(actors, "AT", "USt", rates={"standard": "20"})
    await collect(actors, "RS", "PDV", rates={"standard": "5"})
    customer = await actors.customer_on_clock(CLOCK)
    await moved_to(customer)
    await customer.subscribed("basic")
    await moved_to(customer, country="RS")
    await change(customer, plan="pro")
    invoice = await newest_invoice(customer)
    assert (invoice["total"], invoice["tax_amount"]) == (5145 - 2280, 245 - 380)
    note = {"amount_cents": 2100, "reason": "sorry", "to": "balance"}
    await commanded(customer, invoice, "credit-note", note)
    [seen] = (await newest_invoice(customer))["credit_notes"]
    assert (seen["amount"], seen["tax"]) == (2100, 100)
    await check_books(customer)
