"""Credits of a use that was taken back: they end, are told of, and pay what is owed, as any do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from billing.ledger.credits import service as credits
from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.operator_acts import check_books, give
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_voids import WHY, books_agree, void

USE: Final = {"product_id": "gpt-4", "usage_amount": "1500"}
"""It costs three credits."""
NOW: Final = datetime(2027, 1, 31, 12, tzinfo=UTC)


async def use(customer: Customer) -> str:
    return str((await customer.ask("POST", "/usage/record", USE, status=201))["billing_id"])


async def take_back(customer: Customer, use: str) -> None:
    await customer.actors.operate("POST", f"/billing/records/{use}/void", WHY, status=200)


async def told(customer: Customer) -> list[tuple[str, str]]:
    rows = await customer.rows(
        "SELECT split_part(type, '.', 4) AS what, data ->> 'credits' AS credits FROM events"
        " WHERE account_id = %(me)s AND type LIKE 'evt.billing.credits.expir%%' ORDER BY seq"
    )
    return [(row["what"], row["credits"]) for row in rows]


async def until_told(customer: Customer, *expected: tuple[str, str]) -> None:
    await wait_for(
        lambda: told(customer), f"{customer.id} is told of {expected}",
        lambda seen: seen == list(expected),
    )  # fmt: skip


async def test_a_lot_that_opens_again_after_its_notice_is_told_of_and_ends(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    for amount in ("3", "5"):
        await give(customer, amount, expires_at="2027-01-31T10:00:00Z")
    wrong = await use(customer)
    await customer.advance(days=23)
    assert await told(customer) == [("expiring", "5.00")]
    await take_back(customer, wrong)
    await until_told(customer, ("expiring", "5.00"), ("expiring", "3.00"))
    await customer.advance(days=8)
    assert sorted(await told(customer)) == [
        ("expired", "3.00"), ("expired", "5.00"), ("expiring", "3.00"), ("expiring", "5.00"),
    ]  # fmt: skip
    await check_books(customer)


async def test_a_lot_that_opens_again_is_looked_at_in_time(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    await give(customer, "3", expires_at="2027-01-21T10:00:00Z")
    wrong = await use(customer)
    await give(customer, "1", expires_at="2027-01-02T10:00:00Z")
    await customer.advance(days=2)
    await take_back(customer, wrong)
    await check_books(customer)
    await customer.advance(days=12)
    assert await told(customer) == [("expired", "1.00"), ("expiring", "3.00")]
    await customer.advance(days=7)
    assert await told(customer) == [("expired", "1.00"), ("expiring", "3.00"), ("expired", "3.00")]


async def test_what_a_clawback_takes_of_a_lot_that_is_over_leaves_nothing_due(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    async with shop.api.database.tenant(shop.id) as connection:
        facts: dict[str, Any] = {"account_id": shop.id, "reason": "test"}
        await credits.grant(
            connection, amount=Decimal(3), kind="adjustment", is_paid=True, key=f"{shop.id}/pack",
            expires_at=NOW + timedelta(days=1), **facts,
        )  # fmt: skip
    wrong = await shop.record("1500")
    async with shop.api.database.tenant(shop.id) as connection:
        await credits.clawback(
            connection, amount=Decimal(3), grant_key=f"{shop.id}/pack", key=f"{shop.id}/back",
            **facts,
        )  # fmt: skip
    await move_clock(shop, days=2)
    await void(shop, wrong)
    due = "SELECT next_expiry FROM credit_balances WHERE account_id = :id"
    assert await shop.rows(due) == [(None,)]
    await books_agree(shop)


async def test_what_comes_back_of_last_month_leaves_no_month_below_nothing(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("10", is_test=True, clock_at=NOW.isoformat())
    wrong = await shop.record("1500")
    await move_clock(shop, days=2)
    await shop.record("500")
    await void(shop, wrong)
    balance = await shop.get("/billing/credits/balance")
    assert (balance["credits_used_this_month"], balance["credits"]) == ("0", "9.00")


async def forced(shop: Shop, amount: str) -> Any:
    """A use that is paid by force, whatever credits are there."""
    late = await shop.record(amount, on_insufficient="defer")
    body = {"billing_id": late["billing_id"], "force_charge": True}
    headers = shop.api.token("*", ["service"]) | {"X-Account-Id": shop.account["id"]}
    answer = await shop.api.client.post(f"{V1}/billing/process", json=body, headers=headers)
    assert answer.json()["billing_status"] == "completed", answer.text
    return late


async def trusted(shop: Shop) -> Shop:
    """The shop, which may owe five credits."""
    limit = await shop.api.client.put(
        f"{V1}/admin/accounts/{shop.account['id']}/overdraft",
        json={"overdraft": "5", "reason": "trusted"}, headers=shop.api.admin(),
    )  # fmt: skip
    assert limit.status_code == 200, limit.text
    return shop


async def owing(new_shop: NewShop) -> tuple[Shop, Any]:
    """A shop that owes two credits, and its use that three bought ones paid."""
    shop = await trusted(await new_shop("3"))
    paid = await shop.record("1500")
    await forced(shop, "1000")
    return shop, paid


async def test_credits_that_come_back_pay_first_what_is_owed(new_shop: NewShop) -> None:
    shop, paid = await owing(new_shop)
    assert (await shop.get("/billing/credits/balance"))["debt"] == "2.00"
    await void(shop, paid)
    after = await shop.get("/billing/credits/balance")
    assert (after["debt"], after["credits"]) == ("0", "1.00")
    await books_agree(shop)


PACK: Final = Decimal(4)


async def arrive(shop: Shop, key: str, ends_in: timedelta | None = None) -> None:
    """Four paid credits come, which first pay what is owed."""
    async with shop.api.database.tenant(shop.id) as connection:
        await credits.grant(
            connection, account_id=shop.id, amount=PACK, kind="adjustment", is_paid=True,
            key=f"{shop.id}/{key}", reason="test", expires_at=NOW + ends_in if ends_in else None,
        )  # fmt: skip


async def left_in_lots(shop: Shop) -> list[tuple[str, str]]:
    lots = (await shop.get("/billing/credits/lots"))["data"]
    return sorted((one["amount"], one["remaining"]) for one in lots)


async def test_what_paid_the_debt_of_a_use_gets_it_back(new_shop: NewShop) -> None:
    shop = await trusted(await new_shop())
    first = await forced(shop, "1000")
    await arrive(shop, "first")
    assert await left_in_lots(shop) == [("4.00", "2.00")]
    done = await void(shop, first)
    assert done["credits_returned"] == "2.00"
    assert await left_in_lots(shop) == [("4.00", "4.00")]
    # They were bought, so they pay for what only bought credits do.
    await shop.record("2000", billing_method="wallet_deduction")
    await books_agree(shop)


async def test_what_paid_a_debt_and_has_ended_since_does_not_stay(new_shop: NewShop) -> None:
    shop = await trusted(await new_shop(is_test=True, clock_at=NOW.isoformat()))
    wrong = await forced(shop, "1000")
    await arrive(shop, "trial", timedelta(days=1))
    await move_clock(shop, days=2)
    assert (await void(shop, wrong))["credits_returned"] == "2.00"
    assert await shop.balance() == 0
    await books_agree(shop)


async def test_what_paid_a_debt_and_was_clawed_back_does_not_stay(new_shop: NewShop) -> None:
    shop = await trusted(await new_shop())
    wrong = await forced(shop, "1000")
    await arrive(shop, "pack")
    async with shop.api.database.tenant(shop.id) as connection:
        await credits.clawback(
            connection, account_id=shop.id, amount=PACK, grant_key=f"{shop.id}/pack",
            key=f"{shop.id}/back", reason="test",
        )  # fmt: skip
    await void(shop, wrong)
    assert await shop.balance() == 0
    await books_agree(shop)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_each_debt_comes_back_to_what_paid_it(
    new_shop: NewShop, order: tuple[int, ...]
) -> None:
    shop = await trusted(await new_shop())
    wrong = []
    for number in range(3):
        wrong.append(await forced(shop, "2000"))
        await arrive(shop, str(number))
    for number in order:
        await void(shop, wrong[number])
        left = await shop.rows(
            "SELECT max(grant_key) FROM credit_lots WHERE account_id = :id AND remaining = 4"
            f" AND grant_key LIKE '%/{number}'"
        )
        assert left == [(f"{shop.id}/{number}",)]
    assert await left_in_lots(shop) == [("4.00", "4.00")] * 3
    await books_agree(shop)


async def test_of_what_was_paid_in_part_the_rest_is_owed_no_more(new_shop: NewShop) -> None:
    shop = await trusted(await new_shop())
    wrong = await forced(shop, "2500")
    await arrive(shop, "pack")
    await void(shop, wrong)
    balance = await shop.get("/billing/credits/balance")
    assert (balance["credits"], balance["debt"]) == ("4.00", "0")
    await books_agree(shop)
