"""The ways to pay that are offered: by country, by currency, and by what the catalog says."""

from typing import Any

import pytest

from billing.catalog.payment_kinds import changes, store
from billing.catalog.payment_kinds.schemas import PaymentKind
from billing.catalog.payment_kinds.spec import PaymentKindSpec
from billing.catalog.plans import loader
from tests.integration.api_app import Api

PATH = "/api/v1/billing/payment-methods/available"


async def offered(api: Api, headers: dict[str, str], query: str = "") -> tuple[Any, list[str]]:
    answer = await api.client.get(f"{PATH}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["country"], [one["provider_type"] for one in body["data"]]


async def test_the_offer_follows_the_country_and_the_currency(api: Api) -> None:
    headers = api.token((await api.new_account())["id"], ["billing"])
    everywhere = ["card", "us_bank_account", "paypal", "bank_transfer"]
    assert await offered(api, headers) == (None, everywhere)
    assert await offered(api, headers, "?country=US&currency=USD") == ("US", everywhere)
    assert await offered(api, headers, "?country=US&currency=EUR") == (
        "US", ["card", "paypal", "bank_transfer"],
    )  # fmt: skip
    assert await offered(api, headers, "?country=NO&currency=EUR") == (
        "NO", ["card", "sepa_debit", "paypal", "bank_transfer"],
    )  # fmt: skip
    assert (await offered(api, headers, "?currency=CLF"))[1] == ["bank_transfer"], "no card is"
    assert "paypal" not in (await offered(api, headers, "?currency=INR"))[1], "not PayPal's money"

    address = {"line1": "Calle Mayor 1", "city": "Madrid", "country": "ES"}
    made = await api.client.post("/api/v1/billing/addresses", json=address, headers=headers)
    assert made.status_code == 201
    assert (await offered(api, headers, "?currency=EUR"))[0] == "ES"
    assert "us_bank_account" not in (await offered(api, headers))[1]


async def test_without_an_address_the_country_of_the_account_counts(api: Api) -> None:
    headers = api.token((await api.new_account(country="DE"))["id"], ["billing"])
    country, kinds = await offered(api, headers)
    assert (country, "us_bank_account" in kinds) == ("DE", False)


@pytest.mark.parametrize("query", ["?country=XX", "?country=de", "?currency=eur", "?kind=card"])
async def test_an_odd_question_is_refused(api: Api, query: str) -> None:
    headers = api.token((await api.new_account())["id"], ["member"])
    answer = await api.client.get(f"{PATH}{query}", headers=headers)
    assert answer.status_code == 422


def test_a_kind_is_compared_by_all_that_it_says() -> None:
    wanted = {"card": PaymentKindSpec(kind="card"), "paypal": PaymentKindSpec(kind="other")}
    current = {
        "card": PaymentKind(key="card", kind="card"),
        "gone": PaymentKind(key="gone", kind="other"),
    }
    found = changes.compare(wanted, current)
    assert [one.words for one in found] == [
        "payment method paypal: offered in every country for all",
        "payment method gone: no longer offered",
    ]
    assert changes.compare(wanted, {one.key: one.new for one in found if one.new} | current) == [
        changes.PaymentKindChange("gone", None)
    ]


def test_the_catalog_of_the_project_names_kinds_that_exist() -> None:
    kinds = loader.read().payment_methods
    assert list(kinds) == [
        "card", "us_bank_account", "sepa_debit", "paypal", "bank_transfer",
    ]  # fmt: skip
    with pytest.raises(loader.CatalogError, match="not an ISO 3166-1 country code"):
        loader.parse("payment_methods: {card: {kind: card, countries: [EU]}}")


async def test_what_is_inactive_or_taken_away_is_not_offered(api: Api) -> None:
    headers = api.token((await api.new_account())["id"], ["member"])
    kind = {"kind": "other", "provider": "manual", "countries": ["FR"], "currencies": ["EUR"]}
    path = "/api/v1/admin/payment-method-configs"
    refused = await api.client.put(f"{path}/voucher", json=kind, headers=headers)
    assert refused.status_code == 403
    put = await api.client.put(f"{path}/voucher", json=kind, headers=api.admin())
    assert put.json()["changes"] == ["payment method voucher: offered in FR for EUR"]
    assert (await offered(api, headers, "?country=FR&currency=EUR"))[1][-1] == "voucher"

    off = kind | {"is_active": False}
    put = await api.client.put(f"{path}/voucher", json=off, headers=api.admin())
    assert put.json()["changes"] == ["payment method voucher: no longer offered"]
    again = await api.client.put(f"{path}/voucher", json=off, headers=api.admin())
    assert again.json()["changes"] == []
    assert "voucher" not in (await offered(api, headers, "?country=FR&currency=EUR"))[1]
    listed = (await api.client.get(path, headers=api.admin())).json()["data"]
    assert listed[-1]["is_active"] is False
    odd = await api.client.put(f"{path}/voucher", json={"kind": "cash"}, headers=api.admin())
    assert odd.status_code == 422
    async with api.database.operator() as connection:
        await store.write(connection, changes.PaymentKindChange("voucher", None))
        assert "voucher" not in await store.current(connection)


async def test_what_is_switched_off_is_not_taken(api: Api) -> None:
    headers = api.token((await api.new_account())["id"], ["billing"])
    path = "/api/v1/admin/payment-method-configs/bank_transfer"
    kind = {"kind": "bank_transfer", "provider": "manual"}
    body = {"pack": "small", "payment_method": "manual"}
    try:
        await api.client.put(path, json=kind | {"is_active": False}, headers=api.admin())
        refused = await api.client.post("/api/v1/billing/purchases", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (409, "PAYMENT_METHOD_NOT_OFFERED")
    finally:
        await api.client.put(path, json=kind, headers=api.admin())
    allowed = await api.client.post("/api/v1/billing/purchases", json=body, headers=headers)
    assert allowed.json().get("code") != "PAYMENT_METHOD_NOT_OFFERED"
