"""The fast look at an account's funds counts the lots that may pay, by the rule of every debit.

It says the rule anew: a call for each lot would cost more than the look itself.
"""

from decimal import Decimal
from itertools import combinations_with_replacement, product
from typing import Final, NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.integration.credits.accounts import CreditAccount, NewAccount

CREDITS: Final = Decimal("1.5")
"""In each lot."""
FUNDS: Final = text(
    """
    SELECT * FROM usage_funds_fast((
        SELECT array_agg(ROW(d.place, 1, 'credit_consumption', d.id, now(),
            CAST(:amount AS numeric), d.place, 'a use', d.bought_only)::usage_due ORDER BY d.place)
        FROM unnest(CAST(:accounts AS uuid[]), CAST(:bought AS boolean[])) WITH ORDINALITY
            AS d(id, bought_only, place)))
    """
)
MAY_BURN: Final = text("SELECT credit_may_burn(:scope, :is_paid, NULL, :bought_only)")


class Lot(NamedTuple):
    """Credits of one kind."""

    scope: str | None
    is_paid: bool


LOTS: Final = [Lot(*one) for one in product((None, "ai_responses"), (False, True))]
HELD: Final = [(), *((one,) for one in LOTS), *combinations_with_replacement(LOTS, 2)]
"""The lots of each account: none, one, or two of any kinds."""


async def holder(new_account: NewAccount, lots: tuple[Lot, ...]) -> CreditAccount:
    account = await new_account()
    for one in lots:
        await account.grant(str(CREDITS), scope=one.scope, is_paid=one.is_paid)
    return account


async def burning(
    connection: AsyncConnection, lots: tuple[Lot, ...], *, bought_only: bool
) -> list[Lot]:
    """Those that may pay a use, by the rule of debits."""
    asked = [one._asdict() | {"bought_only": bought_only} for one in lots]
    return [
        lot
        for lot, named in zip(lots, asked, strict=True)
        if await connection.scalar(MAY_BURN, named)
    ]


@pytest.mark.parametrize("amount", ["1", "2", "4"])
async def test_funds_are_the_lots_that_every_debit_may_take(
    new_account: NewAccount, amount: str
) -> None:
    cases = list(product(HELD, (False, True)))
    accounts = [await holder(new_account, lots) for lots, _ in cases]
    short, covered = [], []
    async with accounts[0].database.tenant(*(one.id for one in accounts)) as connection:
        for place, (lots, bought_only) in enumerate(cases, 1):
            may = await burning(connection, lots, bought_only=bought_only)
            # Credits for one meter go first, by the longer way.
            if len(may) * CREDITS < Decimal(amount) or any(one.scope for one in lots):
                short.append(place)
            elif Decimal(amount) <= CREDITS:
                covered.append(place)
        dues = {
            "accounts": [one.id for one in accounts], "bought": [bought for _, bought in cases],
            "amount": Decimal(amount),
        }  # fmt: skip
        funds = (await connection.execute(FUNDS, dues)).one()
    assert (sorted(funds.short), funds.covered) == (short, covered)
