"""The keys of a call that takes no money, from try to try."""

from dataclasses import replace

import pytest
from temporalio.testing import ActivityEnvironment

from activities.tries import SAME_KEY_TRIES, with_new_keys


@pytest.mark.parametrize(
    ("attempt", "key"),
    [(1, "k"), (SAME_KEY_TRIES, "k"), (SAME_KEY_TRIES + 1, f"k/again-{SAME_KEY_TRIES + 1}")],
)
async def test_a_call_keeps_its_key_for_the_first_tries(attempt: int, key: str) -> None:
    async def call(used: str) -> str:
        return used

    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    assert await environment.run(with_new_keys, "k", call) == key
