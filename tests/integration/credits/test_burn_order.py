"""The burn order in SQL and the reasons that an explanation gives are one rule."""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
from sqlalchemy import text

from billing.core.clock import real_now
from billing.insight.explanations.rules import compare
from billing.insight.explanations.schemas import LotFacts
from tests.integration.credits.accounts import CreditAccount

ORDER: Final = text(
    """
    SELECT o.place, o.free, l.id, l.kind, l.scope, l.priority, l.is_paid, l.expires_at,
        l.granted_seq, l.created_at, NULL AS amount, NULL AS bought_minor, NULL AS currency,
        NULL AS bought_credits
    FROM credit_burn_order(:account) AS o JOIN credit_lots AS l ON l.id = o.id
    ORDER BY o.place
    """
)


@pytest.mark.parametrize("seed", range(6))
async def test_lots_burn_in_the_order_that_is_explained(account: CreditAccount, seed: int) -> None:
    dice = random.Random(seed)
    soon = real_now() + timedelta(hours=1)
    for _ in range(12):
        await account.grant(
            "1",
            scope=dice.choice((None, None, "chat", "images")),
            priority=dice.choice((50, 100)),
            is_paid=dice.choice((True, False)),
            expires_at=dice.choice((None, soon, soon + timedelta(hours=1))),
        )
    await account.hold("3", scope="chat")
    lots = await _burning(account)
    assert lots == sorted(lots, key=LotFacts.rank)
    for lot, later in pairwise(lots):
        because, _ = compare(lot, later)
        assert lot.rank()[: _deciding(because)] <= later.rank()[: _deciding(because)], because


async def _burning(account: CreditAccount) -> Sequence[LotFacts]:
    async with account.database.tenant(account.id) as connection:
        rows: list[Any] = list(
            (await connection.execute(ORDER, {"account": account.id})).mappings()
        )
    assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["free"] > 0 for row in rows)
    return [LotFacts.model_validate(dict(row)) for row in rows]


def _deciding(because: str) -> int:
    """Length of the rank's prefix that the reason is about."""
    return {"scope": 1, "priority": 2, "expiry": 3, "free_before_paid": 4, "age": 5}[because]
