"""Rows that the release before does not know are counted before a step back to it."""

import re
from typing import Final

import pytest

from tests.integration.actors import Actors, wait_for
from tests.integration.dunning.dunning_setup import START
from tests.integration.rebuild.conftest import billing
from tests.integration.workflows.test_trial_ends import on_trial

pytestmark = pytest.mark.slow
TIERS: Final = {"USD": {"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "0.02"},
                                                        {"unit_price": "0.01"}]}}  # fmt: skip


async def test_what_the_release_before_would_do_wrong_is_said_by_counts(actors: Actors) -> None:
    leaving, pausing, billed = [await actors.customer_on_clock(START) for _ in range(3)]
    for one in (leaving, pausing):
        await one.subscribed()
    base, date = "/billing/subscription", {"cancel_at": "2027-02-20T10:00:00Z"}
    await leaving.ask("POST", f"{base}/cancel", date, status=200)
    await pausing.ask("POST", f"{base}/pause", {"at": "period_end"}, status=200)
    await billed.subscribe_by_transfer("pro")
    disputing = await actors.customer()
    await disputing.bought()
    (payment,) = (await disputing.ask("GET", "/billing/payments"))["data"]
    await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    opened = (
        "SELECT 1 FROM matters"
        " WHERE account_id = %(me)s AND kind = 'reversal' AND closed_at IS NULL"
    )
    await wait_for(lambda: disputing.rows(opened), "the dispute is followed")
    voiding = await actors.customer()
    await voiding.bought()
    body = {"product_id": "gpt-4", "usage_amount": "1", "billing_method": "credit_consumption"}
    use = await voiding.ask("POST", "/usage/record", body, status=201)
    why = {"reason": "sent twice by mistake"}
    path = f"/billing/records/{use['billing_id']}/void"
    await actors.operate("POST", path, why, status=200, account=voiding.id)
    await _sold_otherwise(actors)
    code, said = await billing(actors, "step-back")
    assert code == 1, said
    for rows, then in (
        ("refunds and disputes under way", "its rebuild"),
        ("subscriptions that end at a date", "it renews and charges them"),
        ("pauses, plans, prices and add-ons to come", "it renews"),
        ("subscriptions that are sent invoices", "it charges their cards"),
        ("open invoices that are sent", "it charges their payers' cards"),
        ("plans with other prices of use beyond them than one per unit", "it lists no plan"),
        ("agreed limits with such prices", "it can do nothing"),
        ("subscriptions of several seats with credits", "it grants those of one"),
        ("credits that roll over", "it ends them"),
        ("subscriptions that are unpaid", "it never ends them"),
        ("drafts with a tax or a discount", "it numbers them"),
        ("credits given back for voided uses", "it can neither list nor explain"),
    ):
        assert re.search(rf"{rows} \(\d+\): {then}", said), said
    assert "a step back to 0.1.0 is not safe" in said, said


async def _sold_otherwise(actors: Actors) -> None:
    """Things that are sold, owed and given otherwise than that release could."""
    seated, rolling, agreed, buying = [await actors.customer_on_clock(START) for _ in range(4)]
    beyond = {"meter": "ai_responses", "included": "5", "then": "overage", "prices": TIERS}
    team = {
        "family": "teams", "name": "Team", "limits": [beyond], "monthly_credits": "31",
        "seats": {"least": 2, "most": 10}, "prices": {"month": {"USD": 1000}},
    }  # fmt: skip
    await actors.operate("PUT", "/admin/plans/team", team)
    await seated.subscribed("team", quantity=2)
    await rolling.subscribed("scale")
    path, limit = f"/admin/accounts/{agreed.id}/limits", {**beyond, "meter": "api_calls"}
    await actors.operate("PUT", f"{path}/{limit.pop('meter')}", limit)
    owing = await on_trial(actors, "invoice")
    await owing.advance(to="2027-01-24T12:00:00Z")
    assert (await owing.subscription())["status"] == "unpaid"
    coupon = {"code": "BEFORE", "name": "Before", "percent": "10"}
    await actors.operate("POST", "/admin/coupons", coupon, status=201)
    await buying.buy("small", coupon="BEFORE")
