"""Uses refused in great number: what asks for the same as one before it costs hardly anything."""

from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.metering.usage import sql_batch
from billing.metering.usage.schemas import Recorded, Use, UseKind
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.test_agreed_limits import agree
from tests.integration.usage.test_many_unpaid import calls, counted
from tests.integration.usage.test_plans_of_giants import computed

MANY: Final = 300
AI: Final = UseKind(None, None, "ai_responses", None, None, None, defer=False)
BOUGHT: Final = UseKind("gpt-4", None, None, None, None, "wallet_deduction", defer=True)
# A use that is taken costs two halves at each of its levels, whatever comes behind it.
PARTS: Final = 25
ACCOUNTS: Final = 8_000
AS_IN_USAGE_RECORD: Final = """
    SELECT set_config(join_of, 'off', true)
    FROM unnest('{enable_hashjoin,enable_mergejoin}'::text[]) AS join_of
    UNION ALL SELECT set_config('plan_cache_mode', 'force_generic_plan', true)
"""
_EACH: Final = f"FROM generate_series(1, {ACCOUNTS}) AS n"
_USE: Final = "jsonb_build_object('place', n, 'account', n, 'id', md5('u' || n)::uuid, 'amount', 1)"
LOOKED_FOR_CLAIMS: Final = f"""
    count(*) FROM usage_promised(
        ARRAY(SELECT jsonb_populate_record(NULL::usage_account, jsonb_build_object(
            'place', n, 'account_id', md5('a' || n)::uuid, 'as_of', now(), 'start_at', now()))
            {_EACH}),
        ARRAY(SELECT jsonb_populate_record(NULL::usage_rated, jsonb_build_object(
            'use', {_USE}, 'meter', 'ai_responses', 'failure', 'QUOTA_EXCEEDED')) {_EACH}),
        ARRAY(SELECT jsonb_populate_record(NULL::usage_input, {_USE}) {_EACH}))
"""


async def tried(shop: Shop, *uses: Use) -> tuple[list[Recorded], int]:
    """The answers, in order, and how many parts of the uses were rated."""
    async with counted(shop) as connection:
        before = await calls(connection)
        done = (await sql_batch.record(connection, uses, range(1, len(uses) + 1))).answers
        parts = (await calls(connection) - before)["usage_record_part"]
    return [done[place] for place in range(len(uses))], parts


async def beyond_the_plan(shop: Shop) -> UseKind:
    await shop.subscribe("basic")
    await agree(shop, included="0", then="overage", prices={"USD": "40"})
    return AI


async def beyond_the_credits(shop: Shop) -> UseKind:
    await shop.grant("80")
    return BOUGHT._replace(defer=False)


async def beyond_a_quota(shop: Shop) -> UseKind:
    await shop.grant("8000")
    await shop.quota("2", service_type="model_inference")
    return BOUGHT


REFUSED: Final = {
    "UNPAID_LIMIT": (beyond_the_plan, "1"),
    "INSUFFICIENT_CREDITS": (beyond_the_credits, "20000"),
    "QUOTA_EXCEEDED": (beyond_a_quota, "1"),
}


@pytest.mark.parametrize("code", REFUSED)
async def test_what_asks_for_the_same_is_refused_without_being_rated_again(
    new_shop: NewShop, code: str
) -> None:
    ready, amount = REFUSED[code]
    shop = await new_shop()
    kind = await ready(shop)
    answers, parts = await tried(shop, *[Use(shop.id, kind, amount) for _ in range(MANY)])
    assert [one.verdict for one in answers] == ["recorded"] * 2 + [code] * (MANY - 2)
    assert len({one.id for one in answers}) == MANY
    assert len({repr(one.total) for one in answers}) == 1
    assert parts < PARTS


async def test_a_claim_is_looked_for_without_comparing_each_refused_use_with_all_others(
    superuser: AsyncConnection,
) -> None:
    await superuser.execute(text(AS_IN_USAGE_RECORD))
    assert await computed(superuser, LOOKED_FOR_CLAIMS) < 1
