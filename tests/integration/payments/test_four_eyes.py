"""Four eyes, where the setting asks for them: who submitted a payment does not decide on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from api.app import create_app
from billing.core.database import open_database
from tests.integration.actors import Actors, Customer
from tests.integration.api_app import Api, stack_settings
from tests.integration.payments.test_switched_off import switched_off
from workflows.client import connect


@pytest.fixture(scope="module")
async def strict(actors: Actors) -> AsyncIterator[Api]:
    """The app on the run's stack, with the setting on."""
    async with app_with(actors) as found:
        yield found


@asynccontextmanager
async def app_with(actors: Actors, **more: bool) -> AsyncIterator[Api]:
    """The app with the setting on, and with others."""
    settings = stack_settings(actors.stack, BILLING_MANUAL_FOUR_EYES=True, **more)
    async with open_database(settings) as database:
        app = create_app(settings, database, await connect(settings))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            yield Api(app, client, actors.stack)


async def test_an_operator_does_not_approve_what_he_submitted(
    strict: Api, customer: Customer
) -> None:
    begun = await customer.buy("small", "manual")
    body = {
        "invoice_id": begun["invoice_id"],
        "payment_method": "cash",
        "transaction_reference": "TRX-1",
    }
    anna = strict.token("*", ["admin"], "anna") | {"X-Account-Id": customer.id}
    submitted = await strict.client.post("/api/v1/billing/payments/manual", json=body, headers=anna)
    assert submitted.status_code == 201, submitted.text
    path = f"/api/v1/admin/payments/{submitted.json()['payment_id']}"
    for verb, order in (("approve", {}), ("reject", {"reason": "no"})):
        refused = await strict.client.post(f"{path}/{verb}", json=order, headers=anna)
        assert (refused.status_code, refused.json()["code"]) == (403, "FOUR_EYES")
    ben = strict.token("*", ["admin"], "ben")
    approved = await strict.client.post(f"{path}/approve", json={}, headers=ben)
    assert approved.status_code == 200, approved.text
    assert approved.json()["submitted_by"] == "admin:anna"
    assert approved.json()["decided_by"] == "admin:ben"
    await customer.until_purchase(begun["purchase_id"], "completed")


async def test_money_that_came_is_submitted_though_transfers_are_not_offered(
    strict: Api, actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small", "card")
    sent = {"payment_method": "bank_transfer", "transaction_reference": "TRX-2"}
    sent["invoice_id"] = begun["invoice_id"]
    anna = strict.token("*", ["admin"], "anna") | {"X-Account-Id": customer.id}
    path = "/api/v1/billing/payments/manual"
    async with switched_off(actors, "bank_transfer"):
        submitted = await strict.client.post(path, json=sent, headers=anna)
    assert submitted.status_code in (201, 202), submitted.text


async def test_money_that_came_is_submitted_and_approved_while_billing_is_switched_off(
    actors: Actors, customer: Customer
) -> None:
    begun = await customer.buy("small", "manual")
    sent = {"payment_method": "bank_transfer", "transaction_reference": "TRX-3"}
    sent["invoice_id"] = begun["invoice_id"]
    path = "/api/v1/billing/payments/manual"
    async with app_with(actors, BILLING_ENABLED=False) as off:
        own = off.token(customer.id, ["billing"])
        refused = await off.client.post(path, json=sent, headers=own)
        assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
        anna = off.token("*", ["admin"], "anna") | {"X-Account-Id": customer.id}
        submitted = await off.client.post(path, json=sent, headers=anna)
        assert submitted.status_code == 201, submitted.text
        path = f"/api/v1/admin/payments/{submitted.json()['payment_id']}/approve"
        ben = off.token("*", ["admin"], "ben")
        approved = await off.client.post(path, json={}, headers=ben)
        assert approved.status_code == 200, approved.text
    await customer.until_purchase(begun["purchase_id"], "completed")
