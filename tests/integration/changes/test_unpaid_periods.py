"""A change that begins a new period by transfer: the unused time that it credits has paid a part of
its credits, which stays at a pause or an end as long as that money is here.

Both take it back alike (tests/unit/subscriptions/test_unpaid_periods.py has each with any changes),
so each amount is shown by one of them.
"""

from decimal import Decimal
from uuid import uuid4

import pytest

from billing.core.ids import INVOICE, encode
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import PATH, change
from tests.integration.changes.test_unpaid_changes import MAY, begun, last, left
from tests.integration.credits.test_top_ups import spend
from tests.integration.dunning.dunning_setup import under
from tests.integration.invoices.operator_commands import commanded
from tests.integration.money_seen import money, newest_invoice
from tests.integration.operator_acts import check_books
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for, refunded

NOW = {"at": "now"}


# Half of a month of 49.00 with 500 credits is over: 24.50 of it has paid 5% of 490.00, so 25 of the
# 500 credits of the new month. The 250 of the half that is over are spent first, then the 25.
@pytest.mark.parametrize(
    ("spent", "is_before", "kept", "verb"),
    [
        ("0", False, 275, "cancel"),
        ("260", True, 15, "pause"),
        ("260", False, 15, "cancel"),
        ("300", True, 0, "cancel"),
        ("300", False, 0, "pause"),
    ],
)
async def test_credits_that_unused_time_has_paid_stay(
    actors: Actors, spent: str, is_before: bool, kept: int, verb: str
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-04-16T10:00:00Z")
    if is_before and spent != "0":
        await spend(customer, spent)
    await change(customer, interval="year")
    assert left(await last(customer)) == ("open", 0, 49000 - 2450)
    if not is_before and spent != "0":
        await spend(customer, spent)
    assert await customer.credits() == 750 - int(spent)

    await customer.ask("POST", f"{PATH}/{verb}", NOW, status=200)

    assert left(await last(customer)) == ("paid", 46550, 0)
    assert await customer.credits() == kept
    assert await money(customer) == 0
    await check_books(customer)


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_money_for_the_new_period_adds_to_that_of_unused_time(
    actors: Actors, verb: str
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-04-16T10:00:00Z")
    await change(customer, interval="year")
    # With the 24.50 of unused time that is half of 490.00.
    paper = {"amount_cents": 24500 - 2450, "reference": "TRX-half"}
    await commanded(customer, await newest_invoice(customer), "record-payment", paper)
    assert left(await last(customer)) == ("open", 0, 24500)

    await customer.ask("POST", f"{PATH}/{verb}", NOW, status=200)

    assert left(await last(customer)) == ("paid", 24500, 0)
    assert await customer.credits() == 250 + 250
    await check_books(customer)


async def yearly(actors: Actors) -> Customer:
    """A card has paid the 49.00 of May; half of it is over as a year of 490.00 begins unpaid."""
    customer = await begun(actors)
    await customer.save_card()
    await customer.advance(to="2027-05-01T10:05:00Z")
    path = f"/billing/invoices/{encode(INVOICE, (await last(customer))['id'])}/pay"
    await customer.ask("POST", path, {}, key=str(uuid4()), status=200)
    await customer.advance(to="2027-05-16T22:00:00Z")
    await change(customer, interval="year")
    assert left(await last(customer)) == ("open", 0, 46550)
    assert await customer.credits() == 750
    return customer


async def taken(actors: Actors, customer: Customer, amount: int, verdict: str) -> None:
    """The bank of that card takes this amount of May."""
    payment = await paid_for(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"], amount=amount)
    await disputed(actors, customer, "open")
    await actors.sandbox.finish_dispute(opened.body["id"], verdict)
    await disputed(actors, customer, verdict)


@pytest.mark.parametrize(
    ("amount", "verdict", "before", "kept", "verb"),
    [
        # All of it: the 24.50 that had paid the year, too. The 250 credits of May go with it.
        (4900, "lost", "500", "0", "cancel"),
        # 12.25 beyond the served half: 12.25 of 490.00 stay paid, so 12.5 of 500 credits.
        (3675, "lost", "500", "12.5", "pause"),
        # Less than the served half: of May 20 of 49 parts of 500 credits go; 25 of the year stay.
        (2000, "lost", "545.918367", "70.918367", "cancel"),
        (4900, "won", "750", "275", "pause"),
    ],
)
async def test_unused_time_whose_money_a_bank_took_has_paid_nothing(
    actors: Actors, amount: int, verdict: str, before: str, kept: str, verb: str
) -> None:
    customer = await yearly(actors)
    await taken(actors, customer, amount, verdict)
    await until_credits(customer, before)

    await customer.ask("POST", f"{PATH}/{verb}", NOW, status=200)

    assert left(await last(customer)) == ("paid", 46550, 0)
    assert await customer.credits() == Decimal(kept)
    await check_books(customer)


@pytest.mark.parametrize(
    ("amount", "kept", "verb"),
    [
        # Of the 24.50 of May the year has used 13.39; 11.11 of 499.00 are 111.322645 of 5000
        # credits. The days that were served of May and the year brought 250 and 161.290323.
        (None, "522.612968", "pause"),
        # 13.39 beyond the served half of May: the served days of the year lose it, and 250 go.
        (3789, "272.612968", "cancel"),
        # 5.55 more: 5.56 of 499.00 stay paid, so 55.711423.
        (4344, "217.001746", "pause"),
        (4900, "161.290323", "cancel"),
    ],
)
async def test_unused_time_pays_along_two_changes(
    actors: Actors, amount: int | None, kept: str, verb: str
) -> None:
    customer = await yearly(actors)
    await customer.advance(to="2027-05-26T22:00:00Z")
    # 356 of 366 days of 490.00 are 476.61, of which 465.50 are owed.
    await change(customer, plan="enterprise", interval="month", at="now")
    assert left(await last(customer)) == ("open", 0, 49900 - 1111)
    # 21 of 31 days of 500 credits are deducted of 5000, and end.
    brought = Decimal("250") + Decimal("161.290323") + 5000
    assert await customer.credits() == brought
    if amount is not None:
        await taken(actors, customer, amount, "lost")
        await until_credits(customer, str(brought - 250))

    await customer.ask("POST", f"{PATH}/{verb}", NOW, status=200)

    assert left(await last(customer)) == ("paid", 48789, 0)
    assert await customer.credits() == Decimal(kept)
    await check_books(customer)


async def paid_in_part(
    customer: Customer, amount: int, reference: str, invoice: Json | None = None
) -> None:
    """An operator books a part of what is owed, by the newest invoice unless it is named."""
    paper = {"amount_cents": amount, "reference": reference}
    await commanded(customer, invoice or await newest_invoice(customer), "record-payment", paper)


@pytest.mark.parametrize(
    ("back", "after", "kept", "verb"),
    [(22500, 2750, 500, "pause"), (11250, 3875, 1625, "cancel")],
)
async def test_money_that_was_refunded_has_paid_none_of_the_credits_that_are_left(
    actors: Actors, back: int, after: int, kept: int, verb: str
) -> None:
    """Of 4500 more credits for 450.00 half is paid; the refund takes those of its money, and the
    rest of what was paid keeps its own.
    """
    customer = await begun(actors)
    await change(customer, plan="enterprise")
    assert left(await last(customer)) == ("open", 0, 45000)
    assert await customer.credits() == 5000
    await paid_in_part(customer, 22500, "TRX-half")
    await refunded(customer, await paid_for(customer), back, reference="OUT-1")
    await until_credits(customer, str(after))

    await customer.ask("POST", f"{PATH}/{verb}", NOW, status=200)

    assert left(await last(customer)) == ("paid", 22500, 0)
    assert await customer.credits() == kept
    await check_books(customer)


async def test_money_that_was_refunded_before_its_credits_came_brings_none(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=MAY)
    await paid_in_part(customer, 2450, "TRX-1")
    await refunded(customer, await paid_for(customer), reference="OUT-1")
    assert await customer.credits() == 0, "they wait for the payment of May"
    await paid_in_part(customer, 2450, "TRX-2")
    assert left(await last(customer))[0] == "paid"
    await until_credits(customer, "250")
    await check_books(customer)


async def owing_a_year_and_use(actors: Actors) -> tuple[Customer, Json, Json]:
    """In the third month of a year of 490.00 that is overdue, and so is use of the first month."""
    customer = await actors.customer_on_clock("2027-04-01T10:00:00Z")
    await customer.subscribe_by_transfer("pro", trial=True, interval="year", days_until_due=30)
    await under(customer, {"days": [0, 80]})
    await customer.advance(to="2027-04-20T10:00:00Z")
    await use(customer, "5200")
    await customer.advance(to="2027-06-20T10:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    used, year = (await customer.ask("GET", "/billing/invoices?status=pending"))["invoices"]
    return customer, year, used


@pytest.mark.parametrize("paid_last", ["use", "year"])
async def test_credits_that_come_once_nothing_is_overdue_lack_the_share_of_what_went_back(
    actors: Actors, paid_last: str
) -> None:
    customer, year, used = await owing_a_year_and_use(actors)
    before = await customer.credits()
    if paid_last == "year":
        await paid_in_part(customer, 300, "TRX-use", used)
    await paid_in_part(customer, 24500, "TRX-1", year)
    await refunded(customer, await paid_for(customer), 24500, reference="OUT-1")
    await paid_in_part(customer, 24500, "TRX-2", year)
    if paid_last == "use":
        assert (await customer.subscription())["status"] == "past_due"
        assert await customer.credits() == before, "they wait until nothing is overdue"
        await paid_in_part(customer, 300, "TRX-use", used)
    await customer.until_subscription("active")
    await until_credits(customer, str(before + 250))
    waits = "SELECT wanted_minor FROM refunds WHERE account_id = %(me)s"
    assert await customer.rows(waits) == [{"wanted_minor": 0}]
    await check_books(customer)
    await customer.advance(to="2027-07-16T10:00:00Z")
    assert await customer.credits() == before + 500, "a later month's come whole"


@pytest.mark.parametrize(
    ("wanted", "credits"),
    # The 24.50 of May that are paid have served its first half: its note takes off the other one.
    # It is settled so, and its 500 credits come; half of enterprise's 5000 less half of them, or
    # those of the year that begins instead of half of them, come with the change itself.
    [({"plan": "enterprise"}, 500 + 2250), ({"interval": "year"}, 500 + 250)],
    ids=["up", "year"],
)
async def test_credits_of_a_period_come_with_the_note_of_a_change_that_settles_it(
    actors: Actors, wanted: Json, credits: int
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-05-01T10:05:00Z")
    may = await last(customer)
    await paid_in_part(customer, 2450, "TRX-1")
    await customer.advance(to="2027-05-16T22:00:00Z")
    assert left(await last(customer)) == ("open", 0, 2450)
    assert await customer.credits() == 0, "they wait for the payment of May"

    await change(customer, **wanted)

    [settled] = [one for one in await customer.invoices() if one["id"] == may["id"]]
    assert left(settled) == ("paid", 2450, 0)
    assert await customer.credits() == credits
    await check_books(customer)
