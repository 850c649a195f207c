"""A renewal that a worker did a moment early, because its clock is behind, is one of its period:
for what is credited, given back and discounted in it, and for whoever asks before it has begun.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from billing.core import ids
from billing.core.database import open_database
from billing.matters import store as matters
from billing.matters.agenda import head
from billing.matters.kinds import SUBSCRIPTION
from billing.money.subscriptions.reading import ENGINE
from billing.money.subscriptions.rules import agenda
from billing.platform.decisions import service as decisions
from tests.integration.actors import Actors, Customer, instant
from tests.integration.api_app import stack_settings
from tests.integration.changes.chosen_plans import PATH, RENEWAL, begun, change, lines
from tests.integration.coupons.coupons_made import COUPON, coupon
from tests.integration.money_seen import newest_invoice
from tests.integration.past_triggers import past_triggers
from tests.integration.reversals.refunds_made import paid_for, refunded
from tests.integration.taxes.taxed_addresses import collect, moved_to

MOMENT: Final = timedelta(seconds=1.5)
HALF: Final = "2027-02-15T10:00:00Z"
"""The middle of the period from RENEWAL on."""


async def renewed_behind(customer: Customer, at: str = RENEWAL) -> None:
    """A worker does the renewal; its clock, which is the account's, stands a moment before."""
    await customer.advance(to=(instant(at) - MOMENT).isoformat())
    found = ids.decode(ids.SUBSCRIPTION, (await customer.subscription())["subscription_id"])
    async with (
        open_database(stack_settings(customer.actors.stack)) as database,
        database.tenant(customer.uuid) as connection,
    ):
        matter = await matters.find(connection, SUBSCRIPTION.workflow_id(found))
        assert matter is not None
        step = head(agenda(await decisions.look(connection, ENGINE, matter)))
        assert step is not None
        assert (step.name, step.due) == ("renew", instant(at))
        done = await decisions.decide(connection, ENGINE, matter, step, may_call=lambda _: False)
        assert done.lateness is not None


async def renewed_early(customer: Customer) -> None:
    """The same; the charge follows, when it is due."""
    await renewed_behind(customer)
    await customer.advance(to=RENEWAL)


async def renewed_by_the_last_release(customer: Customer) -> None:
    """Release 0.1.0 dated what such a worker wrote with its clock."""
    await customer.advance(to=RENEWAL)
    moved = (
        "WITH moved AS (UPDATE discounts SET ended_at = ended_at - interval '1.5 seconds'"
        " WHERE account_id = %(me)s)"
        " UPDATE invoices SET created_at = period_start - interval '1.5 seconds'"
        " WHERE account_id = %(me)s AND period_start = %(at)s"
    )
    await past_triggers(customer.actors.stack, moved, me=customer.uuid, at=RENEWAL)


Renewed = Callable[[Customer], Awaitable[None]]


@pytest.fixture(params=[renewed_early, renewed_by_the_last_release])
def renewed(request: pytest.FixtureRequest) -> Renewed:
    """Either of them."""
    way: Renewed = request.param
    return way


async def test_a_change_of_plan_credits_what_is_left_of_it(
    actors: Actors, renewed: Renewed
) -> None:
    customer = await begun(actors)
    await renewed(customer)
    await customer.advance(to=HALF)
    await change(customer, plan="pro")
    assert (await lines(customer))[-1] == [("proration", -950), ("plan", 2450)]


async def test_a_cancel_gives_back_what_is_left_of_it(actors: Actors, renewed: Renewed) -> None:
    customer = await begun(actors, "pro")
    await renewed(customer)
    await customer.advance(to=HALF)
    ends = {"at": "now", "refund": "refund"}
    done = await customer.ask("POST", f"{PATH}/cancel", ends, status=200)
    assert done["given_back"]["refunded_cents"] == 2450


async def test_the_subscription_ends_once_all_its_money_went_back(
    actors: Actors, renewed: Renewed
) -> None:
    customer = await begun(actors, "pro")
    await renewed(customer)
    await refunded(customer, await paid_for(customer))
    await customer.until_subscription("canceled")


async def test_the_coupon_that_it_has_used_up_is_off_its_period(
    actors: Actors, renewed: Renewed
) -> None:
    code = await coupon(actors, percent="50")
    customer = await begun(actors)
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    await renewed(customer)
    assert (await newest_invoice(customer))["discount"] == 950
    await customer.advance(to=HALF)
    await change(customer, plan="pro")
    assert (await newest_invoice(customer))["discount"] == 1225


async def test_it_is_issued_on_the_first_day_of_its_period_and_taxed_by_it(
    actors: Actors,
) -> None:
    rises = [{"since": "2027-02-01", "rates": {"standard": "21"}}]
    await collect(actors, "AT", "USt", rates={"standard": "20"}, later=rises)
    customer = await actors.customer_on_clock("2027-01-01T00:00:00Z")
    await moved_to(customer)
    await customer.subscribed("basic")
    await renewed_behind(customer, "2027-02-01T00:00:00Z")
    written = await newest_invoice(customer)
    assert (written["issued_on"], written["tax_amount"]) == ("2027-02-01", 399)


@pytest.mark.parametrize(
    "wish",
    [{"plan": "pro"}, {"interval": "year"}, {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}],
)
async def test_whoever_asks_before_it_has_begun_is_served_as_at_its_beginning(
    actors: Actors, wish: dict[str, Any]
) -> None:
    customer = await begun(actors)
    await renewed_behind(customer)
    changed = await customer.ask("PUT", PATH, wish)
    assert changed["updated_at"] == RENEWAL
    await customer.advance(to=HALF)
    await customer.until_subscription("active")
    ends = {"at": "now", "refund": "credit"}
    await customer.ask("POST", f"{PATH}/cancel", ends, status=200)
    (row,) = await customer.rows(
        "SELECT count(*) AS early FROM invoices WHERE account_id = %(me)s"
        " AND created_at > '2027-01-02' AND created_at < %(at)s",
        at=RENEWAL,
    )
    assert row["early"] == 0
