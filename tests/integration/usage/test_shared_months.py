"""Plans of one month share what it includes, in whatever order its uses are reported or voided."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.test_voids import owed
from tests.integration.operator_acts import check_books
from tests.integration.operator_acts import void as take_back
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, move_clock
from tests.integration.usage.test_agreed_limits import AI
from tests.integration.usage.test_one_month import START, pay_as_you_go
from tests.integration.usage.test_voids import books_agree, void

INSIDE: Final = [(NOW + timedelta(minutes=30 + 60 * n)).isoformat() for n in range(4)]
"""An instant in each part that is over of the month of `in_parts`."""


async def in_parts(new_shop: NewShop) -> Shop:
    """A shop that was on the default plan, and has begun and ended the free plan twice since. Each
    includes 50 answers of AI, and it has used one.
    """
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.record("1", **AI)
    for _ in range(2):
        await move_clock(shop, hours=1)
        begun = await shop.post("/billing/subscription", {"plan": "free"})
        assert begun.json()["status"] == "active", begun.text
        await move_clock(shop, hours=1)
        ended = await shop.post("/billing/subscription/cancel", {"at": "now"})
        assert ended.status_code == 200, ended.text
    return shop


async def left(shop: Shop) -> Decimal:
    used = await shop.get("/usage/current")
    return Decimal(used["meters"]["ai_responses"]["remaining"])


async def test_late_uses_of_each_part_take_from_one_allowance(new_shop: NewShop) -> None:
    shop = await in_parts(new_shop)
    await shop.record("9", **AI)
    for used, at in zip((10, 20, 30, 40), INSIDE, strict=True):
        refused = await shop.record("41", status=429, occurred_at=at, **AI)
        assert (refused["limit"], refused["used"]) == ("50.00", f"{used}.00")
        await shop.record("10", occurred_at=at, **AI)
        assert await left(shop) == 40 - used
    for at in INSIDE:
        await shop.record("1", status=429, occurred_at=at, **AI)
    await shop.record("1", status=429, **AI)
    await books_agree(shop)


async def test_a_batch_of_uses_of_several_parts_takes_from_one_allowance(new_shop: NewShop) -> None:
    shop = await in_parts(new_shop)
    rows: list[dict[str, Any]] = [
        AI | {"usage_amount": "20", "event_id": str(uuid4()), "occurred_at": at}
        for at in reversed(INSIDE)
    ]
    rows.insert(2, AI | {"usage_amount": "20", "event_id": str(uuid4())})
    done = await shop.batch(*rows)
    assert [row["status"] for row in done["results"]] == ["recorded"] * 2 + ["rejected"] * 3
    assert await left(shop) == 9
    await books_agree(shop)


async def test_a_plan_that_is_paid_later_leaves_a_late_use_its_own_allowance(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.record("1", **AI)
    await move_clock(shop, hours=1)
    at = NOW + timedelta(hours=1)
    await shop.subscribe("basic", start=at, end=at + timedelta(days=31))
    await shop.record("400", **AI)
    await shop.record("49", occurred_at=INSIDE[0], **AI)
    await shop.record("1", status=429, occurred_at=INSIDE[0], **AI)


async def test_a_void_gives_back_to_the_month_what_an_earlier_plan_included(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    wrong = await shop.record("50", **AI)
    await move_clock(shop, hours=1)
    await shop.post("/billing/subscription", {"plan": "free"})
    await shop.record("1", status=429, **AI)
    await void(shop, wrong)
    assert await left(shop) == 50
    await shop.record("50", **AI)
    await shop.record("1", status=429, **AI)
    await books_agree(shop)


async def chat(customer: Customer, amount: str) -> Json:
    body = {"feature_type": "chat_messages", "usage_amount": amount}
    return await customer.ask("POST", "/usage/record", body, status=201)


async def test_a_void_covers_what_went_beyond_the_plan_after_it_began_anew(
    actors: Actors,
) -> None:
    key = f"payg-{uuid4().hex[:8]}"
    await pay_as_you_go(actors, key)
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(key)
    wrong = await chat(customer, "100")
    await customer.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/resume", {}, status=200)
    await chat(customer, "130")
    assert await owed(customer) == 130
    await take_back(actors, wrong)
    assert await owed(customer) == 30
    await check_books(customer)
