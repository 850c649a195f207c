"""Credits that live on through changes, ends, money that goes back, and days that are given."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select

from billing.ledger.credits import rollover
from billing.ledger.credits.schemas import Kept
from billing.ledger.credits.tables import credit_lots
from tests.integration.actors import Actors, Customer
from tests.integration.credits.accounts import CreditAccount
from tests.integration.credits.books import decimals
from tests.integration.credits.test_rollover import APRIL, MARCH, PATH, begun, plan, rolled, spend
from tests.integration.dunning.dunning_setup import RENEWAL, START, owed
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for, refunded


async def give_week(customer: Customer) -> None:
    """An operator moves the end of the period."""
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    gift = {"days": 7, "reason": "an outage"}
    await customer.actors.operate("POST", path, gift, status=200, key=str(uuid4()))


@pytest.mark.parametrize("spent", [0, 5000])
async def test_a_cycle_that_a_change_cut_keeps_its_credits_in_what_is_given_back(
    actors: Actors, spent: int
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("scale")
    await customer.advance(to="2027-01-01T10:01:00Z")
    if spent:
        await spend(customer, spent)
    await customer.ask("PUT", PATH, {"interval": "year", "at": "now"}, status=200)
    asked = {"at": "now", "refund": "credit"}
    if spent:
        refused = await customer.ask("POST", f"{PATH}/cancel", asked, status=409)
        assert refused["code"] == "CREDITS_SPENT"
        return
    await customer.ask("POST", f"{PATH}/cancel", asked, status=200)
    assert await customer.credits() < 1, "what was used of the month's first minute"


async def test_a_refund_of_a_year_leaves_what_had_passed_of_the_month_that_it_cut(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("scale")
    await customer.advance(to="2027-01-01T10:01:00Z")
    await customer.ask("PUT", PATH, {"interval": "year", "at": "now"}, status=200)
    await refunded(customer, await paid_for(customer))
    assert 0 < await customer.credits() < 1, "the month's first minute"


async def test_another_subscription_keeps_no_credits_of_the_first_alive(
    actors: Actors,
) -> None:
    key = await plan(actors, 100, 100)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key)
    await customer.advance(days=2)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    await customer.advance(days=10)
    await customer.subscribe(key)
    await customer.advance(days=5)
    assert await customer.credits() == 200
    await customer.advance(to="2027-02-01T10:00:00Z")
    assert await customer.credits() == 100, "those of the first have ended with its cycle"


async def test_a_pause_ends_credits_with_their_cycle_whatever_follows(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(days=2)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to="2027-02-01T12:00:00Z")
    assert await customer.credits() == 100


@pytest.mark.parametrize("cap", [100, 250])
async def test_a_refund_leaves_what_another_invoice_paid_for(actors: Actors, cap: int) -> None:
    customer = await begun(actors, 100, cap)
    await customer.advance(to="2027-02-05T10:00:00Z")
    assert await customer.credits() == 200
    await refunded(customer, await paid_for(customer), 1000)
    assert await customer.credits() == 100, "those of January"


@pytest.mark.parametrize("cap", [100, 250])
async def test_a_refund_of_a_year_takes_what_rolled_over_in_it(actors: Actors, cap: int) -> None:
    customer = await begun(actors, 100, cap, interval="year")
    await customer.advance(to="2027-03-05T10:00:00Z")
    assert await customer.credits() == (200 if cap == 100 else 300)
    await refunded(customer, await paid_for(customer), 10000)
    assert await customer.credits() == 0


async def test_what_a_plan_brought_ends_with_its_cycle_where_another_has_no_rule(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.ask("PUT", PATH, {"plan": await plan(actors, 100, None, month=2000)}, status=200)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "period_end"}, status=200)
    await customer.advance(to=RENEWAL)
    assert await customer.credits() == 0


async def test_the_cap_of_the_plan_that_brought_them_holds_under_another(actors: Actors) -> None:
    customer = await begun(actors, 100, 150)
    await customer.advance(to=MARCH)
    assert await customer.credits() == 250
    await customer.ask("PUT", PATH, {"plan": await plan(actors, 100, None, month=2000)}, status=200)
    await customer.advance(to=APRIL)
    assert await customer.credits() == 250
    assert (await rolled(customer))[-2:] == ["100.00", "50.00"]
    await customer.advance(to="2027-05-01T10:00:00Z")
    assert await customer.credits() == 250, (
        "the other plan's own end with their cycle, and fill none"
    )
    assert (await rolled(customer))[-2:] == ["100.00", "50.00"]


@pytest.mark.parametrize("paid_first", [True, False])
async def test_days_given_before_or_after_the_payment_let_the_same_live_on(
    actors: Actors, paid_first: bool
) -> None:
    customer = await begun(actors)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-04T12:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    if not paid_first:
        await give_week(customer)
    await customer.script("succeed", then="last")
    path = f"/billing/invoices/{(await owed(customer))['invoice_id']}/pay"
    await customer.ask("POST", path, {}, key="k", status=200)
    await customer.until_subscription("active")
    if paid_first:
        await give_week(customer)
    await customer.advance(to="2027-03-04T10:00:00Z")
    assert await customer.credits() == 30
    await customer.advance(to="2027-03-08T12:00:00Z")
    assert await customer.credits() == 130
    assert (await rolled(customer))[-1] == "30.00"


async def test_credits_live_on_again_beside_cycles_that_are_never_paid(actors: Actors) -> None:
    customer = await begun(actors, 100, 100)
    await customer.rows(
        "UPDATE subscriptions SET status = 'unpaid', unpaid_at = '2027-01-20T10:00:00Z'"
        " WHERE account_id = %(me)s"
    )
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert await customer.credits() == 100
    await customer.advance(to="2027-03-02T10:00:00Z")
    assert await customer.credits() == 100, "none of February's have come to fill the cap"


async def grant_cycle(account: CreditAccount, *, kept: int) -> None:
    """A cycle's 100 credits, of which so many live on, arrive, and are told again."""
    now = datetime.now(UTC)
    end, until = now + timedelta(days=1), now + timedelta(days=2)
    part = Kept(
        amount=Decimal(kept), cap=Decimal(kept), cycle_start=now, cycle_end=end, until=until
    )
    facts = {"kind": "plan", "key": f"test/{uuid4()}", "is_paid": False, "reason": "a cycle"}
    facts |= {"subject": "test", "expires_at": end, "at": now, "amount": Decimal(100)}
    for _ in range(2):
        await account.do(rollover.grant, kept=part, **facts)


async def test_no_more_lives_on_than_arrives(account: CreditAccount) -> None:
    await grant_cycle(account, kept=130)
    assert (await account.books()).balance == 100


async def test_a_debt_in_credits_is_paid_from_those_that_end_first(account: CreditAccount) -> None:
    await account.allow_debt("40")
    await account.debit("40", force=True)
    await grant_cycle(account, kept=30)
    books = await account.books()
    assert (books.balance, books.debt) == decimals(60, 0)
    async with account.transaction() as connection:
        lot = credit_lots.c
        left = await connection.scalars(
            select(lot.remaining).where(lot.account_id == account.id).order_by(lot.expires_at)
        )
    assert tuple(left) == decimals(30, 30)


async def broken(customer: Customer) -> list[str]:
    """The rules that the books of the account break."""
    report = await customer.actors.operate("GET", f"/admin/integrity?account={customer.id}")
    return [one["name"] for one in report["checks"] if not one["ok"]]


TWICE = """
    INSERT INTO credit_lots SELECT (jsonb_populate_record(l, jsonb_build_object(
        'id', gen_random_uuid(), 'remaining', 0, 'is_open', false,
        'grant_key', left(l.grant_key, -20) || '2027-01-02T10:00:00Z'))).*
    FROM credit_lots l WHERE account_id = %(me)s AND cycle_end IS NOT NULL AND is_open
    ORDER BY granted_seq LIMIT 1
"""
ENDLESS = """
    UPDATE credit_lots SET kept_from = kept_from + interval '70 days',
        expires_at = expires_at + interval '70 days'
    WHERE account_id = %(me)s AND kept_from IS NOT NULL AND is_open
"""


@pytest.mark.parametrize("damage", [TWICE, ENDLESS])
async def test_books_show_credits_that_came_twice_or_live_on_for_too_long(
    actors: Actors, damage: str
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-02-05T10:00:00Z")
    assert await broken(customer) == []
    await customer.rows(damage)
    assert "cycles_granted_once" in await broken(customer)


async def weekly(actors: Actors) -> str:
    """A plan of four weeks whose credits come each week, and roll over."""
    key = f"weeks-{uuid4().hex[:8]}"
    terms = {
        "name": "Weeks", "family": "rolls", "monthly_credits": "35", "allowance": "week",
        "rollover": {"policy": "cap", "credits": "35"}, "prices": {"4 weeks": {"USD": 1400}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    return key


@pytest.mark.parametrize("way", ["change", "resume"])
async def test_what_rolled_over_into_a_cycle_that_was_cut_keeps_its_end_in_clean_books(
    actors: Actors, way: str
) -> None:
    customer = await begun(actors, 100, 100)
    await customer.advance(to="2027-02-05T10:00:00Z")
    wanted = {"plan": await weekly(actors), "interval": "4 weeks"}
    if way == "resume":
        await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
        await customer.ask("PUT", PATH, wanted, status=200)
        await customer.advance(to="2027-02-06T10:00:00Z")
        await customer.ask("POST", f"{PATH}/resume", {}, status=200)
    else:
        await customer.ask("PUT", PATH, wanted | {"at": "now"}, status=200)
    assert await broken(customer) == []
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert await broken(customer) == []
    await customer.advance(to="2027-02-28T10:00:00Z")
    assert await broken(customer) == []
    assert await customer.credits() >= 100
    await customer.advance(to=MARCH)
    assert await broken(customer) == []
    assert await customer.credits() == 0


@pytest.mark.parametrize(("days", "back", "left"), [(5, 35, 35), (14, 70 + 14, 14)])
async def test_what_a_won_dispute_returns_lasts_for_thirty_days_in_clean_books(
    actors: Actors, days: int, back: int, left: int
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(await weekly(actors), interval="4 weeks")
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(intent, "general", amount=560)
    await disputed(actors, customer, "open")
    await customer.advance(days=days)
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    assert await customer.credits() == back
    assert await broken(customer) == []
    await customer.advance(days=10)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now", "refund": "credit"}, status=200)
    assert await broken(customer) == []
    await customer.advance(days=19)
    assert await customer.credits() == left, "the others have ended with their cycles"
    await customer.advance(days=2)
    assert await customer.credits() == 0
    assert await broken(customer) == []


async def won_after(actors: Actors, between: Callable[[Customer], Awaitable[None]]) -> Customer:
    """A dispute of all that a cycle cost, that is won on 11 January; so it lasts to 10 February."""
    customer = await begun(actors, 100, 100)
    await customer.advance(days=10)
    intent = (await paid_for(customer))["stripe_payment_intent_id"]
    opened = await actors.sandbox.dispute(intent, "general")
    await disputed(actors, customer, "open")
    await until_credits(customer, "0")
    await between(customer)
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await disputed(actors, customer, "won")
    await until_credits(customer, "100")
    assert await broken(customer) == []
    return customer


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_what_is_returned_after_an_end_or_a_pause_lasts_for_thirty_days_alone(
    actors: Actors, verb: str
) -> None:
    async def ended(customer: Customer) -> None:
        await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)

    customer = await won_after(actors, ended)
    await customer.advance(to="2027-02-09T10:00:00Z")
    assert await customer.credits() == 100
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert await customer.credits() == 0
    assert await broken(customer) == []


async def test_what_is_returned_after_days_were_given_rolls_over_at_the_new_end(
    actors: Actors,
) -> None:
    customer = await won_after(actors, give_week)
    await customer.advance(to="2027-03-04T10:00:00Z")
    assert await customer.credits() == 200
    await customer.advance(to="2027-03-08T12:00:00Z")
    assert await rolled(customer) == ["100.00", "100.00"]
    assert await broken(customer) == []


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_books_are_clean_after_an_end_or_a_pause(actors: Actors, verb: str) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-02-05T10:00:00Z")
    await customer.ask("POST", f"{PATH}/{verb}", {"at": "now"}, status=200)
    assert await broken(customer) == []
    await customer.advance(to="2027-02-20T10:00:00Z")
    assert await broken(customer) == []


async def test_the_timeline_shows_what_lives_on_again_until_its_end(actors: Actors) -> None:
    customer = await begun(actors, 100, 250)
    coming = (await customer.ask("GET", "/billing/timeline"))["future"]
    assert [
        one for one in coming if one["name"] == "expire_credits" and one["at"] < "2027-04"
    ] == []
    assert coming
