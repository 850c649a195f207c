"""The instants at which a refused use would pass, and the statements that find them."""

from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest

from billing.metering.usage import store as usage_store
from tests.integration.catalog.subscribing import END
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW
from tests.integration.usage.test_agreed_limits import agree
from tests.integration.usage.test_scheduled_terms import AI, passes, used_up

STATEMENTS: Final = 13
"""They may become fewer: then lower them here."""


async def agree_often(shop: Shop, meter: str, times: int) -> None:
    """Agree so many limits of a meter for later, one after the other."""
    for after in range(1, times + 1):
        begins = (NOW + timedelta(days=after)).isoformat()
        await agree(shop, meter, included="400", effective_from=begins)


async def test_a_refused_use_takes_as_many_statements_however_much_is_scheduled(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, asked = await used_up(new_shop), {"requested_amount": "600"} | AI
    sent, execute = list[Any](), psycopg.AsyncCursor.execute

    async def noted(self: Any, query: Any, *values: Any, **options: Any) -> Any:
        sent.append(query)
        return await execute(self, query, *values, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", noted)
    seen = []
    for times in (0, 14):
        await agree_often(shop, "ai_responses", times)
        await shop.post("/quota/check", asked)
        sent.clear()
        assert (await shop.post("/quota/check", asked)).json()["passes_at"] is None
        seen.append(len(sent))
    assert max(seen) <= STATEMENTS, seen


async def test_what_is_agreed_of_other_meters_hides_no_later_limit(new_shop: NewShop) -> None:
    shop = await used_up(new_shop)
    await agree_often(shop, "chat_messages", 14)
    begins = (NOW + timedelta(days=15)).isoformat()
    await agree(shop, included="600", effective_from=begins)
    assert await passes(shop, "60") == "2027-01-25T12:00:00Z"


async def test_the_end_of_a_claim_is_tried_only_once_the_terms_are_others(
    new_shop: NewShop,
) -> None:
    """Until then that one is known which frees enough, however many claims there are."""
    shop, before, after = await used_up(new_shop), *(END + timedelta(hours=by) for by in (-1, 1))
    async with shop.api.database.operator() as connection:
        known = await usage_store.coming(
            connection, shop.id, "ai_responses", NOW, freed=(before, after)
        )
    assert {one.at for one in known} & {before, after} == {after}
