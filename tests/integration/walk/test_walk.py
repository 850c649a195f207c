"""Random lives on the running stack keep what was promised, judged from outside.

`WHOLE=1 make test` lives some of them, the gate none, `WALKS=300` more. A broken promise is one
line with the number of its life and the shortest commands that break it; `WALK_SEED` lives that
life alone, `WALK_COMMANDS` just these commands. `WALK_ALL=1` asks for what is known not to be kept
yet too.
"""

import ast
import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Final

from devstack.stack import dsn
from tests.integration.actors import Actors
from tests.integration.walk import deck, diary
from tests.integration.walk.diary import Command
from tests.integration.walk.evidence import gather
from tests.integration.walk.judge import MARKED, PROMISES, Broken, judge
from tests.integration.walk.known import KNOWN
from tests.integration.walk.shortening import shortest
from tests.integration.walk.walker import live

LIVES: Final = 80
UNASKED: Final = 6
"""Half of them begin with an arc. A life takes six CPU seconds; `WALKS=40` lives more of them."""
AT_ONCE: Final = 8
LOOK_AGAIN_SECONDS: Final = 2.0
SHORTENED: Final = 3
SECONDS: Final = float(os.environ.get("WALK_SECONDS", "60"))
"""So long each broken promise is looked at for a shorter life."""
PRODUCT: Final = frozenset({
    "billing", "api", "activities", "workflows", "gateways", "cli", "devstack", "migrations",
})  # fmt: skip
JUDGES: Final = ("judge.py", "evidence.py", "diary.py", "promises")


async def lived(
    actors: Actors, seed: int, commands: list[Command]
) -> tuple[str, list[Broken], Counter[str]]:
    """The account of a life, the promises it found broken, and those that were asked of anything.

    By the real clock lost events are looked for, and a matter is due as one is found: so what is
    found broken is looked at once more.
    """
    life = await live(actors, seed, commands)
    broken, asked = list[Broken](), Counter[str]()
    for _ in range(2):
        case = await gather(life, dsn(actors.stack.superuser_url), actors.sandbox)
        broken = judge(case, () if os.environ.get("WALK_ALL") else KNOWN)
        asked = case.asked
        if not broken:
            break
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return life.account, broken, asked


async def told(
    actors: Actors, seed: int, commands: list[Command], account: str, broken: Broken
) -> str:
    """One line about a broken promise, with the shortest life that breaks it."""

    async def breaks(fewer: list[Command]) -> bool:
        _, found, _ = await lived(actors, seed, fewer)
        return any(one.promise == broken.promise for one in found)

    fewest = await shortest(commands, breaks, SECONDS)
    return f"{line(seed, account, broken)}; WALK_COMMANDS='{diary.written(fewest)}'"


def line(seed: int, account: str, broken: Broken) -> str:
    return f"{broken.promise}: {broken.words}; WALK_SEED={seed}, {account}"


def chosen() -> dict[int, list[Command]]:
    """The lives to live, by number."""
    if seed := os.environ.get("WALK_SEED"):
        given = os.environ.get("WALK_COMMANDS")
        return {int(seed): diary.read(given) if given else deck.commands_of(int(seed))}
    first = int(os.environ.get("WALK_FROM", "0"))
    number = int(os.environ.get("WALKS", UNASKED))
    return {seed: deck.commands_of(seed) for seed in range(first, first + number)}


async def test_random_lives_keep_what_was_promised(actors: Actors) -> None:
    turn, lives = asyncio.Semaphore(AT_ONCE), chosen()

    async def one(seed: int) -> tuple[str, list[Broken], Counter[str]]:
        async with turn:
            return await lived(actors, seed, lives[seed])

    done = dict(zip(lives, await asyncio.gather(*map(one, lives)), strict=True))
    first = {
        broken.promise: (seed, account, broken)
        for seed, (account, found, _) in reversed(done.items()) for broken in reversed(found)
    }  # fmt: skip
    wrong = [
        await told(actors, seed, lives[seed], account, broken)
        for seed, account, broken in list(first.values())[:SHORTENED]
    ]
    wrong += [
        line(seed, account, broken)
        for seed, (account, found, _) in done.items() for broken in found
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)
    asked = sum((marks for _, _, marks in done.values()), Counter[str]())
    print(dict(asked))  # noqa: T201 (what the run was worth)
    assert len(lives) < LIVES or not unasked(asked)


def unasked(asked: Counter[str]) -> set[str]:
    """The promises that escaped all of these lives, which so proved nothing about them."""
    return {name for name in MARKED if not asked[name]}


def test_a_promise_that_was_asked_of_nothing_is_told() -> None:
    asked = Counter({name: 1 for name in MARKED if name != "came_true"})
    assert unasked(asked + Counter(came_true=0)) == {"came_true"}
    assert {question.__name__ for question in PROMISES.values()} >= MARKED


def test_the_same_number_is_the_same_life_and_every_command_is_among_them() -> None:
    assert deck.commands_of(7) == deck.commands_of(7)
    assert diary.read(diary.written(deck.commands_of(7))) == deck.commands_of(7)
    names = {one.name for seed in range(LIVES) for one in deck.commands_of(seed)}
    assert names == deck.NAMES


def test_the_judge_shares_no_code_with_the_product() -> None:
    here = Path(__file__).parent
    files = [file for name in JUDGES for file in (here / name, *(here / name).glob("*"))]
    for file in (one for one in files if one.suffix == ".py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
            assert not {one.partition(".")[0] for one in modules} & PRODUCT, file


def test_what_is_known_is_a_promise() -> None:
    assert KNOWN.keys() <= PROMISES.keys()
