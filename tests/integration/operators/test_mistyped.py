"""A mistyped name or file ends a command with one sentence, not in silence or a traceback."""

from pathlib import Path

import pytest

from tests.integration.actors import Actors
from tests.integration.rebuild.conftest import billing


@pytest.mark.parametrize(
    "words",
    [
        ("subscription", "move-prices", "nope", "--reason", "x", "--dry-run"),
        ("steer", "pause", "--reason", "x", "--plan", "nope", "--dry-run"),
    ],
    ids=lambda words: words[0],
)
async def test_a_plan_that_is_not_there_is_named(actors: Actors, words: tuple[str, ...]) -> None:
    code, said = await billing(actors, *words)
    assert code == 1
    assert "no plan 'nope'" in said


async def test_a_move_of_nobody_says_so(actors: Actors) -> None:
    words = ("subscription", "move-prices", "enterprise", "--reason", "x", "--dry-run")
    code, said = await billing(actors, *words)
    assert (code, said.strip()) == (0, "0 would move to the current price")


async def test_a_contract_that_is_not_yaml_is_refused(actors: Actors, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("a: [")
    code, said = await billing(actors, "contract", "put", "nobody", str(file))
    assert code == 1
    assert said.startswith("bad.yaml: not YAML")
