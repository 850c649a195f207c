"""The trial of credits through the running stack: taken once, expired on its day, or converted."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from billing.core.database import Database
from billing.money.trials import reading
from billing.money.trials import service as trials
from billing.money.trials.transitions import trial_of
from billing.platform.accounts import store as accounts
from billing.platform.decisions.service import Read
from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.dunning.dunning_setup import START
from tests.integration.locked import LOCKED, WAITING, held, other_session, waiting, waiting_behind
from tests.integration.lost_answers import lose_answer


async def test_a_trial_brings_its_credits_at_once_and_only_once(customer: Customer) -> None:
    taken = await customer.ask("POST", "/billing/trials", status=201)
    assert (taken["status"], taken["days_remaining"]) == ("active", 14)
    assert await customer.credits() == 500
    await customer.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    assert await customer.credits() == 500
    assert (await customer.published()).count("evt.billing.trial.started") == 1


async def test_a_second_trial_whose_answer_was_lost_is_refused_when_it_is_asked_for_again(
    actors: Actors, customer: Customer
) -> None:
    first, second = str(uuid4()), str(uuid4())
    taken = await customer.ask("POST", "/billing/trials", {}, key=first, status=201)
    used = ("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    await customer.refused(*used, key=second)
    for key in (first, second):
        await lose_answer(actors, key)
    assert await customer.ask("POST", "/billing/trials", {}, key=first, status=201) == taken
    await customer.refused(*used, key=second)


async def test_what_is_left_of_a_trial_expires_and_what_was_bought_stays(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.bought("small")
    await customer.advance(to="2027-01-15T09:59:59Z")
    assert await customer.credits() == 600
    await customer.advance(to="2027-01-15T10:00:00Z")
    assert await customer.credits() == 100
    assert (await customer.ask("GET", "/billing/trials"))["status"] == "expired"
    await customer.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    ended = [name for name in await customer.published() if name.startswith("evt.billing.trial")]
    assert ended == ["evt.billing.trial.started", "evt.billing.trial.expired"]


async def test_the_first_paid_subscription_converts_a_trial(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.subscribed("pro")
    assert (await customer.ask("GET", "/billing/trials"))["status"] == "converted"
    assert await customer.credits() == 1000
    await customer.advance(to="2027-01-15T10:00:00Z")
    assert await customer.credits() == 500, "the trial's lot keeps its date"
    ended = [name for name in await customer.published() if name.startswith("evt.billing.trial")]
    assert ended == ["evt.billing.trial.started", "evt.billing.trial.converted"]


async def test_a_trial_beside_a_paid_subscription_is_converted_at_once(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribed("pro")
    taken = await customer.ask("POST", "/billing/trials", status=201)
    assert (taken["status"], taken["days_remaining"]) == ("converted", 0)
    assert await customer.credits() == 1000
    await customer.advance(to="2027-01-15T10:00:00Z")
    assert await customer.credits() == 500, "its credits keep their date"
    told = [name for name in await customer.published() if name.startswith("evt.billing.trial")]
    assert told == ["evt.billing.trial.started", "evt.billing.trial.converted"]


async def test_a_trial_beside_a_subscription_without_money_goes_on(actors: Actors) -> None:
    customer = await actors.customer_on_clock()
    await customer.subscribe("free")
    taken = await customer.ask("POST", "/billing/trials", status=201)
    assert (taken["status"], taken["days_remaining"]) == ("active", 14)


async def waits_without_the_trial(customer: Customer, asking: Coroutine[Any, Any, Json]) -> Json:
    """The account's lock is the trial's, too: who waits for it has locked no trial."""
    async with other_session(customer.actors.stack) as ending:
        mine = (customer.uuid,)
        await ending.execute(LOCKED, mine)
        asked = asyncio.create_task(asking)
        await waiting_behind(customer.actors, ending)
        await ending.execute("SELECT 1 FROM trials WHERE account_id = %s FOR UPDATE NOWAIT", mine)
    return await asked


async def test_who_subscribes_while_a_trial_ends_waits_without_the_trial(
    customer: Customer,
) -> None:
    await customer.ask("POST", "/billing/trials", status=201)
    wish = customer.ask("POST", "/billing/subscription", {"plan": "free"}, key=str(uuid4()))
    assert (await waits_without_the_trial(customer, wish))["status"] == "active"


async def test_the_end_of_a_trial_waits_for_the_account_without_the_trial(
    customer: Customer, database: Database
) -> None:
    await customer.ask("POST", "/billing/trials", status=201)

    async def end() -> Json:
        async with database.operator() as connection:
            rows, _ = await reading.read(connection, Read(customer.uuid, deciding=True))
        return {"status": trial_of(rows).status}

    assert (await waits_without_the_trial(customer, end()))["status"] == "active"


async def test_who_redeems_a_coupon_while_a_trial_ends_waits_without_the_trial(
    actors: Actors, customer: Customer
) -> None:
    first, second = f"C{uuid4().hex[:10].upper()}", f"C{uuid4().hex[:10].upper()}"
    for code in (first, second):
        terms = {"code": code, "name": "x", "percent": "10", "duration": "forever"}
        await actors.operate("POST", "/admin/coupons", terms, status=201)
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.save_card()
    await customer.subscribe("pro", trial=True)
    redeeming = customer.ask("POST", "/billing/subscription/coupon", {"code": first})
    await waits_without_the_trial(customer, redeeming)
    wish = {"plan": "basic", "coupon": second}
    changing = customer.ask("PUT", "/billing/subscription", wish, key=str(uuid4()))
    await waits_without_the_trial(customer, changing)
    shown = await customer.subscription()
    assert {one["code"] for one in shown["discounts"]} == {first, second}


async def test_who_steers_what_is_overdue_while_a_trial_ends_waits_without_the_trial(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    begun = await customer.subscribe("pro", trial=True)
    await customer.advance(days=5)
    await customer.ask("POST", "/billing/trials", status=201)
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to=begun["trial_end"])
    act = {"act": "pause_dunning", "reason": "a bad hour", "account_ids": [customer.id]}
    pausing = actors.operate("POST", "/admin/subscriptions/steer", act, key=str(uuid4()))
    (steered,) = (await waits_without_the_trial(customer, pausing))["data"]
    assert steered["invoices"][0]["dunning_status"] == "paused"


async def test_a_shop_that_is_named_after_its_trial_has_had_it(actors: Actors) -> None:
    first, second, third = [await actors.customer() for _ in range(3)]
    shop = {"platform": "shopify", "platform_domain": f"{uuid4()}.example"}

    async def named(customer: Customer) -> None:
        body = {"external_id": customer.account["external_id"]} | shop
        await actors.operate("POST", "/admin/accounts", body, status=200)

    await first.ask("POST", "/billing/trials", status=201)
    await third.ask("POST", "/billing/trials", status=201)
    await named(first)
    await named(second)
    await second.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    assert await second.credits() == 0
    await named(third)
    await named(first)
    domain = shop["platform_domain"]
    for spelling in (domain, domain.upper(), f"{domain}.", f"https://{domain}/", f"{domain}%20"):
        again = await actors.customer(**shop | {"platform_domain": spelling})
        await again.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")


async def test_a_shop_that_changes_its_domain_has_had_its_trial(actors: Actors) -> None:
    old, new = [f"{uuid4()}.example" for _ in range(2)]
    shop = await actors.customer(platform="shopify", platform_domain=old)
    await shop.ask("POST", "/billing/trials", status=201)
    body = {
        "external_id": shop.account["external_id"], "platform": "shopify", "platform_domain": new,
    }  # fmt: skip
    await actors.operate("POST", "/admin/accounts", body, status=200)
    for domain in (old, new):
        again = await actors.customer(platform="shopify", platform_domain=domain)
        assert (await again.ask("GET", "/billing/trials"))["status"] == "expired"
        await again.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")


async def test_a_shop_that_changes_its_domain_while_its_trial_begins_has_had_it(
    actors: Actors,
) -> None:
    old, new = [f"{uuid4()}.example" for _ in range(2)]
    shop = await actors.customer(platform="shopify", platform_domain=old)
    body = {
        "external_id": shop.account["external_id"], "platform": "shopify", "platform_domain": new,
    }  # fmt: skip
    async with held(shop):
        begins = asyncio.create_task(shop.ask("POST", "/billing/trials", status=201))
        await waiting(shop, 1)
        moves = asyncio.create_task(actors.operate("POST", "/admin/accounts", body, status=200))

        async def waits_too() -> bool:
            return moves.done() or len(await actors.sql(WAITING)) > 1

        await wait_for(waits_too, "it moves or waits")
    await asyncio.gather(begins, moves)
    for domain in (old, new):
        again = await actors.customer(platform="shopify", platform_domain=domain)
        await again.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")


async def test_two_accounts_of_a_shop_that_are_named_at_once_are_both_named(
    actors: Actors, database: Database
) -> None:
    first, second = [await actors.customer() for _ in range(2)]
    for one in (first, second):
        await one.ask("POST", "/billing/trials", status=201)
    shop = {"platform": "shopify", "platform_domain": f"{uuid4()}.example"}
    body = {"external_id": second.account["external_id"]} | shop
    async with database.operator() as connection:
        known = await accounts.get(connection, first.uuid)
        await trials.remember_identity(connection, known.model_copy(update=shop))
        named = asyncio.create_task(actors.operate("POST", "/admin/accounts", body, status=200))
        await asyncio.wait([named], timeout=0.5)
        assert not named.done(), "it waits for the other"
    assert (await named)["platform_domain"] == shop["platform_domain"]


async def test_one_trial_per_shop_even_under_another_account(actors: Actors) -> None:
    domain = f"{uuid4()}.example"
    first = await actors.customer(platform="shopify", platform_domain=domain)
    second = await actors.customer(platform="shopify", platform_domain=domain.upper())
    assert (await second.ask("GET", "/billing/trials"))["status"] == "available"
    await first.ask("POST", "/billing/trials", status=201)
    refused = await second.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    assert refused["detail"] == "another account of the same shop has already used the trial"
    refused = await first.refused("TRIAL_ALREADY_USED", "POST", "/billing/trials")
    assert refused["detail"] == "this account has already used its trial"
    assert await second.credits() == 0
    seen = await second.ask("GET", "/billing/trials")
    assert (seen["status"], seen["trial_id"]) == ("expired", None)
