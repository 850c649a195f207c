"""A dry run whose token is given: exactly what it said is charged and given back, or nothing."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import use
from tests.integration.arrears.test_minimum_and_money_back import begun as minimum_begun
from tests.integration.changes.chosen_plans import PATH, begun
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import charged, money, newest_invoice
from tests.integration.payments.test_money_balance import adjust

DRY = "?dry_run=true"
REFUND = {"at": "now", "refund": "refund"}


async def paused(actors: Actors) -> Customer:
    customer = await begun(actors)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(days=3)
    return customer


async def previewed(customer: Customer, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the token of its dry run."""
    seen = await customer.ask("POST", f"{PATH}/{verb}{DRY}", body, status=200)
    return body | {"preview_token": seen["preview_token"]}


async def test_an_end_gives_back_what_its_dry_run_counted_some_minutes_before(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro", interval="yearly")
    await customer.advance(days=31)
    seen = await customer.ask("POST", f"{PATH}/cancel{DRY}", REFUND, status=200)
    await customer.advance(to="2027-02-01T10:14:00Z")
    later = await customer.ask("POST", f"{PATH}/cancel{DRY}", REFUND, status=200)
    assert later["credited_cents"] < seen["credited_cents"]
    body = REFUND | {"preview_token": seen["preview_token"]}
    done = await customer.ask("POST", f"{PATH}/cancel", body, status=200)
    assert done["given_back"]["refunded_cents"] == seen["refunded_cents"]
    assert await money(customer) == 0


async def test_an_end_counts_a_minimum_and_what_is_owed_as_its_dry_run_did(
    actors: Actors,
) -> None:
    customer = await minimum_begun(actors, amount_cents=100_000, minimum_cents=1_000_000)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-05-01T12:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    body = await previewed(customer, "cancel", {"at": "now"})
    seen = await customer.ask("POST", f"{PATH}/cancel{DRY}", {"at": "now"}, status=200)
    await customer.advance(to="2027-05-01T12:12:00Z")
    later = await customer.ask("POST", f"{PATH}/cancel{DRY}", {"at": "now"}, status=200)
    assert later["credited_cents"] < seen["credited_cents"]
    assert later["invoice"] != seen["invoice"]
    await customer.ask("POST", f"{PATH}/cancel", body, status=200)


async def test_an_end_is_refused_where_something_was_used_since_its_dry_run(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    body = await previewed(customer, "cancel", REFUND)
    await use(customer, "100")
    await customer.refused("PREVIEW_EXPIRED", "POST", f"{PATH}/cancel", body)
    assert (await customer.subscription())["status"] == "active"
    other = {"at": "period_end", "preview_token": body["preview_token"]}
    await customer.refused("PREVIEW_EXPIRED", "POST", f"{PATH}/cancel", other)
    ends = await previewed(customer, "cancel", {"at": "period_end"})
    done = await customer.ask("POST", f"{PATH}/cancel", ends, status=200)
    assert done["cancel_at_period_end"]


async def test_a_resumption_charges_what_its_dry_run_said_or_nothing(actors: Actors) -> None:
    customer = await paused(actors)
    body = await previewed(customer, "resume", {})
    before = await charged(customer)
    await adjust(customer, 500)
    await customer.refused("PREVIEW_EXPIRED", "POST", f"{PATH}/resume", body)
    assert await charged(customer) == before
    assert (await customer.subscription())["status"] == "paused"

    body = await previewed(customer, "resume", {})
    await customer.advance(to="2027-01-04T10:05:00Z")
    again = await customer.ask("POST", f"{PATH}/resume", body, status=200)
    assert (again["status"], await charged(customer)) == ("active", [*before, 1400])
    assert again["current_period_start"] == "2027-01-04T10:05:00Z"


async def test_the_money_balance_stays_where_it_is_not_to_be_used(actors: Actors) -> None:
    customer = await paused(actors)
    await adjust(customer, 500)
    keep = {"use_balance": False}
    seen = await customer.ask("POST", f"{PATH}/resume{DRY}", keep, status=200)
    assert seen["due_now_cents"] == 1900
    token = {"preview_token": seen["preview_token"]}
    await customer.refused("PREVIEW_EXPIRED", "POST", f"{PATH}/resume", token)
    await customer.ask("POST", f"{PATH}/resume", keep | token, status=200)
    wish = {"plan": "pro"} | keep
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    await customer.ask("PUT", PATH, wish | {"preview_token": seen["preview_token"]}, status=200)
    assert await charged(customer) == [1900, 1900, seen["due_now_cents"]]
    assert (seen["invoice"]["balance_applied_cents"], await money(customer)) == (0, 500)


async def test_nor_is_it_used_where_an_invoice_is_sent(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribe_by_transfer("basic", days_until_due=30)
    paper = {"amount_cents": 1900, "reference": f"TRX-{uuid4().hex[:10]}"}
    await commanded(customer, await newest_invoice(customer), "record-payment", paper)
    await adjust(customer, 500)
    await customer.ask("PUT", PATH, {"plan": "pro", "use_balance": False}, status=200)
    sent = await newest_invoice(customer)
    assert (sent["status"], sent["balance_applied"]) == ("open", 0)
    assert await money(customer) == 500
