"""Uses paid in one statement for all: entries, lines and lots as if one went after another."""

from decimal import Decimal
from typing import Any, Final

import pytest

from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Use, UseKind
from tests.integration.usage.conftest import NewShop, Shop

COSTS: Final = ("500", "1000", "700", "1", "2000", "799")


def kind(method: str) -> UseKind:
    return UseKind("gpt-4", None, None, None, None, method, defer=False)


async def entries(shop: Shop) -> list[Any]:
    return await shop.rows(
        "SELECT amount, balance_after, used_after,"
        " (SELECT array_agg(l.amount ORDER BY c.granted_seq)"
        " FROM credit_transaction_lots l JOIN credit_lots c ON c.id = l.lot_id"
        " WHERE l.transaction_id = t.id) FROM credit_transactions t"
        " WHERE account_id = :id AND kind = 'debit' ORDER BY seq"
    )


async def lots(shop: Shop) -> list[Any]:
    return await shop.rows(
        "SELECT remaining, is_open FROM credit_lots WHERE account_id = :id ORDER BY granted_seq"
    )


@pytest.mark.parametrize("method", ["credit_consumption", "wallet_deduction"])
async def test_many_debits_in_one_statement_are_those_of_one_after_another(
    new_shop: NewShop, method: str
) -> None:
    together, apart = [await new_shop() for _ in range(2)]
    for shop in (together, apart):
        for amount, paid in (("1.5", True), ("2", False), ("2.25", True), ("20", True)):
            await shop.grant(amount, paid=paid)
    async with together.api.database.tenant(together.id) as connection:
        uses = [Use(together.id, kind(method), cost) for cost in COSTS]
        done = (await sql_batch.record(connection, uses, range(1, len(uses) + 1))).answers
    assert [one.verdict for one in done.values()] == ["recorded"] * len(COSTS)
    for cost in COSTS:
        await apart.record(cost, billing_method=method)
    assert await entries(together) == await entries(apart)
    assert await lots(together) == await lots(apart)
    assert await together.balance() == Decimal("25.75") - Decimal("10")
