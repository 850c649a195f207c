"""A subscription that stays unpaid for longer than its plan allows ends by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import httpx2
import pytest

from api.app import create_app
from tests.integration.actors import Actors, Customer, Json, instant
from tests.integration.api_app import stack_settings
from tests.integration.changes.chosen_plans import PATH, change
from tests.integration.dunning.dunning_setup import START, case, overdue, owed, tried, under
from tests.integration.operator_acts import check_books
from tests.integration.payments.test_transfers import approved, sent

CANCEL: Final = f"{PATH}/cancel"
UNPAID: Final = "2027-02-09T10:00:00Z"
ENDS: Final = "2027-04-10T10:00:00Z"
"""Sixty days later."""
LATER: Final = ("2027-02-20T10:00:00Z", "2027-03-20T09:00:00Z")
"""In the period that is owed, and in the one behind it."""
SERVED: Final = 1400
"""Cents of 49.00 for 8 of 28 days."""
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
    told = await customer.published()
    for kind in ("subscription.canceled", "dunning.pursued"):
        assert told.count(f"evt.billing.{kind}") == 1
    debt = await owed(customer)
    assert debt["amount_remaining"] == SERVED, "it served nothing from 9 February on"
    (invoice,) = [one for one in await customer.invoices() if one["status"] == "open"]
    assert invoice["workflow_id"] == f"collection/{debt['invoice_id']}"
    assert (await case(customer))["status"] == "open"
    await customer.script("succeed", then="last")

    path = f"/billing/invoices/{debt['invoice_id']}/pay"
    paid = await customer.ask("POST", path, {}, key="k", status=200)

    assert (paid["status"], paid["dunning"]["status"]) == ("paid", "recovered")
    await customer.advance(days=40)
    assert await statuses(customer) == ["paid", "paid", "void", "void"]
    assert [one["amount"] for one in await customer.effects()] == [4900, SERVED]
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
    assert (await owed(stays))["amount_remaining"] == SERVED, "what was not served is taken back"


async def canceled_while_unpaid(customer: Customer, *, at: str, **body: Any) -> int:
    """Cents that are owed after a cancel at that instant."""
    await customer.advance(to=at)
    assert (await customer.subscription())["status"] == "unpaid"
    path = "/billing/subscription/cancel"
    gone = await customer.ask("POST", path, {"at": "now", **body}, key="c", status=200)
    assert gone["status"] == "canceled"
    return int((await owed(customer))["amount_remaining"])


@pytest.mark.parametrize("body", [{}, {"refund": "credit"}])
@pytest.mark.parametrize("at", [UNPAID, *LATER])
async def test_a_cancel_while_unpaid_owes_what_was_served_whenever_it_comes(
    actors: Actors, at: str, body: Json
) -> None:
    assert await canceled_while_unpaid(await overdue(actors), at=at, **body) == SERVED


async def test_all_of_a_cycle_counts_as_served_where_its_credits_came_before_its_money(
    actors: Actors,
) -> None:
    customer = await overdue(actors)
    await customer.advance(to=LATER[1])
    async with granting_at_start(customer) as same:
        assert await canceled_while_unpaid(same, at=LATER[1]) == 4900


@pytest.mark.parametrize("owes_change", [False, True])
async def test_who_is_sent_invoices_owes_all_of_it_only_where_a_change_gave_unpaid_credits(
    actors: Actors, owes_change: bool
) -> None:
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer("pro", days_until_due=3)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    if owes_change:
        await change(customer, plan="enterprise")
    await customer.advance(to="2027-02-15T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    credited = []
    for at in ("2027-02-16T10:00:00Z", "2027-03-05T10:00:00Z"):
        await customer.advance(to=at)
        seen = await customer.ask("POST", f"{CANCEL}?dry_run=true", {"at": "now"}, status=200)
        credited.append(seen["credited_cents"])
    assert credited == ([0, 0] if owes_change else [2975, 2975])


async def test_of_a_year_only_the_month_whose_credits_came_unpaid_is_owed_in_whole(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    asked = await customer.subscribe_by_transfer("basic", interval="year", days_until_due=1)
    await approved(customer, await sent(customer, asked["next_action"], "T-1"))
    await customer.until_subscription("active")
    await change(customer, plan="enterprise")
    price = (await customer.subscription())["amount_cents"]
    credited = []
    for days in (20, 13, 20):
        await customer.advance(days=days)
        assert (await customer.subscription())["status"] == "unpaid"
        seen = await customer.ask("POST", f"{CANCEL}?dry_run=true", {"at": "now"}, status=200)
        credited.append(seen["credited_cents"])
    assert credited[0] > credited[1]
    assert credited[1:] == [price - round(price * Fraction(31, 365))] * 2, "January is over"


async def test_who_is_sent_invoices_has_the_credits_of_a_resumption_at_its_start(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe_by_transfer("basic", trial=True, days_until_due=60)
    await customer.advance(days=20)
    path = "/billing/subscription"
    await customer.ask("POST", f"{path}/pause", {"at": "now"}, status=200)
    await customer.advance(days=20)
    async with granting_at_start(customer) as same:
        assert await same.credits() == 0
        await same.ask("POST", f"{path}/resume", status=200)
        assert await same.credits() == 100


@asynccontextmanager
async def granting_at_start(customer: Customer) -> AsyncIterator[Customer]:
    """The customer in front of an API that is set to grant credits at the start of a cycle."""
    settings = stack_settings(customer.actors.stack, BILLING_CYCLE_CREDITS_AT="start")
    app = create_app(settings, temporal=customer.actors.temporal)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield replace(customer, actors=replace(customer.actors, client=client))
    await app.state.services.database.close()


@pytest.mark.parametrize("at", LATER)
async def test_time_whose_allowance_is_used_counts_as_served(actors: Actors, at: str) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-03T10:00:00Z")
    assert (await use_one(customer, usage_amount="2500"))["is_included_in_subscription"]
    assert await canceled_while_unpaid(customer, at=at) == 2450, "half of the allowance, half of it"


BACK: Final = {"usage_amount": "5000", "occurred_at": "2027-02-05T10:00:00Z"}
"""All of the allowance, from the time that was served."""


@pytest.mark.parametrize("at", LATER)
async def test_what_was_used_of_it_is_asked_for_however_late_it_comes(
    actors: Actors, at: str
) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-12T10:00:00Z")
    assert (await use_one(customer, **BACK))["is_included_in_subscription"]
    assert await canceled_while_unpaid(customer, at=at) == 4900


async def test_no_use_is_dated_back_into_time_that_is_not_asked_for(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await use_one(customer, **BACK))["code"] == "EVENT_TOO_OLD"
    assert await canceled_while_unpaid(customer, at="2027-03-20T09:00:00Z") == SERVED


async def test_who_pays_has_the_period_and_brings_in_what_was_late(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-12T10:00:00Z")
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    assert (await customer.ask("POST", path, {}, key="k", status=200))["amount_paid"] == 4900
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await use_one(customer, **BACK))["is_included_in_subscription"]


async def test_an_end_that_was_to_come_with_the_period_takes_back_what_was_not_served(
    actors: Actors,
) -> None:
    """An end that was asked for while it was past due comes while it is unpaid."""
    customer = await asked_while_past_due(actors, "cancel")
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await customer.subscription())["status"] == "canceled"
    assert (await owed(customer))["amount_remaining"] == SERVED


async def test_a_pause_that_was_to_come_leaves_no_debt_that_nobody_asks_for(
    actors: Actors,
) -> None:
    """While it is unpaid nothing is served that could pause, and its sixty days go on."""
    customer = await asked_while_past_due(actors, "pause")
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    await customer.advance(to=ENDS)
    assert (await customer.subscription())["end_reason"] == "unpaid for too long"
    assert (await owed(customer))["amount_remaining"] == SERVED


async def test_who_pays_in_time_has_the_pause_that_was_asked_for(actors: Actors) -> None:
    customer = await asked_while_past_due(actors, "pause")
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", path, {}, key="k", status=200)
    assert (await customer.subscription())["status"] == "active"
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert (await customer.subscription())["status"] == "paused"


async def asked_while_past_due(actors: Actors, command: str) -> Customer:
    """An unpaid customer who asked for this, with the end of the period, while it was past due."""
    customer = await overdue(actors)
    await customer.ask("POST", f"/billing/subscription/{command}", {}, status=200)
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "unpaid"
    assert (await owed(customer))["amount_remaining"] == 4900
    return customer


async def test_use_of_before_a_debt_was_settled_late_comes_with_the_next_renewal(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("pro")
    await under(customer, {}, past_due_access="full")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-02T10:00:00Z")
    used = await use_one(customer, usage_amount="6000")
    assert used.get("billing_status") == "pending", used
    await customer.advance(to="2027-03-10T10:00:00Z")
    await customer.script("succeed", then="last")
    settled = {"resume": True}
    await customer.ask("POST", "/billing/pay-overdue", settled, key="r", status=200)
    assert (await customer.subscription())["status"] == "active"
    await check_books(customer)
    await customer.advance(to="2027-04-10T10:00:00Z")
    amounts = [one["amount"] for one in await customer.effects()]
    assert amounts == [4900, 4900, 4900, 4900 + 1500], "1,000 beyond the plan at 0.015"
    words = await customer.rows(
        "SELECT description FROM invoice_lines WHERE account_id = %(me)s AND kind = 'usage'"
    )
    assert [one["description"].partition(",")[0] for one in words] == [
        "AI responses beyond 5000 included"
    ]


async def test_overage_is_bounded_from_the_day_on_which_a_debt_of_before_is_overdue(
    actors: Actors,
) -> None:
    customer = await overdue(actors, "insufficient_funds")
    await customer.advance(to="2027-02-02T10:00:00Z")
    await customer.rows(
        "UPDATE dunning_cases SET status = 'recovered', opened_at = '2027-02-08T10:00:00Z'"
        " WHERE account_id = %(me)s RETURNING id"
    )
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.script("succeed", then="last")
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    assert "code" not in await use_one(customer, usage_amount="8000"), "150.00 USD, and no debt"
    await customer.rows(
        "UPDATE dunning_cases SET status = 'paused' WHERE account_id = %(me)s RETURNING id"
    )
    await customer.rows(
        "UPDATE accounts SET clock_at = '2027-02-10T10:00:00Z' WHERE id = %(me)s RETURNING id"
    )
    assert "code" not in await use_one(customer, usage_amount="5000"), "100.00 USD"
    assert (await use_one(customer))["code"] == "UNPAID_LIMIT"


async def test_overage_is_bounded_while_a_debt_of_before_is_overdue(actors: Actors) -> None:
    customer = await overdue(actors)
    await customer.advance(to="2027-02-02T10:00:00Z")
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    assert (await owed(customer))["amount_remaining"] == 175, "a day of 28"
    await customer.script("succeed", "insufficient_funds", then="last")
    await customer.subscribe("basic")
    await customer.until_subscription("active")
    assert (await owed(customer))["amount_remaining"] == 175
    await use_one(customer, usage_amount="500")
    assert "code" not in await use_one(customer, usage_amount="5000"), "100.00 USD"
    assert (await use_one(customer))["code"] == "UNPAID_LIMIT"
