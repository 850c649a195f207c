"""An operator's act on a plan reads its own subscribers, not all of the shop."""

from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.periods import Interval
from billing.money.bulk_acts import store as bulk_acts
from billing.money.bulk_acts.schemas import Choice
from billing.money.subscriptions import entitlements
from billing.money.wrong_prices import service
from billing.money.wrong_prices.schemas import Named
from billing.platform.audit import service as audit
from tests.integration.actors import Actors, Customer
from tests.integration.changes.test_wrong_prices import MEANT, TERMS, WRONG
from tests.integration.rows_fetched import fetched

MANY = 1_500
OTHERS = text(
    f"""
    WITH others AS (
        INSERT INTO accounts SELECT (jsonb_populate_record(t, jsonb_build_object(
            'id', gen_random_uuid(), 'external_id', gen_random_uuid(),
            'stripe_customer_id', NULL))).*
        FROM accounts AS t, generate_series(1, {MANY}) WHERE t.id = :me RETURNING id)
    INSERT INTO subscriptions SELECT (jsonb_populate_record(t, jsonb_build_object(
        'id', gen_random_uuid(), 'account_id', others.id, 'plan_key', CAST(:plan AS text)))).*
    FROM subscriptions AS t, others WHERE t.account_id = :me
    """
)
STEPS = text(
    f"""
    INSERT INTO steps (key, workflow_id, account_id, name, due_at, ran_at, real_ran_at)
    SELECT gen_random_uuid(), 'a', :me, 'pay', t, t, t
    FROM generate_series(1, {MANY}), clock_timestamp() AS t
    """
)


async def with_subscribers(
    actors: Actors, superuser: AsyncConnection, *, of_another: bool = False
) -> tuple[str, Customer]:
    """A plan whose price was replaced, with a customer; and many more, of it or another."""
    plan = f"slip-{uuid4().hex[:8]}"
    for terms in (TERMS, WRONG):
        await actors.operate("PUT", f"/admin/plans/{plan}{MEANT}", terms)
    customer = await actors.customer()
    await customer.subscribed(plan)
    others = {"me": customer.uuid, "plan": "another" if of_another else plan}
    await superuser.execute(OTHERS, others)
    await superuser.execute(text("ANALYZE accounts, subscriptions"))
    return plan, customer


async def test_the_subscribers_of_other_plans_are_not_counted(
    actors: Actors, superuser: AsyncConnection
) -> None:
    plan, _ = await with_subscribers(actors, superuser, of_another=True)
    before = await fetched(superuser, "subscriptions")
    found = await entitlements.sold(superuser, plan)
    assert [(key[1], sold.subscriptions) for key, sold in found.items()] == [(plan, 1)]
    assert await fetched(superuser, "subscriptions") - before < MANY / 10


async def test_a_price_that_is_off_sale_is_undone_without_counting_its_subscribers(
    actors: Actors, superuser: AsyncConnection
) -> None:
    plan, _ = await with_subscribers(actors, superuser)
    named = Named(
        plan=plan, interval=Interval(unit="month", count=1), currency="USD",
        wrong_version=1, right_version=2,
    )  # fmt: skip
    mistake = await service.read(superuser, named, "a slip of the pen", "balance")
    before = await fetched(superuser, "subscriptions")
    assert not await service.put_on_sale(superuser, mistake)
    assert await fetched(superuser, "subscriptions") == before


async def test_who_is_done_already_is_found_among_all_subscribers_when_a_page_is_sent_again(
    actors: Actors, superuser: AsyncConnection
) -> None:
    plan, customer = await with_subscribers(actors, superuser, of_another=True)
    mine, suffix = (
        (await customer.subscription())["subscription_id"],
        ids.encode(ids.REQUEST, ids.new()),
    )
    await audit.record(
        superuser, account_id=customer.uuid, action="subscription.steered", subject=mine,
        at=real_now(), request=suffix,
    )  # fmt: skip
    await superuser.execute(STEPS, {"me": customer.uuid})
    no_more = await bulk_acts.chosen(superuser, Choice(plan=plan, status="past_due"), "pause")
    before, steps = await fetched(superuser, "subscriptions"), await fetched(superuser, "steps")
    assert (await superuser.execute(no_more)).all() == []
    (found,) = (await superuser.execute(bulk_acts.or_done(no_more, suffix))).all()
    assert found.id == ids.decode(ids.SUBSCRIPTION, mine)
    assert await fetched(superuser, "subscriptions") - before < MANY / 10
    assert await fetched(superuser, "steps") - steps < MANY / 10
