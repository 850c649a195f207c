"""Time whose allowance was used is not given back: not by an end, and not by a new period."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change, lines
from tests.integration.changes.test_endings import NOW
from tests.integration.money_seen import charged, money
from tests.integration.recomputed_sums import differences


async def noted(customer: Customer) -> list[int]:
    """Cents of every credit note, oldest first."""
    rows = await customer.rows(
        "SELECT amount_minor FROM credit_notes WHERE account_id = %(me)s ORDER BY id"
    )
    return [row["amount_minor"] for row in rows]


async def test_an_end_gives_nothing_back_of_time_whose_allowance_was_used(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await use(customer, "2500")
    await use(customer, "10", feature_type="storage_gb")
    seen = await customer.ask("POST", f"{PATH}/cancel?dry_run=true", NOW, status=200)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    # Half of the responses of the month are used: 15.5 of its 31 days.
    assert (seen["credited_cents"], await money(customer)) == (2450, 2450)
    assert await customer.credits() == 250

    await customer.advance(to=LATER)
    await customer.subscribe("pro")
    await customer.until_subscription("active")
    await use(customer, "5000")
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await charged(customer) == [4900, 2450]
    assert (await noted(customer), await money(customer)) == ([2450], 0)
    assert await customer.credits() == 250 + 500, "they are of time that counts as used"


async def test_a_use_of_time_that_was_given_back_comes_too_late(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) > 0
    late = {
        "feature_type": "ai_responses", "usage_amount": "5000",
        "occurred_at": "2027-01-01T12:00:00Z",
    }  # fmt: skip
    refused = await customer.refused("EVENT_TOO_OLD", "POST", "/usage/record", late)
    assert "was credited or is unpaid" in refused["detail"]


async def test_an_unpaid_period_whose_allowance_was_used_stays_owed(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=RENEWAL)
    assert (await use(customer, "375"))["total_cost"] == "0"
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    # A quarter of 1900 cents.
    assert await noted(customer) == [475]


async def test_another_interval_credits_only_time_whose_allowance_is_left(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "600")
    await customer.advance(days=1)
    await change(customer, interval="year")
    assert (await lines(customer))[1] == [("plan", 19000)]

    await use(customer, "250")
    await customer.advance(days=1)
    wish = {"plan": "basic", "interval": "month", "at": "now"}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    await change(customer, **wish, preview_token=seen["preview_token"])
    # 15.5 of 365 days of the year are used, half of its first month.
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 18193 - 1900)
    assert await money(customer) == 18193 - 1900
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_lower_plan_credits_only_time_whose_allowance_is_left(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await use(customer, "2500")
    wish = {"plan": "basic", "at": "now"}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    await change(customer, **wish, preview_token=seen["preview_token"])
    # Half of the month of 4900 is used, and basic costs 1900 for all of it.
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 2450 - 1900)
    assert await money(customer) == 2450 - 1900
    assert await included(customer) == ("3000", "3000.00"), "both gave what is paid of them"
    assert await differences(actors.sql, [customer.uuid]) == []


MIDDLE = "2027-01-17T10:00:00Z"


@pytest.mark.parametrize(
    ("way", "body", "given_back"),
    [("", {"plan": "basic", "at": "now"}, 14294 - 919), ("/cancel", NOW, 14294)],
)
async def test_use_that_a_dearer_plan_took_over_is_paid_by_its_time(
    actors: Actors, way: str, body: dict[str, Any], given_back: int
) -> None:
    """Nobody goes up to have overage included, and straight back with all of the money."""
    customer = await begun(actors)
    await customer.advance(to=MIDDLE)
    assert (await use(customer, "20000"))["billing_status"] == "pending"
    await change(customer, plan="enterprise")
    # Of 16 days basic gave 258, of 15 days enterprise gives 48,387.
    assert await included(customer) == ("48645", "48645.00")
    assert await charged(customer) == [1900, 24145 - 919]
    await customer.ask("PUT" if not way else "POST", f"{PATH}{way}", body, status=200)
    # 28,645 of 100,000 answers are left, and one by which parts are rounded.
    assert await money(customer) == given_back
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_level_that_a_dearer_plan_took_over_is_paid_by_its_time(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=MIDDLE)
    assert (await use(customer, "900", feature_type="storage_gb"))["billing_status"] == "pending"
    await change(customer, plan="enterprise")
    await change(customer, plan="basic", at="now")
    # Of the 1,990 GB more 890 were needed: 6.71 of the 15 days count as used, and basic costs 919.
    # What was beyond basic before is billed beside it.
    assert (await charged(customer), await money(customer)) == ([1900, 24145 - 919], 13346 - 919)
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_seats_that_were_used_up_are_not_given_back(actors: Actors) -> None:
    plan = f"seated-{uuid4().hex[:8]}"
    body = {
        "name": "Seated", "family": plan, "prices": {"month": {"USD": 1000}},
        "seats": {"least": 1, "most": 100, "limits": True},
        "limits": [{"meter": "ai_responses", "included": "100", "then": "block"}],
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{plan}", body)
    customer = await begun(actors, plan)
    await change(customer, quantity=50)
    await use(customer, "5000")
    await change(customer, quantity=1, at="now")
    assert await money(customer) == 0
    assert (await lines(customer))[-1] == [("plan", 1000)]
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 1000, "all answers of the seat that is left are left"


async def test_add_ons_of_a_plan_of_before_are_given_back_as_far_as_they_are_left(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await change(customer, add_ons=[{"add_on": "ai-500", "quantity": 4}])
    await use(customer, "2500")
    await change(customer, plan="starter", at="now")
    paid = sum(await charged(customer))
    assert paid == 1900 + 4 * 700 + 2900, "what the basic plan included was used"
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert (await noted(customer), await money(customer)) == ([], 0)


async def test_what_a_plan_included_stays_behind_one_that_limits_nothing(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "700")
    for day, plan in ((11, "starter"), (21, "pro")):
        await customer.advance(to=f"2027-01-{day}T10:00:00Z")
        await change(customer, plan=plan, at="now")
    # Of basic all 500, for it is paid to the end; of 11 days pro gives 1,774.
    assert await included(customer) == ("2274", "2274.00")
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_meter_that_the_new_plan_does_not_name_lowers_no_credit(actors: Actors) -> None:
    """It has the answers without end, and no product sells them."""
    family = f"silent-{uuid4().hex[:8]}"
    limit = {"included": "100", "then": "overage", "prices": {"USD": "0.02"}}
    for key, minor, meter in (
        ("solo", 1900, "ai_responses"),
        ("pro", 4900, "document_uploads"),
    ):
        body = {
            "name": key, "family": family, "prices": {"month": {"USD": minor}},
            "limits": [limit | {"meter": meter}],
        }  # fmt: skip
        await actors.operate("PUT", f"/admin/plans/{family}-{key}", body)
    customer = await begun(actors, f"{family}-solo")
    await use(customer, "80")
    await customer.advance(to=MIDDLE)
    await change(customer, plan=f"{family}-pro")
    # Of 31 days 15 are left: 1900 * 15 / 31 and 4900 * 15 / 31.
    assert (await lines(customer))[1] == [("proration", -919), ("plan", 2371)]

    assert (await use(customer, "1000"))["total_cost"] == "0"
    await customer.advance(to="2027-01-27T10:00:00Z")
    await change(customer, plan=f"{family}-solo", at="now")
    # A third of 2371 is unused, and 1900 * 5 / 31 are charged.
    assert await money(customer) == 790 - 306
    assert await included(customer) == ("68", "68.00"), "of 16 and of 5 of the 31 days"
    await customer.advance(to=RENEWAL)
    assert (await lines(customer))[-1] == [("plan", 1900)], "each use keeps the price of its time"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_use_before_a_raise_is_not_free_by_it(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "5000")
    await customer.advance(to="2027-02-01T09:00:00Z")
    await change(customer, plan="pro")
    # One of the 744 hours: 4500 / 744 are six more.
    assert await included(customer) == ("506", "506.00")
    await customer.advance(to=RENEWAL)
    assert (await lines(customer))[-1] == [("plan", 4900), ("usage", 8988)]
    assert await included(customer) == ("5000.00", "5000.00")
    assert await differences(actors.sql, [customer.uuid]) == []
