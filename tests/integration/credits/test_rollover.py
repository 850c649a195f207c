"""Credits of a plan that live on into the next cycle, up to the plan's cap."""

from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.dunning.dunning_setup import RENEWAL, START, owed
from tests.integration.reversals.refunds_made import paid_for, refunded

PATH: Final = "/billing/subscription"
MARCH: Final = "2027-03-01T10:00:00Z"
APRIL: Final = "2027-04-01T10:00:00Z"
MAY: Final = "2027-05-01T10:00:00Z"


async def plan(actors: Actors, credits: int, cap: int | None, **prices: int) -> str:
    """A plan with so many credits in each month, of which so many live on."""
    key = f"rolls-{uuid4().hex[:8]}"
    rule = {"policy": "none"} if cap is None else {"policy": "cap", "credits": str(cap)}
    terms: Json = {
        "name": "Rolls", "family": "rolls", "monthly_credits": str(credits), "rollover": rule,
        "prices": {name: {"USD": cents} for name, cents in (prices or {"month": 1000}).items()},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    return key


async def begun(actors: Actors, credits: int = 100, cap: int | None = 30, **more: Any) -> Customer:
    """A customer of such a plan from 1 January on."""
    prices = {"year": 10000} if more.get("interval") == "year" else {}
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(await plan(actors, credits, cap, **prices), **more)
    return customer


async def spend(customer: Customer, amount: int | Decimal) -> None:
    """Credits go, in burn order."""
    body = {"account_id": customer.id, "amount": str(-amount), "reason": "a test"}
    await customer.actors.operate("POST", "/admin/credits/adjust", body, key=str(uuid4()))


async def rolled(customer: Customer) -> list[str]:
    """The credits that the account was told of as rolled over."""
    rows = await customer.rows(
        "SELECT data ->> 'credits' AS credits FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.credits.rolled_over' ORDER BY seq"
    )
    return [row["credits"] for row in rows]


async def test_the_cap_of_what_is_not_spent_lives_on_for_one_cycle(actors: Actors) -> None:
    customer = await begun(actors)
    await spend(customer, 20)
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 130, "50 ended, 30 live on"
    assert await rolled(customer) == ["30.00"]
    await customer.advance(to=MARCH)
    assert await customer.credits() == 130, "what rolled over has ended with its cycle"
    await spend(customer, 120)
    await customer.advance(to=APRIL)
    assert await customer.credits() == 110, "the 10 that were left"
    assert await rolled(customer) == ["30.00", "30.00", "10.00"]
    await customer.advance(days=5)
    assert len(await rolled(customer)) == 3
    expired = await customer.rows(
        "SELECT -amount AS gone FROM credit_transactions"
        " WHERE account_id = %(me)s AND kind = 'expire' ORDER BY seq"
    )
    assert [row["gone"] for row in expired] == [50, 30, 70]


async def test_the_plan_that_is_delivered_keeps_a_whole_cycle(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("scale")
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 10000
    await customer.advance(to=MARCH)
    assert await customer.credits() == 10000


async def test_what_rolled_over_lives_on_again_within_the_cap(actors: Actors) -> None:
    customer = await begun(actors, 100, 250)
    for to, left in ((RENEWAL, 200), (MARCH, 300), (APRIL, 350), ("2027-05-01T10:00:00Z", 350)):
        await customer.advance(to=to)
        assert await customer.credits() == left
    await spend(customer, 320)
    await customer.advance(to="2027-06-01T10:00:00Z")
    assert await customer.credits() == 130


async def test_credits_roll_over_into_a_period_that_is_paid_late(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-04T12:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    assert await customer.credits() == 30
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", path, {}, key="k", status=200)
    await customer.until_subscription("active")
    assert await customer.credits() == 130
    await customer.advance(to=MARCH)
    assert await customer.credits() == 130
    assert await rolled(customer) == ["30.00", "30.00"]


async def test_the_months_of_a_year_roll_over(actors: Actors) -> None:
    customer = await begun(actors, interval="year")
    await customer.advance(to=MARCH)
    assert await customer.credits() == 130
    assert await rolled(customer) == ["30.00", "30.00"]


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_nothing_rolls_over_where_no_cycle_follows(actors: Actors, verb: str) -> None:
    customer = await begun(actors)
    await customer.ask("POST", f"{PATH}/{verb}", {"at": "period_end"}, status=200)
    ends = {lot["expires_at"].month for lot in await customer.grants("plan")}
    assert ends == {2}, "the account is told of their end"
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 0
    assert await rolled(customer) == []


async def test_credits_roll_over_where_an_end_or_a_pause_was_taken_back(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    planned = await customer.ask("POST", f"{PATH}/pause", {"at": "period_end"}, status=200)
    change = planned["scheduled_changes"][0]["change_id"]
    await customer.ask("DELETE", f"{PATH}/changes/{change}", status=200)
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 130


async def test_who_cancels_again_is_told_again_of_the_same_end(actors: Actors) -> None:
    """The notice's key was taken, so that the account's matter was halted until the end."""
    customer = await begun(actors, cap=100)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await customer.advance(to="2027-01-26T10:00:00Z")
    assert await notices(customer) == ["2027-02-01"]
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to="2027-01-26T10:01:00Z")
    await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await customer.advance(to="2027-01-26T10:02:00Z")
    assert await notices(customer) == ["2027-02-01"] * 2
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 0


async def notices(customer: Customer) -> list[str]:
    """The days of ends that the account was told of before they came."""
    rows = await customer.rows(
        "SELECT left(data ->> 'expires_at', 10) AS day FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.credits.expiring' ORDER BY seq"
    )
    return [row["day"] for row in rows]


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_an_end_now_leaves_the_credits_until_the_end_of_their_cycle(
    actors: Actors, verb: str
) -> None:
    customer = await begun(actors)
    await customer.advance(days=2)
    await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)
    assert await customer.credits() == 100
    if verb == "pause":
        await customer.advance(days=1)
        await customer.ask("POST", f"{PATH}/resume", status=200)
        assert await customer.credits() == 200
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == (100 if verb == "pause" else 0)


async def test_what_a_dearer_plan_brings_lives_on_within_its_cap(actors: Actors) -> None:
    customer = await begun(actors)
    dearer = await plan(actors, 200, 60, month=2000)
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("PUT", PATH, {"plan": dearer}, status=200)
    assert await customer.credits() == 150
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 260, "30 of the first, 30 more of what the change brought"
    cheaper = await plan(actors, 10, None, month=500)
    await customer.ask("PUT", PATH, {"plan": cheaper}, status=200)
    await customer.advance(to=MARCH)
    assert await customer.credits() == 70, "those of the plan that has ended are kept as it says"
    await customer.advance(to=APRIL)
    assert await customer.credits() == 70, "and kept again, for nothing of the other fills the cap"


async def test_another_interval_takes_over_what_lives_on(actors: Actors) -> None:
    key = await plan(actors, 100, 30, month=1000, year=10000)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key)
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("PUT", PATH, {"interval": "year", "at": "now"}, status=200)
    assert await customer.credits() == 150
    await customer.advance(to="2027-02-10T10:00:00Z")
    assert await customer.credits() == 130, "30 of January live on beside those of the cycle"
    await customer.advance(to="2027-02-17T10:00:00Z")
    assert await customer.credits() == 130


async def test_a_refund_takes_its_share_of_what_lives_on_too(actors: Actors) -> None:
    customer = await begun(actors)
    await refunded(customer, await paid_for(customer), 500)
    assert await customer.credits() == 50
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 115


async def test_a_change_gives_back_nothing_of_what_rolled_over(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-02-15T10:00:00Z")
    assert await customer.credits() == 130
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now", "refund": "credit"}, status=200)
    assert await customer.credits() == Decimal(80), "the half of the month, and what rolled over"


async def test_who_looks_late_finds_the_same_credits(actors: Actors) -> None:
    """Kept credits are there however late somebody looks, and no expiry takes them."""
    customer = await begun(actors)
    await customer.rows("UPDATE accounts SET clock_at = '2027-02-01T10:00:30Z' WHERE id = %(me)s")
    assert await customer.credits() == 30
    await spend(customer, 30)
    assert await customer.credits() == 0


@pytest.mark.parametrize(
    ("cap", "amount", "reasons"),
    [
        # The 70 that end with the cycle, then the gift; what lives on ends last, until the cancel.
        (30, 85, [("-70.00", "expiry"), ("-15.00", "expiry")]),
        # What lives on ends first, until it has rolled over.
        (250, 30, [("-30.00", "expiry")]),
    ],
)
async def test_a_debit_is_explained_by_the_ends_that_its_lots_had(
    actors: Actors, cap: int, amount: int, reasons: list[tuple[str, str]]
) -> None:
    customer = await begun(actors, cap=cap)
    end = "2027-02-15T10:00:00Z" if cap == 30 else "2027-03-15T10:00:00Z"
    gift = {"account_id": customer.id, "amount": "20", "reason": "a gift", "expires_at": end}
    await actors.operate("POST", "/admin/credits/adjust", gift, key=str(uuid4()))
    await spend(customer, amount)
    listed = await customer.ask("GET", "/billing/credits/transactions?limit=1")
    path = f"/billing/credits/transactions/{listed['data'][0]['transaction_id']}/explain"
    told = await customer.ask("GET", path)
    assert [(one["amount"], one["because"]) for one in told["lots"]] == reasons
    assert [one["words"] for one in told["passed_over"]] == ["its turn comes later"]

    if cap == 30:
        await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    else:
        await customer.advance(to=RENEWAL)

    ends = {lot["expires_at"].month for lot in await customer.grants("plan") if lot["is_open"]}
    assert 3 not in ends, "the ends have moved"
    assert await customer.ask("GET", path) == told
