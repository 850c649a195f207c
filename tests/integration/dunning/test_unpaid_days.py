"""A subscription that stays unpaid for longer than its plan allows ends by itself."""

from typing import Final

from tests.integration.actors import Actors, Customer, Json, instant
from tests.integration.dunning.dunning_setup import case, overdue, owed, tried, under

UNPAID: Final = "2027-02-09T10:00:00Z"
ENDS: Final = "2027-04-10T10:00:00Z"
"""Sixty days later."""
LAST_TERM_OVER: Final = "2027-04-18T10:00:00Z"


async def use_one(customer: Customer, **more: str) -> Json:
    """One AI answer, which only a plan pays."""
    body = {"feature_type": "ai_responses", "usage_amount": "1"} | more
    return (await customer.call("POST", "/usage/record", body)).json()  # type: ignore[no-any-return]


async def statuses(customer: Customer) -> list[str]:
    """Of the account's invoices, oldest first."""
    return [invoice["status"] for invoice in await customer.invoices()]


async def ended(actors: Actors) -> Customer:
    """A customer whose subscription stayed unpaid until the end of its sixty days."""
    customer = await overdue(actors)
    await customer.advance(to="2027-04-10T09:59:59Z")
    standing = await customer.subscription()
    assert (standing["status"], standing["end_reason"]) == ("unpaid", None)
    assert await statuses(customer) == ["paid", "open", "draft", "draft"]
    assert (await use_one(customer))["code"] == "NO_ENTITLEMENT"
    await customer.advance(to=ENDS)
    return customer


async def test_it_is_canceled_and_its_debt_can_still_be_paid(actors: Actors) -> None:
    customer = await ended(actors)

    now = await customer.subscription()
    assert (now["status"], now["end_reason"]) == ("canceled", "unpaid for too long")
    assert (now["ended_at"], now["pending_change"]) == (ENDS, None)
    assert await statuses(customer) == ["paid", "open", "void", "void"], "drafts are never paid"
    assert await tried(customer) == 4, "the end tries no card"
    assert (await customer.published()).count("evt.billing.subscription.canceled") == 1
    debt = await owed(customer)
    assert (debt["amount_remaining"], debt["credit_notes"]) == (4900, []), "all of it was served"
    (invoice,) = [one for one in await customer.invoices() if one["status"] == "open"]
    assert invoice["workflow_id"] == f"collection/{debt['invoice_id']}"
    assert (await case(customer))["status"] == "open"
    await customer.script("succeed", then="last")

    path = f"/billing/invoices/{debt['invoice_id']}/pay"
    paid = await customer.ask("POST", path, {}, key="k", status=200)

    assert (paid["status"], paid["dunning"]["status"]) == ("paid", "recovered")
    await customer.advance(days=40)
    assert await statuses(customer) == ["paid", "paid", "void", "void"]
    assert [one["amount"] for one in await customer.effects()] == [4900, 4900]
    assert (await customer.subscription())["status"] == "canceled", "nothing begins again"
    assert await customer.credits() == 0
    collections = await customer.rows(
        "SELECT status FROM matters WHERE account_id = %(me)s AND kind = 'collection'"
    )
    assert [one["status"] for one in collections] == ["closed"]


async def test_afterwards_the_default_plan_gives_its_rights(actors: Actors) -> None:
    customer = await ended(actors)
    rights = await customer.ask("GET", "/billing/entitlements")
    assert (rights["plan"], rights["access"]) == ("free", "full")
    meter = await customer.ask("GET", "/billing/entitlements/ai_responses")
    assert meter["limit"]["included"] == "50.00"
    assert (await use_one(customer, usage_amount="50"))["is_included_in_subscription"]
    assert (await use_one(customer))["code"] == "QUOTA_EXCEEDED"
    await customer.subscribe("basic")


async def test_a_debt_that_nobody_pays_is_written_off_after_a_last_term(actors: Actors) -> None:
    customer = await ended(actors)
    await customer.advance(to="2027-04-18T09:59:59Z")
    assert await statuses(customer) == ["paid", "open", "void", "void"]
    await customer.advance(to=LAST_TERM_OVER)
    assert await statuses(customer) == ["paid", "uncollectible", "void", "void"]
    assert (await case(customer))["close_reason"] == "uncollectible"
    assert await tried(customer) == 4


async def test_the_plan_says_how_long_and_a_payment_in_time_prevents_it(actors: Actors) -> None:
    customers = [await overdue(actors), await overdue(actors)]
    for customer in customers:
        await under(customer, {})
        await customer.rows(
            "UPDATE plans SET unpaid_days = 5 WHERE id ="
            " (SELECT plan_id FROM subscriptions WHERE account_id = %(me)s)"
        )
        await customer.advance(to="2027-02-14T09:00:00Z")
        assert (await customer.subscription())["status"] == "unpaid"
    pays, stays = customers
    await pays.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(pays))['invoice_id']}/pay"
    await pays.ask("POST", path, {}, key="k", status=200)
    for customer in customers:
        await customer.advance(to="2027-02-15T10:00:00Z")

    assert (await pays.subscription())["status"] == "active"
    gone = await stays.subscription()
    assert (gone["status"], gone["end_reason"]) == ("canceled", "unpaid for too long")
    assert instant(gone["ended_at"]) == instant("2027-02-14T10:00:00Z")
    assert (await owed(stays))["amount_remaining"] < 4900, "time that was not served is taken back"
