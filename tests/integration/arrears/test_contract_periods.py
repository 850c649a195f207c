"""The period that a contract begins with, if that is not simply the next renewal."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.contract_terms import PRICE, agree, coming
from tests.integration.arrears.overage_uses import START
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences

PATH = "/billing/subscription"
YEARLY: Json = {
    "plan": "pro", "interval": "year", "currency": "USD", "amount_cents": 1200000,
}  # fmt: skip


async def test_a_change_that_begins_a_period_begins_the_contract(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("free")
    committed = {"amount_cents": 5000000, "currency": "USD", "periods": 1}
    sent = {"collection": "send_invoice", "days_until_due": 30}
    await agree(customer, prices=[YEARLY], commitment=committed, **sent)
    await customer.advance(days=10)

    await customer.ask("PUT", PATH, {"plan": "pro", "interval": "year"}, status=200)

    sold = await customer.subscription()
    assert (sold["collection"], sold["days_until_due"]) == ("send_invoice", 30)
    assert sold["commitment"]["ends_at"] == "2028-01-11T10:00:00Z"
    (first,) = [one for one in await customer.invoices() if one["total_minor"]]
    assert (first["status"], first["total_minor"]) == ("open", 1200000)
    assert f"{first['due_at']:%Y-%m-%d}" == "2027-02-10"
    assert await coming(customer) == [("plan", 1200000), ("commitment", 3800000)]
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_change_that_is_declined_leaves_the_way_of_payment(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe_by_transfer("free")
    await agree(customer, prices=[YEARLY], collection="charge")
    await customer.script("insufficient_funds", then="normal")
    change = {"plan": "pro", "interval": "year"}
    await customer.refused("CARD_DECLINED", "PUT", PATH, change)
    assert (await customer.subscription())["collection"] == "send_invoice"

    await customer.ask("PUT", PATH, change, status=200)

    assert (await customer.subscription())["collection"] == "charge"
    assert await charged(customer) == [1200000]


async def test_a_trial_that_ends_in_a_pause_owes_nothing_of_a_commitment(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    committed = {"amount_cents": 10000, "currency": "USD", "periods": 2}
    await agree(customer, prices=[], commitment=committed)
    await customer.subscribe("basic", trial=True)
    await customer.rows(
        "UPDATE subscriptions SET trial_end_behavior = 'pause' WHERE account_id = %(me)s"
    )
    await customer.advance(to="2027-03-20T10:00:00Z")
    paused = await customer.subscription()
    assert (paused["status"], paused["commitment"]) == ("paused", None)
    assert await customer.invoices() == []
    await customer.save_card()

    await customer.ask("POST", f"{PATH}/resume", status=200)

    assert (await customer.subscription())["commitment"]["ends_at"] == "2027-05-20T10:00:00Z"
    assert await differences(actors.sql, [customer.uuid]) == []


LIMITS: Json = {"ai_responses": {"included": "10", "then": "overage", "prices": {"USD": "1"}}}


async def test_limits_end_with_a_period_of_a_subscription_that_came_later(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE], limits=LIMITS, effective_to="2027-02-10T10:00:00Z")
    await customer.advance(days=4)
    await customer.subscribed("basic")
    seen = []
    for at in ("2027-02-20", "2027-03-10", "2027-03-15"):
        await customer.advance(to=f"{at}T10:00:00Z")
        seen.append((await included(customer))[1])
        if at == "2027-02-20":
            days = {"days": 10, "reason": "an outage of ours"}
            path = f"/admin/accounts/{customer.id}/subscription/extend"
            await actors.operate("POST", path, days, status=200, key=str(uuid4()))
    assert seen == ["10.00", "10.00", "500.00"]


async def test_limits_begin_with_the_period_of_a_change(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[PRICE | {"interval": "3 months"}], limits=LIMITS)
    assert (await included(customer))[1] == "500.00"
    await customer.advance(days=10)
    change = {"interval": "3 months"}
    await customer.ask("PUT", f"{PATH}?dry_run=true", change, status=200)
    assert (await included(customer))[1] == "500.00"

    await customer.ask("PUT", PATH, change, status=200)

    assert (await included(customer))[1] == "10.00"


async def test_limits_end_with_their_contract_after_the_subscription_has_ended(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await agree(customer, prices=[PRICE], limits=LIMITS, effective_to="2027-01-20T10:00:00Z")
    await customer.subscribed("basic")
    await customer.advance(days=4)
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)
    assert (await included(customer))[1] == "10.00"

    await customer.advance(to="2027-01-20T11:00:00Z")

    assert (await included(customer))[1] == "50.00"


async def test_limits_that_waited_for_a_period_begin_when_the_subscription_ends(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    agreed = {"effective_from": "2027-01-10T10:00:00Z", "effective_to": "2027-02-20T10:00:00Z"}
    await agree(customer, prices=[PRICE], limits=LIMITS, **agreed)
    await customer.advance(days=10)
    assert (await included(customer))[1] == "500.00"

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)

    assert (await included(customer))[1] == "10.00"
    await customer.advance(to="2027-02-20T11:00:00Z")
    assert (await included(customer))[1] == "50.00"


@pytest.mark.parametrize("until", ["2027-02-10T10:00:00Z", "2027-03-10T10:00:00Z"])
async def test_a_contract_for_a_time_leaves_the_next_one_with_its_limits(
    actors: Actors, until: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    chats: Json = {"chat_messages": {"included": "5"}}
    lasting = await agree(customer, prices=[], limits=LIMITS, effective_from="2027-02-20T10:00:00Z")
    await agree(customer, prices=[], limits=chats, effective_to=until)

    await customer.advance(to=until)

    path = f"/admin/accounts/{customer.id}/contract"
    then = await actors.operate("GET", path, status=200)
    begins = max(until, lasting["effective_from"])
    assert then == lasting | {"effective_from": begins}
    await customer.advance(to="2027-04-10T11:00:00Z")
    assert (await included(customer))[1] == "10.00"


async def test_an_end_beyond_the_calendar_is_refused_by_its_field(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    last, beyond = "9000-12-31T00:00:00Z", "9998-12-31T00:00:00Z"
    path = f"/admin/accounts/{customer.id}/contract"
    contract: Json = {"prices": [PRICE], "limits": LIMITS, "effective_to": beyond}
    refused = await actors.operate("PUT", path, contract, status=422)
    assert [one["field"] for one in refused["errors"]] == ["effective_to"]
    await customer.refused("VALIDATION_FAILED", "POST", f"{PATH}/cancel", {"cancel_at": beyond})

    await agree(customer, **contract | {"effective_to": last})
    await customer.ask("POST", f"{PATH}/cancel", {"cancel_at": last}, status=200)


TWENTY: Json = {"ai_responses": {"included": "20"}}
QUARTERS: Json = PRICE | {"interval": "3 months"}


async def limited(customer: Customer) -> list[tuple[str, str, str]]:
    """Units, first and last day of the limits that were ever agreed, newest first."""
    path = f"/admin/accounts/{customer.id}/limits"
    return [
        (one["included"], one["effective_from"][:10], (one["effective_to"] or "")[:10])
        for one in (await customer.actors.operate("GET", path, status=200))["data"]
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "day"),
    [
        ("PUT", PATH, {"interval": "3 months"}, "2027-05-15"),
        ("POST", f"{PATH}/cancel", {"at": "now"}, "2027-02-20"),
    ],
)
async def test_limits_that_are_put_off_begin_when_those_before_them_end(
    actors: Actors, method: str, path: str, body: Json, day: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[], limits=LIMITS, effective_from="2027-02-10T10:00:00Z")
    until = {"effective_to": "2027-02-20T10:00:00Z"}
    await agree(customer, prices=[QUARTERS], limits=TWENTY, **until)
    await customer.advance(to="2027-02-15T10:00:00Z")

    await customer.ask(method, path, body, status=200)

    assert await limited(customer) == [("10.00", day, ""), ("20.00", "2027-02-01", day)]


async def test_limits_end_with_a_contract_that_another_ends_earlier(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[], limits=LIMITS, effective_to="2027-02-20T10:00:00Z")
    await agree(customer, prices=[], effective_from="2027-02-10T10:00:00Z")
    await customer.advance(to="2027-02-05T10:00:00Z")

    await customer.ask("POST", f"{PATH}/cancel", {"at": "now"}, status=200)

    assert await limited(customer) == [("10.00", "2027-02-01", "2027-02-10")]


async def test_limits_of_a_contract_that_ended_before_they_began_do_not_come_back(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[], limits=LIMITS, effective_from="2027-01-10T10:00:00Z")
    for_a_time = {"effective_from": "2027-01-15T10:00:00Z", "effective_to": "2027-02-20T10:00:00Z"}

    await agree(customer, prices=[], limits=TWENTY, **for_a_time)

    assert await limited(customer) == [("20.00", "2027-02-01", "2027-03-01")]


async def test_a_contract_without_a_period_ends_the_limits_of_the_one_before(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[], limits=LIMITS)
    await customer.advance(to="2027-02-05T10:00:00Z")

    await agree(customer, prices=[], limits=TWENTY, effective_to="2027-02-20T10:00:00Z")

    assert await limited(customer) == [("10.00", "2027-02-01", "2027-03-01")]


async def test_a_contract_agreed_now_is_replaced_for_good_at_the_same_instant(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    await agree(customer, prices=[], limits=LIMITS)

    await agree(customer, prices=[], limits=TWENTY, effective_to="2027-02-20T10:00:00Z")

    assert await limited(customer) == [("20.00", "2027-02-01", "2027-03-01")]
    await customer.advance(to="2027-02-20T10:00:00Z")
    await actors.operate("GET", f"/admin/accounts/{customer.id}/contract", status=404)
