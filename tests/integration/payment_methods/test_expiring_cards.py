"""A card that ends before its charge: its owner is told 30 days ahead, once."""

from collections.abc import Awaitable, Callable

from tests.integration.actors import Json, wait_for
from tests.integration.payment_methods.conftest import METHODS, Cardholder

START = "2027-01-15T10:00:00Z"
NewCustomer = Callable[..., Awaitable[Cardholder]]


async def ends(customer: Cardholder, year: int, month: int) -> None:
    """The newest card is valid to the end of this month, says its bank."""
    form = {"card[exp_year]": str(year), "card[exp_month]": str(month)}
    await customer.stripe("POST", f"/v1/payment_methods/{await customer.reference()}", **form)
    wanted = (year, month)
    await customer.eventually(lambda kept: (kept[0]["exp_year"], kept[0]["exp_month"]) == wanted)


async def told(customer: Cardholder) -> list[Json]:
    """The notices, oldest first."""
    rows = await customer.rows(
        "SELECT data FROM events WHERE account_id = %(me)s"
        " AND type = 'evt.billing.payment_method.expiring' ORDER BY seq"
    )
    return [row["data"] for row in rows]


def several(found: list[Json]) -> bool:
    return len(found) > 1


async def test_a_card_that_ends_before_the_renewal_is_told_of_30_days_ahead(
    new_customer: NewCustomer,
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    card = await customer.save_card()
    await ends(customer, 2027, 3)
    await customer.subscribe("pro")
    await customer.advance(to="2027-03-16T09:59:59Z")
    assert await told(customer) == [], "it lives through the renewal of March"

    await customer.advance(to="2027-03-16T10:00:01Z")

    (notice,) = await told(customer)
    assert notice["payment_method_id"] == card["id"]
    assert (notice["exp_year"], notice["exp_month"]) == (2027, 3)
    assert notice["renews_at"] == "2027-04-15T10:00:00+00:00"
    assert notice["price_cents"] == (await customer.subscription())["amount_cents"]
    past = (await customer.ask("GET", "/billing/timeline"))["past"]
    words = f"the card ending in {card['last4']} ends before pro is charged to it"
    assert words in [one["words"] for one in past]
    await customer.advance(to="2027-06-20T00:00:00Z")
    assert await told(customer) == [notice]
    await ends(customer, 2027, 6)
    both = await wait_for(lambda: told(customer), "one that comes late is told at once", several)
    assert [one["exp_month"] for one in both] == [3, 6]


async def test_a_card_that_ends_before_a_scheduled_plan_is_charged_is_told_of(
    new_customer: NewCustomer,
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    await customer.save_card()
    await ends(customer, 2027, 1)
    await customer.subscribe("free")
    wish = {"plan": "pro", "at": "period_end"}
    await customer.ask("PUT", "/billing/subscription", wish, status=200)
    await customer.advance(to="2027-01-16T10:00:01Z")
    (notice,) = await told(customer)
    assert notice["plan"] == "pro"
    assert notice["price_cents"] > 0


async def test_only_the_card_that_would_be_charged_is_told_of(new_customer: NewCustomer) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    named = await customer.save_card()
    await customer.save_card("pm_card_mastercard", make_default=True)
    await ends(customer, 2027, 2)
    await customer.subscribe("pro", payment_method_id=named["id"])
    await customer.advance(to="2027-03-15T10:00:00Z")
    assert await told(customer) == []
    await customer.ask(
        "PUT", "/billing/subscription/payment-method", {"payment_method_id": None}, status=200
    )
    await customer.advance(to="2027-03-16T10:00:01Z")
    assert len(await told(customer)) == 1, "the default that ended, too"


async def test_the_default_that_pays_once_the_named_card_is_removed_is_told_of(
    new_customer: NewCustomer,
) -> None:
    customer = await new_customer(is_test=True, clock_at=START)
    default = await customer.save_card()
    await ends(customer, 2027, 3)
    named = await customer.save_card("pm_card_mastercard")
    await customer.subscribe("pro", payment_method_id=named["id"])
    await customer.advance(to="2027-03-20T10:00:00Z")
    assert await told(customer) == []
    await customer.ask("DELETE", f"{METHODS}/{named['id']}", {"confirm": "DELETE"}, status=200)
    (notice,) = await wait_for(lambda: told(customer), "the default's owner is told", bool)
    assert notice["payment_method_id"] == default["id"]
