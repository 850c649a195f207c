"""A batch that fails is repeated item by item, but nobody waits in line behind what hangs."""

import asyncio
from collections.abc import Sequence

import psycopg

from billing.core.batcher import APART, Batcher
from billing.core.errors import Unavailable

TOO_LONG = psycopg.errors.QueryCanceled


async def outcomes(batcher: Batcher[int, int], items: Sequence[int]) -> list[object]:
    return await asyncio.gather(*(batcher.do(one) for one in items), return_exceptions=True)


async def test_one_bad_item_fails_alone() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return [one * 2 for one in items]

    found = await outcomes(Batcher(run), range(6))
    assert [isinstance(one, ValueError) for one in found] == [one == 3 for one in range(6)]
    assert [one for one in found if not isinstance(one, ValueError)] == [0, 2, 4, 8, 10]


async def test_where_all_take_too_long_only_some_are_tried() -> None:
    calls: list[Sequence[int]] = []

    async def run(items: Sequence[int]) -> list[int]:
        calls.append(items)
        await asyncio.sleep(0.01)
        raise TOO_LONG

    found = await outcomes(Batcher(run), range(50))
    assert sorted(map(len, calls)) == [*[1] * APART, 50]
    assert sum(isinstance(one, TOO_LONG) for one in found) == APART
    assert sum(isinstance(one, Unavailable) for one in found) == 50 - APART


async def test_items_of_one_slow_key_keep_no_other_from_their_turn() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        if any(one < 20 for one in items):
            await asyncio.sleep(0.02)
            raise TOO_LONG
        return list(items)

    found = await outcomes(Batcher(run, key=lambda one: one < 20), range(50))
    assert sum(isinstance(one, TOO_LONG) for one in found) == APART
    assert sum(isinstance(one, Unavailable) for one in found) == 20 - APART
    assert found[20:] == [*range(20, 50)]


async def test_one_that_takes_too_long_holds_up_no_other() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        if 7 in items:
            await asyncio.sleep(0.02)
            raise TOO_LONG
        return list(items)

    found = await outcomes(Batcher(run), range(50))
    assert isinstance(found.pop(7), TOO_LONG)
    assert found == [one for one in range(50) if one != 7]
